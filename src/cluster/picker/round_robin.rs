//! Each member in turn: the policy of almost every request, and the one that draws no random
//! number.

use super::eligible::Eligible;
use super::guard::{NoPick, Pick};
use crate::cluster::pool::Pool;

/// Round robin: picks the member whose turn it is, unless it was tried (by epoch).
///
/// Each pick takes one step of the shared rotation, so that 3k requests in a row reach each of 3
/// nodes k times; with unequal weights each gets its share of every round. A member that was tried,
/// or has as many requests as it may, passes its turn to the next one.
///
/// # Errors
/// The reason why there is no member to pick: see [`NoPick`].
pub fn pick(pool: &Pool, tried: &[u64]) -> Result<Pick, NoPick> {
    let round = pool.round();
    if round.len() == 0 {
        return Err(Eligible { pool, tried }.why_none());
    }
    let turn = pool.next_turn() % round.len();
    (turn..round.len())
        .chain(0..turn)
        .map(|slot| round.member(slot))
        .filter(|member| !tried.contains(&member.epoch))
        .find_map(|member| Pick::new(pool, member))
        .ok_or_else(|| Eligible { pool, tried }.why_none())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::cluster::health::Health;
    use crate::cluster::picker::pick_trial;
    use crate::cluster::picker::samples::{member, on_trial, published, with_share};
    use crate::cluster::pool::{self, Member, Share};

    #[test]
    fn three_nodes_get_a_third_of_the_requests_each() {
        let watch = published((1..=3).map(|epoch| member(epoch, Health::Up, false)).collect());
        let pool = watch.borrow();
        let mut served = HashMap::new();
        for _ in 0..3 * 7 {
            *served.entry(pick(&pool, &[]).expect("a node is up").member().epoch).or_insert(0) += 1;
        }
        assert_eq!(served, HashMap::from([(1, 7), (2, 7), (3, 7)]));
    }

    #[test]
    fn a_tried_node_is_passed_over_until_all_were_tried() {
        let watch = published((1..=3).map(|epoch| member(epoch, Health::Up, false)).collect());
        let pool = watch.borrow();
        for _ in 0..6 {
            assert_eq!(pick(&pool, &[1, 3]).expect("one is left").member().epoch, 2);
        }
        assert_eq!(pick(&pool, &[3, 2, 1]).expect_err("none is left"), NoPick::AllTried);
    }

    #[test]
    fn a_node_of_last_resort_is_used_only_when_none_is_up() {
        let draining = || member(1, Health::Draining, true);
        let watch = published(vec![draining(), member(2, Health::Up, false)]);
        for _ in 0..4 {
            assert_eq!(pick(&watch.borrow(), &[]).expect("a node is up").member().epoch, 2);
        }
        let watch = published(vec![draining(), member(2, Health::Down, false)]);
        assert_eq!(pick(&watch.borrow(), &[]).expect("a last resort").member().epoch, 1);
    }

    #[test]
    fn a_node_in_slow_start_gets_its_part_and_the_others_equal_parts() {
        for quarters in 1..=3 {
            let slow = with_share(2, Share::Quarters(quarters));
            let whole = |epoch| with_share(epoch, Share::WHOLE);
            let watch = published(vec![whole(1), slow, whole(3)]);
            let pool = watch.borrow();
            let mut served = HashMap::new();
            for _ in 0..5 * (8 + usize::from(quarters)) {
                *served.entry(pick(&pool, &[]).expect("up").member().epoch).or_insert(0) += 1;
            }
            assert_eq!(served, HashMap::from([(1, 20), (2, 5 * u32::from(quarters)), (3, 20)]));
            for _ in 0..20 {
                assert_eq!(pick(&pool, &[1, 3]).expect("one is left").member().epoch, 2);
            }
        }
    }

    #[test]
    fn nodes_on_trial_take_all_requests_when_nobody_else_does() {
        let watch = published(vec![on_trial(1), member(2, Health::Draining, true), on_trial(3)]);
        let pool = watch.borrow();
        assert!(pick_trial(&pool, &[]).is_none());
        let epochs: Vec<u64> =
            (0..4).map(|_| pick(&pool, &[]).expect("usable").member().epoch).collect();
        assert_eq!(epochs, [1, 3, 1, 3]);
    }

    #[test]
    fn a_suspect_is_used_and_waited_for_only_when_nobody_answers() {
        let suspect = || Member { silent: true, ..member(1, Health::Suspect, true) };
        let epoch = |watch: &pool::Watch| pick(&watch.borrow(), &[]).expect("one").member().epoch;
        for other in [member(2, Health::Up, false), member(2, Health::Draining, true)] {
            let watch = published(vec![suspect(), other]);
            assert_eq!([epoch(&watch), epoch(&watch)], [2, 2]);
            assert!(watch.borrow().is_silent(1), "its requests go elsewhere");
        }
        let watch = published(vec![suspect(), member(2, Health::Down, false)]);
        assert_eq!(epoch(&watch), 1);
        assert!(!watch.borrow().is_silent(1), "there is nowhere else to go");
    }

    #[test]
    fn an_empty_pool_and_a_dead_one_have_different_reasons() {
        assert_eq!(pick(&published(vec![]).borrow(), &[]).expect_err("empty"), NoPick::NoneKnown);
        let dead = published(vec![member(1, Health::Down, false)]);
        assert_eq!(pick(&dead.borrow(), &[]).expect_err("dead"), NoPick::NoneUsable);
    }
}

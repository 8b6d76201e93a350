//! The first member by name that has room: few requests wake few nodes.

use std::sync::Arc;

use fastrand::Rng;

use super::eligible::{Eligible, inflight};
use super::least;
use crate::cluster::pool::Member;

/// The requests that a node gets before the next node gets any: about as many as the four cores of
/// a Pi answer without making one wait for another.
const INFLIGHT: u32 = 8;

/// The first eligible member, in the order of names, that has fewer requests than its part of the
/// bound; when all are full, the one with the fewest. `--max-inflight`, where it is given, is the
/// bound, else [`INFLIGHT`].
pub(super) fn choose<'a>(eligible: &Eligible<'a>, rng: &mut Rng) -> Option<&'a Arc<Member>> {
    let whole = eligible.pool.inflight_limit().map_or(INFLIGHT, |limit| limit.inflight_max());
    let bound = |member: &Member| {
        let quarters = u64::from(whole) * u64::from(member.quarters());
        quarters.div_ceil(4)
    };
    let has_room = |member: &&Arc<Member>| u64::from(inflight(member)) < bound(member);
    eligible.members().find(has_room).or_else(|| least::choose(eligible, rng))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::picker::samples::{balanced, up, with_share};
    use crate::cluster::picker::{Criteria, Pick, choose};
    use crate::cluster::pool::{Pool, Share};

    fn fill(pool: &Pool, picks: u32) -> (Vec<Pick>, Vec<u32>) {
        let mut rng = Rng::with_seed(1);
        let picks = (0..picks).map(|_| choose(pool, &Criteria::default(), &mut rng).expect("up"));
        let picks = picks.collect();
        let carried = pool.members().iter().map(|member| inflight(member)).collect();
        (picks, carried)
    }

    #[test]
    fn the_next_node_gets_nothing_before_the_first_is_full() {
        let watch = balanced("first", None, up(3));
        let pool = watch.borrow();
        for (picks, carried) in [(1, [1, 0, 0]), (8, [8, 0, 0]), (9, [8, 1, 0]), (17, [8, 8, 1])] {
            assert_eq!(fill(&pool, picks).1, carried);
        }
        assert_eq!(fill(&pool, 30).1, [10, 10, 10], "the rest is spread");
    }

    #[test]
    fn the_bound_is_that_of_the_flag_and_goes_by_weight() {
        let members = || vec![with_share(1, Share::Quarters(1)), with_share(2, Share::WHOLE)];
        let watch = balanced("first", None, members());
        assert_eq!(fill(&watch.borrow(), 4).1, [2, 2]);
        let watch = balanced("first", Some(20), members());
        assert_eq!(fill(&watch.borrow(), 8).1, [5, 3]);
    }
}

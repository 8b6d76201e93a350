//! Which node takes the next attempt. Round robin by weight for now; another policy is another
//! function from a pool to a member, and nothing else changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::pool::{Member, Pool, Share};

/// A chosen member, counted in flight until this guard is dropped: when the answer's body ended or
/// the attempt failed.
#[derive(Debug)]
pub struct Pick {
    member: Arc<Member>,
    /// It holds the flag of the member's trial.
    on_trial: bool,
}

impl Pick {
    fn new(member: &Arc<Member>) -> Self {
        member.counters.inflight.fetch_add(1, Ordering::Relaxed);
        Self { member: Arc::clone(member), on_trial: false }
    }

    /// The one request that a member on trial may have, if it has none.
    fn on_trial(member: &Arc<Member>) -> Option<Self> {
        let Share::Trial(taken) = &member.share else { return None };
        let free =
            taken.compare_exchange(false, true, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        free.then(|| {
            let mut pick = Self::new(member);
            pick.on_trial = true;
            pick
        })
    }

    /// Whether this is the one request of a member on trial.
    pub fn is_trial(&self) -> bool {
        self.on_trial
    }

    /// The member that was chosen.
    pub fn member(&self) -> &Member {
        &self.member
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.member.counters.inflight.fetch_sub(1, Ordering::Relaxed);
        if let Share::Trial(taken) = &self.member.share
            && self.on_trial
        {
            taken.store(false, Ordering::Relaxed);
        }
    }
}

/// Why there is nothing to pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPick {
    /// No node is known at all.
    NoneKnown,
    /// Nodes are known; none takes requests now.
    NoneUsable,
    /// Every node that takes requests was tried for this request.
    AllTried,
}

/// Picks the member whose turn it is and that was not tried yet, by epoch. Usable members come
/// first; those of last resort only when no member is usable.
///
/// One step of the shared rotation a pick, so that 3k requests in a row reach each of 3 nodes k
/// times; with unequal weights each gets its share of every round. A member that was tried passes
/// its turn to the next in line.
pub fn pick(pool: &Pool, tried: &[u64]) -> Result<Pick, NoPick> {
    let (line, turns) = (pool.line(), pool.turns());
    if line.is_empty() {
        return Err(if pool.members().is_empty() { NoPick::NoneKnown } else { NoPick::NoneUsable });
    }
    let round = if turns.is_empty() { line.len() } else { turns.len() };
    let turn = pool.turn() % round;
    (turn..round)
        .chain(0..turn)
        .map(|turn| &line[turns.get(turn).map_or(turn, |at| usize::from(*at))])
        .find(|member| !tried.contains(&member.epoch))
        .map(Pick::new)
        .ok_or(NoPick::AllTried)
}

/// Picks a member on trial that has no request now and was not tried yet. `None` almost always: few
/// pools have one. It takes no turn of the rotation.
///
/// Only for a request that can be sent again if this attempt fails.
pub fn pick_trial(pool: &Pool, tried: &[u64]) -> Option<Pick> {
    let trials = pool.trials().iter().filter(|member| !tried.contains(&member.epoch));
    trials.filter_map(Pick::on_trial).next()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::health::Health;
    use crate::node::{Node, NodeId, Source};
    use crate::pool;

    fn member(epoch: u64, health: Health, last_resort: bool) -> Member {
        Member {
            node: Node {
                id: NodeId::new(&format!("node{epoch}")).expect("a legal id"),
                name: format!("node{epoch}"),
                hostname: "raspberrypi".to_owned(),
                endpoint: ([10, 0, 0, 1], 8080).into(),
                boot: None,
                source: Source::Mdns,
                offer: Arc::default(),
            },
            health,
            why: String::new(),
            since: Duration::ZERO,
            advertised: true,
            last_resort,
            silent: false,
            left_silent: None,
            share: Share::WHOLE,
            epoch,
            counters: Arc::default(),
            pi: Arc::default(),
        }
    }

    fn published(members: Vec<Member>) -> pool::Watch {
        let (publisher, watch) = pool::channel();
        publisher.publish(members, Duration::ZERO);
        watch
    }

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

    fn with_share(epoch: u64, share: Share) -> Member {
        Member { share, ..member(epoch, Health::Up, false) }
    }

    fn on_trial(epoch: u64) -> Member {
        with_share(epoch, Share::Trial(Arc::default()))
    }

    #[test]
    fn a_node_in_slow_start_gets_its_part_of_each_round_and_the_others_alike() {
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
    fn a_node_on_trial_has_one_request_at_a_time_and_no_turn() {
        let watch = published(vec![on_trial(1), member(2, Health::Up, false), on_trial(3)]);
        let pool = watch.borrow();
        for _ in 0..4 {
            assert_eq!(pick(&pool, &[]).expect("a node is up").member().epoch, 2);
        }
        let first = pick_trial(&pool, &[]).expect("it is free");
        let second = pick_trial(&pool, &[]).expect("so is the other");
        assert_eq!((first.member().epoch, second.member().epoch), (1, 3));
        assert!(pick_trial(&pool, &[]).is_none());
        drop(first);
        assert!(pick_trial(&pool, &[1]).is_none(), "it was tried");
        assert_eq!(pick_trial(&pool, &[]).expect("free again").member().epoch, 1);
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

    #[test]
    fn a_pick_counts_in_flight_until_it_is_dropped() {
        let watch = published(vec![member(1, Health::Up, false)]);
        let pool = watch.borrow();
        let inflight = || pool.members()[0].counters.inflight.load(Ordering::Relaxed);
        let first = pick(&pool, &[]).expect("a node is up");
        let second = pick(&pool, &[]).expect("a node is up");
        assert_eq!(inflight(), 2);
        drop((first, second));
        assert_eq!(inflight(), 0);
    }
}

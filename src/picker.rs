//! Which node takes the next attempt. Round robin for now; another policy is another function
//! from a pool to a member, and nothing else changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::pool::{Member, Pool};

/// A chosen member, counted in flight until this guard is dropped: when the answer's body ended or
/// the attempt failed.
#[derive(Debug)]
pub struct Pick(Arc<Member>);

impl Pick {
    fn new(member: &Arc<Member>) -> Self {
        member.counters.inflight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(member))
    }

    /// The member that was chosen.
    pub fn member(&self) -> &Member {
        &self.0
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.0.counters.inflight.fetch_sub(1, Ordering::Relaxed);
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
/// times. A member that was tried passes its turn to the next in line.
pub fn pick(pool: &Pool, tried: &[u64]) -> Result<Pick, NoPick> {
    let line = if pool.usable().is_empty() { pool.last_resort() } else { pool.usable() };
    if line.is_empty() {
        return Err(if pool.members().is_empty() { NoPick::NoneKnown } else { NoPick::NoneUsable });
    }
    let turn = pool.turn() % line.len();
    let (before, from) = line.split_at(turn);
    from.iter()
        .chain(before)
        .find(|member| !tried.contains(&member.epoch))
        .map(Pick::new)
        .ok_or(NoPick::AllTried)
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
            },
            health,
            why: String::new(),
            since: Duration::ZERO,
            advertised: true,
            last_resort,
            silent: false,
            epoch,
            counters: Arc::default(),
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

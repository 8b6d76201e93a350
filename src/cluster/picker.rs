//! The choice of the member that takes the next attempt of a request.
//!
//! Each policy is a function from the eligible members to one of them, in a file of its own. The
//! rules for all policies stand in one place each: `eligible` leaves out the nodes that were tried
//! for the request, and `guard` gives no node more requests than it may have.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use self::eligible::Eligible;
use crate::cluster::balance::Balance;
use crate::cluster::node::StickyKey;
use crate::cluster::pool::{Member, Pool};

pub use self::guard::{NoPick, Pick};
pub use self::hash::key;
pub use self::round_robin::pick;

mod eligible;
mod first;
mod guard;
mod hash;
mod least;
mod p2c;
mod round_robin;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod simulated;

/// The facts of a request that decide the choice of its member.
#[derive(Clone, Copy, Debug, Default)]
pub struct Criteria<'a> {
    /// The epochs of the members that were tried for it.
    pub tried: &'a [u64],
    /// The number that the policy `hash` goes by: see [`key`].
    pub key: u64,
    /// The node that answered the client before and is insisted on, if it takes requests.
    pub sticky: Option<StickyKey>,
    /// When the request came: time since the process started. It stands for now where latencies
    /// fade: it is near enough, and another look at the clock would cost more.
    pub came: Duration,
}

/// Chooses the member for this request by the pool's policy, and counts the request there. Usable
/// members come first, those of last resort only when no member is usable.
///
/// # Errors
/// The reason why there is no member for it: see [`NoPick`].
pub fn choose(pool: &Pool, criteria: &Criteria<'_>, rng: &mut Rng) -> Result<Pick, NoPick> {
    match (criteria.sticky, pool.balance()) {
        (None, Balance::RoundRobin) => pick(pool, criteria.tried),
        _ => choose_otherwise(pool, criteria, rng),
    }
}

/// A function of its own, so that the ordinary choice does not pay for it.
#[inline(never)]
fn choose_otherwise(pool: &Pool, criteria: &Criteria<'_>, rng: &mut Rng) -> Result<Pick, NoPick> {
    if let Some(member) = sticky(pool, criteria) {
        return Pick::new(pool, member).ok_or(NoPick::AllBusy);
    }
    let eligible = Eligible { pool, tried: criteria.tried };
    loop {
        let chosen = match pool.balance() {
            Balance::RoundRobin => return pick(pool, criteria.tried),
            Balance::LeastRequests => least::choose(&eligible, rng),
            Balance::P2c => p2c::choose(&eligible, criteria.came, rng),
            Balance::Hash(_) => hash::choose(&eligible, criteria.key),
            Balance::First => first::choose(&eligible, rng),
        };
        let Some(member) = chosen else { return Err(eligible.why_none()) };
        // Another worker may have taken the last place meanwhile; then there is one choice less.
        if let Some(pick) = Pick::new(pool, member) {
            return Ok(pick);
        }
    }
}

/// The member that this request's client insists on, if it takes requests and was not tried.
pub fn sticky<'a>(pool: &'a Pool, criteria: &Criteria<'_>) -> Option<&'a Arc<Member>> {
    let key = criteria.sticky?;
    pool.eligible().iter().find(|member| {
        member.node.id.sticky_key() == key && !criteria.tried.contains(&member.epoch)
    })
}

/// Picks a member on trial that has no request now and was not tried yet. `None` almost always: few
/// pools have a trial. It takes no turn of the rotation.
///
/// Only for a request that can be sent again if this attempt fails.
pub fn pick_trial(pool: &Pool, tried: &[u64]) -> Option<Pick> {
    let trials = pool.trials().iter().filter(|member| !tried.contains(&member.epoch));
    trials.filter_map(|member| Pick::on_trial(pool, member)).next()
}

#[cfg(test)]
mod tests {
    use super::eligible::inflight;
    use super::samples::{POLICIES, balanced, member, up};
    use super::*;
    use crate::cluster::health::Health;

    #[test]
    fn no_policy_picks_a_tried_node_while_another_is_untried() {
        for balance in POLICIES {
            let watch = balanced(balance, None, up(4));
            let (pool, mut rng) = (watch.borrow(), Rng::with_seed(1));
            for key in 0..100 {
                let mut tried = Vec::new();
                while tried.len() < 4 {
                    let criteria = Criteria { tried: &tried, key, ..Criteria::default() };
                    let epoch = choose(&pool, &criteria, &mut rng).expect("one").member().epoch;
                    assert!(!tried.contains(&epoch), "{balance}");
                    tried.push(epoch);
                }
                let criteria = Criteria { tried: &tried, key, ..Criteria::default() };
                let none = choose(&pool, &criteria, &mut rng).expect_err("none is left");
                assert_eq!(none, NoPick::AllTried, "{balance}");
            }
        }
    }

    #[test]
    fn every_policy_spares_the_last_resort_and_gives_the_reason_for_none() {
        let criteria = Criteria::default();
        let mut rng = Rng::with_seed(1);
        for balance in POLICIES {
            let draining = || member(1, Health::Draining, true);
            let watch = balanced(balance, None, vec![draining(), member(2, Health::Up, false)]);
            for _ in 0..10 {
                let pick = choose(&watch.borrow(), &criteria, &mut rng).expect("a node is up");
                assert_eq!(pick.member().epoch, 2, "{balance}");
            }
            let watch = balanced(balance, None, vec![draining(), member(2, Health::Down, false)]);
            let pick = choose(&watch.borrow(), &criteria, &mut rng).expect("a last resort");
            assert_eq!(pick.member().epoch, 1, "{balance}");
            let mut why = |members| {
                let watch = balanced(balance, None, members);
                choose(&watch.borrow(), &criteria, &mut rng).expect_err("nobody")
            };
            assert_eq!(why(vec![]), NoPick::NoneKnown, "{balance}");
            assert_eq!(why(vec![member(1, Health::Down, false)]), NoPick::NoneUsable, "{balance}");
        }
    }

    #[test]
    fn no_policy_gives_a_node_more_requests_than_it_may_have() {
        for balance in POLICIES {
            let watch = balanced(balance, Some(2), up(3));
            let (pool, mut rng) = (watch.borrow(), Rng::with_seed(1));
            let criteria = Criteria::default();
            let mut picks: Vec<Pick> = (0..6)
                .map(|_| choose(&pool, &criteria, &mut rng).expect("there is room"))
                .collect();
            assert!(pool.members().iter().all(|member| inflight(member) == 2), "{balance}");
            let busy = choose(&pool, &criteria, &mut rng).expect_err("all are full");
            assert_eq!(busy, NoPick::AllBusy, "{balance}");
            let criteria = Criteria { tried: &[1, 2, 3], ..criteria };
            let tried = choose(&pool, &criteria, &mut rng).expect_err("all were tried");
            assert_eq!(tried, NoPick::AllTried, "{balance}");
            let freed = picks.swap_remove(3).member().epoch;
            let pick = choose(&pool, &Criteria::default(), &mut rng).expect("there is room again");
            assert_eq!(pick.member().epoch, freed, "{balance}");
        }
    }

    #[test]
    fn a_client_that_sticks_gets_its_node_while_that_takes_requests() {
        let mut rng = Rng::with_seed(1);
        let sticky = Some(member(2, Health::Up, false).node.id.sticky_key());
        let criteria = Criteria { sticky, ..Criteria::default() };
        for balance in POLICIES {
            let watch = balanced(balance, Some(5), up(3));
            let picks: Vec<Pick> =
                (0..5).map(|_| choose(&watch.borrow(), &criteria, &mut rng).expect("up")).collect();
            assert!(picks.iter().all(|pick| pick.member().epoch == 2), "{balance}");
            let busy = choose(&watch.borrow(), &criteria, &mut rng).expect_err("its node is full");
            assert_eq!(busy, NoPick::AllBusy, "its session is there alone");
            let elsewhere = Criteria { tried: &[2], ..criteria };
            let pick = choose(&watch.borrow(), &elsewhere, &mut rng).expect("another is up");
            assert_ne!(pick.member().epoch, 2);
            for gone in [member(2, Health::Down, false), member(2, Health::Draining, true)] {
                let watch = balanced(balance, None, vec![gone, member(1, Health::Up, false)]);
                let pick = choose(&watch.borrow(), &criteria, &mut rng).expect("another is up");
                assert_eq!(pick.member().epoch, 1, "{balance}");
            }
        }
    }
}

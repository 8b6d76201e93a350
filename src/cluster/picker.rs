//! Which node takes the next attempt. Each policy is a function from a pool to a member; what is
//! asked of all of them, that no node is tried twice and none has more than it may, is said here once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;

use crate::cluster::balance::Balance;
use crate::cluster::node::StickyKey;
use crate::cluster::pool::inflight_limit::InflightLimit;
use crate::cluster::pool::{Member, Pool, Share};

mod first;
mod hash;
mod least;
mod p2c;
#[cfg(test)]
mod simulated;

pub use hash::key;

/// A chosen member, counted in flight until this guard is dropped: when the answer's body ended or
/// the attempt failed.
#[derive(Debug)]
pub struct Pick {
    member: Arc<Member>,
    /// It holds the flag of the member's trial.
    on_trial: bool,
    /// Who waits for its end, if the requests of a member are bounded.
    room: Option<Arc<InflightLimit>>,
}

impl Pick {
    /// `None` if the member has as many requests as it may.
    fn new(pool: &Pool, member: &Arc<Member>) -> Option<Self> {
        let (inflight, room) = (&member.counters.inflight, pool.room());
        match room {
            None => drop(inflight.fetch_add(1, Ordering::Relaxed)),
            Some(room) if room.enter(inflight) => {}
            Some(_) => return None,
        }
        Some(Self { member: Arc::clone(member), on_trial: false, room: room.cloned() })
    }

    /// The one request that a member on trial may have, if it has none.
    fn on_trial(pool: &Pool, member: &Arc<Member>) -> Option<Self> {
        let Share::Trial(taken) = &member.share else { return None };
        if taken.compare_exchange(false, true, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return None;
        }
        let Some(mut pick) = Self::new(pool, member) else {
            taken.store(false, Ordering::Relaxed);
            return None;
        };
        pick.on_trial = true;
        Some(pick)
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
        if let Some(room) = &self.room {
            room.leave();
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
    /// Every node that was not tried, or the one that the client sticks to, has as many requests as
    /// it may.
    AllBusy,
}

/// What a request brings to the choice of its member.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The epochs that were tried for it.
    pub tried: &'a [u64],
    /// What a policy by [`key`] goes by.
    pub key: u64,
    /// The node that the client had before and insists on, if it takes requests.
    pub sticky: Option<StickyKey>,
    /// When it came, since the process started. Near enough to now to say what has faded since.
    pub came: Duration,
}

/// Chooses the member for this request by the pool's policy: one that was not tried yet, by epoch.
/// Usable members come first; those of last resort only when no member is usable.
pub fn choose(pool: &Pool, asked: &Asked<'_>, rng: &mut Rng) -> Result<Pick, NoPick> {
    match (asked.sticky, pool.balance()) {
        (None, Balance::RoundRobin) => pick(pool, asked.tried),
        _ => choose_otherwise(pool, asked, rng),
    }
}

/// Apart from the ordinary choice, so that it costs that one nothing.
#[inline(never)]
fn choose_otherwise(pool: &Pool, asked: &Asked<'_>, rng: &mut Rng) -> Result<Pick, NoPick> {
    if let Some(member) = sticky(pool, asked) {
        return Pick::new(pool, member).ok_or(NoPick::AllBusy);
    }
    let open = Eligible { pool, tried: asked.tried };
    loop {
        let chosen = match pool.balance() {
            Balance::RoundRobin => return pick(pool, asked.tried),
            Balance::LeastRequests => least::choose(&open, rng),
            Balance::P2c => p2c::choose(&open, asked.came, rng),
            Balance::Hash(_) => hash::choose(&open, asked.key),
            Balance::First => first::choose(&open, rng),
        };
        let Some(member) = chosen else { return Err(open.none()) };
        // Another worker may have taken the last place meanwhile; then there is one choice less.
        if let Some(pick) = Pick::new(pool, member) {
            return Ok(pick);
        }
    }
}

/// The member that this request's client insists on, if it takes requests and was not tried.
pub fn sticky<'a>(pool: &'a Pool, asked: &Asked<'_>) -> Option<&'a Arc<Member>> {
    let mark = asked.sticky?;
    pool.eligible()
        .iter()
        .find(|member| member.node.id.sticky_key() == mark && !asked.tried.contains(&member.epoch))
}

/// The members that may be chosen.
struct Eligible<'a> {
    pool: &'a Pool,
    tried: &'a [u64],
}

impl<'a> Eligible<'a> {
    fn eligible(&self) -> &'a [Arc<Member>] {
        self.pool.eligible()
    }

    fn has(&self, member: &Member) -> bool {
        let inflight_max = self.pool.room().map(|room| room.inflight_max());
        !self.tried.contains(&member.epoch) && inflight_max.is_none_or(|max| inflight(member) < max)
    }

    fn members(&self) -> impl Iterator<Item = &'a Arc<Member>> {
        self.eligible().iter().filter(|member| self.has(member))
    }

    /// Why there is none.
    fn none(&self) -> NoPick {
        let (line, tried) = (self.eligible(), self.tried);
        match (line.is_empty(), self.pool.members().is_empty()) {
            (true, true) => NoPick::NoneKnown,
            (true, false) => NoPick::NoneUsable,
            (false, _) if line.iter().all(|m| tried.contains(&m.epoch)) => NoPick::AllTried,
            (false, _) => NoPick::AllBusy,
        }
    }
}

/// The requests that a member has now.
fn inflight(member: &Member) -> u32 {
    member.counters.inflight.load(Ordering::Relaxed)
}

/// Round robin: picks the member whose turn it is and that was not tried yet, by epoch.
///
/// One step of the shared rotation a pick, so that 3k requests in a row reach each of 3 nodes k
/// times; with unequal weights each gets its share of every round. A member that was tried, or has as
/// many requests as it may, passes its turn to the next in line.
pub fn pick(pool: &Pool, tried: &[u64]) -> Result<Pick, NoPick> {
    let (line, turns) = (pool.eligible(), pool.turns());
    let round = if turns.is_empty() { line.len() } else { turns.len() };
    if round == 0 {
        return Err(Eligible { pool, tried }.none());
    }
    let turn = pool.turn() % round;
    (turn..round)
        .chain(0..turn)
        .map(|turn| &line[turns.get(turn).map_or(turn, |at| usize::from(*at))])
        .filter(|member| !tried.contains(&member.epoch))
        .find_map(|member| Pick::new(pool, member))
        .ok_or_else(|| Eligible { pool, tried }.none())
}

/// Picks a member on trial that has no request now and was not tried yet. `None` almost always: few
/// pools have one. It takes no turn of the rotation.
///
/// Only for a request that can be sent again if this attempt fails.
pub fn pick_trial(pool: &Pool, tried: &[u64]) -> Option<Pick> {
    let trials = pool.trials().iter().filter(|member| !tried.contains(&member.epoch));
    trials.filter_map(|member| Pick::on_trial(pool, member)).next()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::cluster::health::Health;
    use crate::cluster::pool;

    pub(in crate::cluster::picker) fn member(
        epoch: u64,
        health: Health,
        last_resort: bool,
    ) -> Member {
        Member { health, last_resort, ..Member::sample(epoch) }
    }

    fn published(members: Vec<Member>) -> pool::Watch {
        balanced("round-robin", None, members)
    }

    pub(in crate::cluster::picker) fn balanced(
        balance: &str,
        inflight_max: Option<u32>,
        members: Vec<Member>,
    ) -> pool::Watch {
        let (publisher, watch) = pool::channel();
        let balance = Balance::parse(balance).expect("a known policy");
        publisher.balancing(balance, inflight_max).publish(members, Duration::ZERO);
        watch
    }

    /// So many members that are up, with the epochs from 1 on.
    pub(in crate::cluster::picker) fn up(count: u64) -> Vec<Member> {
        (1..=count).map(|epoch| member(epoch, Health::Up, false)).collect()
    }

    const POLICIES: [&str; 5] = ["round-robin", "least-requests", "p2c", "hash", "first"];

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

    pub(in crate::cluster::picker) fn with_share(epoch: u64, share: Share) -> Member {
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

    #[test]
    fn no_policy_picks_a_tried_node_while_another_is_untried() {
        for balance in POLICIES {
            let watch = balanced(balance, None, up(4));
            let (pool, mut rng) = (watch.borrow(), Rng::with_seed(1));
            for key in 0..100 {
                let mut tried = Vec::new();
                while tried.len() < 4 {
                    let asked = Asked { tried: &tried, key, ..Asked::default() };
                    let epoch = choose(&pool, &asked, &mut rng).expect("one").member().epoch;
                    assert!(!tried.contains(&epoch), "{balance}");
                    tried.push(epoch);
                }
                let asked = Asked { tried: &tried, key, ..Asked::default() };
                let none = choose(&pool, &asked, &mut rng).expect_err("none is left");
                assert_eq!(none, NoPick::AllTried, "{balance}");
            }
        }
    }

    #[test]
    fn every_policy_leaves_the_last_resort_and_says_why_there_is_nobody() {
        let asked = Asked::default();
        let mut rng = Rng::with_seed(1);
        for balance in POLICIES {
            let draining = || member(1, Health::Draining, true);
            let watch = balanced(balance, None, vec![draining(), member(2, Health::Up, false)]);
            for _ in 0..10 {
                let pick = choose(&watch.borrow(), &asked, &mut rng).expect("a node is up");
                assert_eq!(pick.member().epoch, 2, "{balance}");
            }
            let watch = balanced(balance, None, vec![draining(), member(2, Health::Down, false)]);
            let pick = choose(&watch.borrow(), &asked, &mut rng).expect("a last resort");
            assert_eq!(pick.member().epoch, 1, "{balance}");
            let mut why = |members| {
                let watch = balanced(balance, None, members);
                choose(&watch.borrow(), &asked, &mut rng).expect_err("nobody")
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
            let asked = Asked::default();
            let mut picks: Vec<Pick> =
                (0..6).map(|_| choose(&pool, &asked, &mut rng).expect("there is room")).collect();
            assert!(pool.members().iter().all(|member| inflight(member) == 2), "{balance}");
            let busy = choose(&pool, &asked, &mut rng).expect_err("all are full");
            assert_eq!(busy, NoPick::AllBusy, "{balance}");
            let asked = Asked { tried: &[1, 2, 3], ..asked };
            let tried = choose(&pool, &asked, &mut rng).expect_err("all were tried");
            assert_eq!(tried, NoPick::AllTried, "{balance}");
            let freed = picks.swap_remove(3).member().epoch;
            let pick = choose(&pool, &Asked::default(), &mut rng).expect("there is room again");
            assert_eq!(pick.member().epoch, freed, "{balance}");
        }
    }

    #[test]
    fn a_trial_counts_among_the_requests_that_a_node_may_have() {
        let watch = balanced("p2c", Some(1), vec![on_trial(1), member(2, Health::Up, false)]);
        let pool = watch.borrow();
        let old = pool.trials()[0].counters.inflight.fetch_add(1, Ordering::Relaxed);
        assert!(pick_trial(&pool, &[]).is_none());
        pool.trials()[0].counters.inflight.store(old, Ordering::Relaxed);
        assert!(pick_trial(&pool, &[]).is_some());
    }

    #[test]
    fn a_client_that_sticks_gets_its_node_while_that_takes_requests() {
        let mut rng = Rng::with_seed(1);
        let sticky = Some(member(2, Health::Up, false).node.id.sticky_key());
        let asked = Asked { sticky, ..Asked::default() };
        for balance in POLICIES {
            let watch = balanced(balance, Some(5), up(3));
            let picks: Vec<Pick> =
                (0..5).map(|_| choose(&watch.borrow(), &asked, &mut rng).expect("up")).collect();
            assert!(picks.iter().all(|pick| pick.member().epoch == 2), "{balance}");
            let busy = choose(&watch.borrow(), &asked, &mut rng).expect_err("its node is full");
            assert_eq!(busy, NoPick::AllBusy, "its session is there alone");
            let elsewhere = Asked { tried: &[2], ..asked };
            let pick = choose(&watch.borrow(), &elsewhere, &mut rng).expect("another is up");
            assert_ne!(pick.member().epoch, 2);
            for gone in [member(2, Health::Down, false), member(2, Health::Draining, true)] {
                let watch = balanced(balance, None, vec![gone, member(1, Health::Up, false)]);
                let pick = choose(&watch.borrow(), &asked, &mut rng).expect("another is up");
                assert_eq!(pick.member().epoch, 1, "{balance}");
            }
        }
    }
}

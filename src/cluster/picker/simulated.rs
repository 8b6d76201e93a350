//! The waiting times of clients under each policy, in virtual time, with nodes that are slower or
//! quicker.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use fastrand::Rng;

use super::samples::{balanced, up, with_share};
use super::{Criteria, Pick, choose};
use crate::cluster::pool::{Member, Share};

/// The mean time that one answer takes on a core, of a quick and of a slow node.
const QUICK: Duration = Duration::from_millis(4);
const SLOW: Duration = Duration::from_millis(50);

/// The number of requests that a node works on at once.
const CORES: usize = 4;

/// The observations of the clients.
struct Seen {
    waits: Vec<Duration>,
    /// The number of answers of each node; the index is its epoch less one.
    answers: Vec<usize>,
}

impl Seen {
    fn p99(&self) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        waits[waits.len() * 99 / 100]
    }

    fn part(&self, epoch: usize) -> f64 {
        self.answers[epoch - 1] as f64 / self.waits.len() as f64
    }
}

/// Sends `per_second` requests in a second, for 30 s, to nodes whose answers take `takes` on
/// average. The times between requests and of answers are random, with an exponential distribution.
fn run(
    balance: &str,
    members: Vec<Member>,
    takes: &[Duration],
    per_second: f64,
    seed: u64,
) -> Seen {
    let watch = balanced(balance, None, members);
    let (pool, mut rng) = (watch.borrow(), Rng::with_seed(seed));
    let by_chance = |mean: Duration, rng: &mut Rng| mean.mul_f64(-(1.0 - rng.f64()).ln());
    let mut cores = vec![[Duration::ZERO; CORES]; takes.len()];
    let mut under_way: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut picks: Vec<Option<(Pick, Duration)>> = Vec::new();
    let mut seen = Seen { waits: Vec::new(), answers: vec![0; takes.len()] };
    let mut now = Duration::from_secs(60);
    let end = now + Duration::from_secs(30);
    while now < end {
        now += by_chance(Duration::from_secs_f64(1.0 / per_second), &mut rng);
        while let Some(Reverse((at, number))) = under_way.peek().copied().filter(|r| r.0.0 <= now) {
            under_way.pop();
            let (pick, came): (Pick, Duration) = picks[number].take().expect("it ends once");
            pick.member().feed_ewma(at, at - came);
            seen.waits.push(at - came);
            seen.answers[pick.member().epoch as usize - 1] += 1;
        }
        let criteria = Criteria { key: rng.u64(..), came: now, ..Criteria::default() };
        let pick = choose(&pool, &criteria, &mut rng).expect("all are up");
        let node = pick.member().epoch as usize - 1;
        let core = cores[node].iter_mut().min().expect("it has some");
        *core = now.max(*core) + by_chance(takes[node], &mut rng);
        under_way.push(Reverse((*core, picks.len())));
        picks.push(Some((pick, now)));
    }
    seen
}

/// Half of the requests that the four quick nodes could answer.
const PER_SECOND: f64 = 2000.0;

#[test]
fn with_p2c_a_slow_node_delays_hardly_any_client() {
    for seed in 1..=5 {
        let without = run("p2c", up(4), &[QUICK; 4], PER_SECOND, seed);
        let with = run("p2c", up(5), &[QUICK, QUICK, QUICK, QUICK, SLOW], PER_SECOND, seed);
        let ratio = with.p99().as_secs_f64() / without.p99().as_secs_f64();
        assert!(ratio < 1.3, "{:?} and {:?}", without.p99(), with.p99());
        assert!(with.answers[4] > 0, "it is asked now and then");
    }
}

#[test]
fn a_slow_node_delays_all_in_turn_and_is_spared_by_fewest_requests() {
    let takes = [QUICK, QUICK, QUICK, QUICK, SLOW];
    let p99 = |balance| run(balance, up(5), &takes, 300.0, 1).p99();
    let [in_turn, least, p2c] = ["round-robin", "least-requests", "p2c"].map(p99);
    assert!(p2c < in_turn / 3 && least < in_turn, "{in_turn:?} {least:?} {p2c:?}");
}

#[test]
fn with_p2c_equal_nodes_get_equal_parts_and_one_in_slow_start_less() {
    let seen = run("p2c", up(4), &[QUICK; 4], PER_SECOND, 1);
    assert!((1..=4).all(|epoch| (0.2..0.3).contains(&seen.part(epoch))), "{:?}", seen.answers);
    let mut members = up(3);
    members.push(with_share(4, Share::Quarters(1)));
    let seen = run("p2c", members, &[QUICK; 4], PER_SECOND, 1);
    // A thirteenth is its due; it is in twice as many draws, and does not win all of them.
    assert!((0.03..0.16).contains(&seen.part(4)), "{:?}", seen.answers);
}

//! The better of two members drawn at random ("power of two choices"): the latencies of a slow node
//! give it fewer requests, and the requests of one moment do not all run to the node that looks
//! best.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::eligible::{Eligible, inflight};
use crate::cluster::pool::Member;

/// The assumed seconds per request of a node of which nothing is known while it has a request: it
/// gets no other one before it has answered, unless all nodes are like that.
const UNKNOWN_S: f32 = 3600.0;

/// Draws two eligible members, with a probability by their weights, and takes the one whose
/// requests are expected to take less time, one more included.
///
/// `now` is the time since the process started.
pub(super) fn choose<'a>(
    eligible: &Eligible<'a>,
    now: Duration,
    rng: &mut Rng,
) -> Option<&'a Arc<Member>> {
    let round = eligible.pool.round();
    let slots = round.len();
    // The first eligible member from this slot on: the drawn one, as a rule.
    let from = |slot: usize, other: Option<u64>| {
        (slot..slots)
            .chain(0..slot)
            .map(|slot| round.member(slot))
            .find(|member| Some(member.epoch) != other && eligible.has(member))
    };
    if slots < 2 {
        return from(0, None);
    }
    let slot = rng.usize(0..slots);
    let first = from(slot, None)?;
    let second = from((slot + rng.usize(1..slots)) % slots, Some(first.epoch));
    let Some(second) = second else { return Some(first) };
    Some(if cost(second, now) < cost(first, now) { second } else { first })
}

/// The seconds that a member is expected to need for the requests that it has and for one more.
fn cost(member: &Member, now: Duration) -> f32 {
    let (seconds, inflight) = (member.counters.latency_ewma.read(now), inflight(member) as f32);
    if seconds == 0.0 { UNKNOWN_S * inflight } else { seconds * (inflight + 1.0) }
}

//! The better of two drawn by chance, "power of two choices": a slow node is found out by its answers,
//! and no herd runs to the one that looks best.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::{Eligible, inflight};
use crate::cluster::pool::Member;

/// Stands for the time of a node of which nothing is known while it has a request: it is not given
/// another one before it has answered, unless all are like that.
const UNKNOWN_S: f32 = 3600.0;

/// Draws two open members, each as often as its weight says, and takes the one whose queue is
/// expected to be shorter in time.
pub(super) fn choose<'a>(
    open: &Eligible<'a>,
    now: Duration,
    rng: &mut Rng,
) -> Option<&'a Arc<Member>> {
    let (line, turns) = (open.eligible(), open.pool.turns());
    let round = if turns.is_empty() { line.len() } else { turns.len() };
    let member = |place: usize| &line[turns.get(place).map_or(place, |at| usize::from(*at))];
    // From a place on the first that will do: the drawn one, as a rule.
    let from = |place: usize, other: Option<u64>| {
        (place..round)
            .chain(0..place)
            .map(member)
            .find(|member| Some(member.epoch) != other && open.has(member))
    };
    if round < 2 {
        return from(0, None);
    }
    let place = rng.usize(0..round);
    let first = from(place, None)?;
    let second = from((place + rng.usize(1..round)) % round, Some(first.epoch));
    let Some(second) = second else { return Some(first) };
    Some(if cost(second, now) < cost(first, now) { second } else { first })
}

/// The time that a member is expected to need for what it has and for one more.
fn cost(member: &Member, now: Duration) -> f32 {
    let (seconds, inflight) = (member.counters.expected.read(now), inflight(member) as f32);
    if seconds == 0.0 { UNKNOWN_S * inflight } else { seconds * (inflight + 1.0) }
}

//! The last minute of each node, one sample a second. The bar of beats, the rate and the latencies are
//! computed from it. In memory only, and gone with the node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::cluster::api::{Beat, Beats};
use crate::cluster::health::Health;
use crate::cluster::node::NodeId;
use crate::cluster::pool::{Counters, Member, Pool};
use crate::telemetry::histogram::Snapshot;

/// The beats that are kept: those of a minute.
pub(super) const BEATS: usize = 60;

/// The samples for latencies and shares: those of the last 10 s.
const SAMPLES: usize = 10;

/// The samples for the rate: few, so that a pulled cable shows at once.
const RATE_SAMPLES: usize = 3;

/// A node's last minute, the newest second last.
#[derive(Debug)]
struct Minute {
    /// The node's own counters. Another allocation means that the node left and joined again.
    counters: Arc<Counters>,
    beats: VecDeque<Beat>,
    /// The latencies since the start, as they were at each of the last seconds.
    samples: VecDeque<(Duration, Snapshot)>,
    failures: u64,
}

/// The summary of it that the page and the API show.
#[derive(Clone, Debug, Default)]
pub(super) struct Lately {
    /// Requests a second.
    pub(super) rate: f64,
    /// Requests within the last 10 s.
    pub(super) requests: u64,
    /// The time within which half of these were answered; `None` if there are none.
    pub(super) p50: Option<Duration>,
    /// The same of 99 in a hundred.
    pub(super) p99: Option<Duration>,
    /// Since the node is known, a minute at most.
    pub(super) beats: Beats,
}

/// The minutes of all nodes.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    of: BTreeMap<NodeId, Minute>,
    /// The answers of nodes that are gone: a total must never fall.
    answered_by_gone: u64,
}

impl Minutes {
    /// Takes a sample of every member, at `now`, and forgets the nodes that are gone.
    pub(super) fn tick(&mut self, pool: &Pool, now: Duration) {
        let mut before = std::mem::take(&mut self.of);
        for member in pool.members() {
            let same = |minute: &Minute| Arc::ptr_eq(&minute.counters, &member.counters);
            let id = &member.node.id;
            let known = if before.get(id).is_some_and(same) { before.remove(id) } else { None };
            let mut minute = known.unwrap_or_else(|| Minute::of(member));
            minute.tick(member.health, now);
            self.of.insert(id.clone(), minute);
        }
        let gone = before.values().map(|minute| minute.counters.requests.load(Relaxed));
        self.answered_by_gone += gone.sum::<u64>();
    }

    /// Answers begun since the start, by nodes that are here or gone.
    pub(super) fn answered(&self) -> u64 {
        let here = self.of.values().map(|minute| minute.counters.requests.load(Relaxed));
        self.answered_by_gone + here.sum::<u64>()
    }

    pub(super) fn of(&self, id: &NodeId) -> Lately {
        self.of.get(id).map(Minute::lately).unwrap_or_default()
    }
}

impl Minute {
    fn of(member: &Member) -> Self {
        Self {
            counters: Arc::clone(&member.counters),
            beats: VecDeque::new(),
            samples: VecDeque::new(),
            failures: 0,
        }
    }

    fn tick(&mut self, health: Health, now: Duration) {
        let sample = self.counters.latency.snapshot();
        let failures = self.counters.failures.load(Relaxed);
        if let Some((_, last)) = self.samples.back() {
            let beat = if failures > self.failures {
                Beat::Failed
            } else if sample.count() > last.count() {
                Beat::Answered
            } else if health == Health::Up {
                Beat::Idle
            } else {
                Beat::Out
            };
            push(&mut self.beats, beat, BEATS);
        }
        self.failures = failures;
        push(&mut self.samples, (now, sample), SAMPLES + 1);
    }

    fn lately(&self) -> Lately {
        let beats = Beats(self.beats.iter().copied().collect());
        let (Some((_, first)), Some((now, last))) = (self.samples.front(), self.samples.back())
        else {
            return Lately::default();
        };
        let since = last.since(first);
        let (then, before) = &self.samples[self.samples.len().saturating_sub(RATE_SAMPLES + 1)];
        let span = (*now - *then).as_secs_f64();
        let rate = if span > 0.0 { last.since(before).count() as f64 / span } else { 0.0 };
        Lately {
            rate,
            requests: since.count(),
            p50: since.quantile(0.5),
            p99: since.quantile(0.99),
            beats,
        }
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() == max {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::member;
    use crate::cluster::pool;

    const SECOND: Duration = Duration::from_secs(1);

    fn letters(lately: &Lately) -> String {
        lately.beats.0.iter().map(|beat| beat.letter()).collect()
    }

    #[test]
    fn a_second_is_a_beat_and_a_minute_is_kept() {
        let (publisher, pool) = pool::channel();
        let (mut minutes, id) = (Minutes::default(), NodeId::new("b2fkq7aaaaaaa").unwrap());
        let ada = member("ada", Health::Up, "answers");
        let counters = Arc::clone(&ada.counters);
        publisher.publish(vec![ada], Duration::ZERO);
        let mut tick = |second| minutes.tick(&pool.borrow(), SECOND * second);
        tick(0);
        tick(1);
        for _ in 0..6 {
            pool.borrow().members()[0].count_answer(200, SECOND, Duration::from_millis(3));
        }
        tick(2);
        counters.failures.fetch_add(1, Relaxed);
        tick(3);
        publisher.publish(
            vec![Member { counters, ..member("ada", Health::Down, "silent") }],
            Duration::ZERO,
        );
        tick(4);
        let lately = minutes.of(&id);
        assert_eq!(letters(&lately), "iafo");
        // Of the last three seconds.
        assert_eq!((lately.rate, lately.requests), (2.0, 6));
        assert_eq!(lately.p50, Some(Duration::from_micros(3072)));
        for second in 5..80 {
            minutes.tick(&pool.borrow(), SECOND * second);
        }
        let lately = minutes.of(&id);
        assert_eq!((letters(&lately), lately.p50), ("o".repeat(BEATS), None));
        publisher.publish(Vec::new(), Duration::ZERO);
        minutes.tick(&pool.borrow(), SECOND * 80);
        assert!(minutes.of.is_empty(), "who is gone is forgotten");
        assert_eq!(minutes.answered(), 6, "but not what it did");
    }
}

//! The state of the balancer in one line, for `systemctl status`.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::cluster::health::Health;
use crate::cluster::pool::{Member, Pool, Watch};

/// The healths in the order of the line, which names only those that some node has.
const HEALTHS: [Health; 6] = [
    Health::Up,
    Health::Starting,
    Health::Suspect,
    Health::Ejected,
    Health::Draining,
    Health::Down,
];

/// The writer of the line. It remembers the last count for the rate.
pub(super) struct Status {
    pool: Watch,
    /// The time of the last line, and the number of requests answered by then.
    before: (Instant, u64),
}

impl Status {
    pub(super) fn new(pool: Watch) -> Self {
        Self { pool, before: (Instant::now(), 0) }
    }

    /// The line for now: `3 nodes up, 1 draining; 812 req/s`.
    pub(super) fn line(&mut self) -> String {
        let pool = self.pool.borrow().clone();
        let of = |health: Health| pool.members().iter().filter(|m| m.health == health).count();
        let up = of(Health::Up);
        let others = HEALTHS.into_iter().skip(1).map(|health| (of(health), health));
        let others: String = others
            .filter(|(count, _)| *count > 0)
            .map(|(count, health)| format!(", {count} {}", health.as_str()))
            .collect();
        let nodes = if up == 1 { "node" } else { "nodes" };
        format!("{up} {nodes} up{others}; {} req/s", self.rate(&pool))
    }

    /// The requests a second since the last line. A node that leaves takes its count along, so that the next
    /// rate is too low.
    fn rate(&mut self, pool: &Pool) -> u64 {
        let answered = |m: &Arc<Member>| m.counters.requests.load(Ordering::Relaxed);
        let (now, total) = (Instant::now(), pool.members().iter().map(answered).sum::<u64>());
        let (then, before) = mem::replace(&mut self.before, (now, total));
        let seconds = (now - then).as_secs_f64();
        let more = total.saturating_sub(before);
        if seconds > 0.0 { (more as f64 / seconds).round() as u64 } else { 0 }
    }
}

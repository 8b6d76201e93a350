//! The balancer in one line, for `systemctl status`.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::cluster::health::Health;
use crate::cluster::pool::Watch;

/// Healths in the order in which they are told; only those that some node has are.
const HEALTHS: [Health; 6] = [
    Health::Up,
    Health::Starting,
    Health::Suspect,
    Health::Ejected,
    Health::Draining,
    Health::Down,
];

/// Makes the line; remembers what it needs for the rate.
pub(super) struct Status {
    pool: Watch,
    /// When the line was made last, and how many requests had been answered.
    before: (Instant, u64),
}

impl Status {
    pub(super) fn new(pool: Watch) -> Self {
        Self { pool, before: (Instant::now(), 0) }
    }

    /// How it is now: `3 nodes up, 1 draining; 812 req/s`.
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

    /// The requests a second since the last line. A node that has left takes its count along; then it
    /// is too low for once.
    fn rate(&mut self, pool: &crate::cluster::pool::Pool) -> u64 {
        let answered = |m: &std::sync::Arc<crate::cluster::pool::Member>| {
            m.counters.requests.load(Ordering::Relaxed)
        };
        let (now, total) = (Instant::now(), pool.members().iter().map(answered).sum::<u64>());
        let (then, before) = std::mem::replace(&mut self.before, (now, total));
        let seconds = (now - then).as_secs_f64();
        let more = total.saturating_sub(before);
        if seconds > 0.0 { (more as f64 / seconds).round() as u64 } else { 0 }
    }
}

//! Goodbyes that come together, or with a disturbance of our own link, and so may be our own fault.

use std::collections::VecDeque;
use std::time::Duration;

use crate::cluster::config::NODES_MAX;

/// For this long after our own link was disturbed no goodbye is believed: every node is withdrawn
/// within 5 s of a lost link, and the kernel may report the loss later than mDNS does.
const DISTURBED_FOR: Duration = Duration::from_secs(15);

/// Goodbyes so close together count as one removal, and those so shortly before a disturbance as
/// a part of it.
const TOGETHER: Duration = Duration::from_secs(5);

/// The fewest nodes withdrawn together that are a mass removal, if they are half of all nodes: then
/// our own link is a likelier cause than that many hands.
const MASS_MIN: usize = 3;

/// The goodbyes of the last moments.
#[derive(Debug, Default)]
pub(super) struct Withdrawals {
    /// When proven nodes were withdrawn, within the last [`TOGETHER`].
    recent: VecDeque<Duration>,
    /// When our own link was last disturbed.
    disturbed: Option<Duration>,
}

impl Withdrawals {
    /// Our own link was disturbed.
    pub(super) fn disturbed(&mut self, now: Duration) {
        self.disturbed = Some(now);
    }

    /// A proven node was withdrawn.
    pub(super) fn count(&mut self, now: Duration) {
        self.recent.push_back(now);
    }

    /// True if a goodbye that is heard now is doubted, because our own link was disturbed.
    pub(super) fn doubts(&self, now: Duration) -> bool {
        self.disturbed.is_some_and(|at| now < at + DISTURBED_FOR)
    }

    /// True if [`MASS_MIN`] nodes at least, and half of all `nodes`, were withdrawn together.
    pub(super) fn is_mass(&mut self, nodes: usize, now: Duration) -> bool {
        while self.recent.front().is_some_and(|at| !belongs_to(*at, now))
            || self.recent.len() > NODES_MAX
        {
            self.recent.pop_front();
        }
        self.recent.len() >= MASS_MIN && self.recent.len() * 2 >= nodes
    }
}

/// True if a goodbye heard at `at` belongs to a mass removal, or a disturbance, that is noticed now.
pub(super) fn belongs_to(at: Duration, now: Duration) -> bool {
    at + TOGETHER >= now
}

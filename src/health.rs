//! What is known of a node's health: the states, the outcomes that move them, and the thresholds.

use std::time::Duration;

/// The state of a node: what the balancer would do with the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Proposed, not yet proved by a probe. Not picked. Left by the first good probe.
    Starting,
    /// Answers. Picked. Left by `fall` failed probes, a refused connection or a draining answer.
    Up,
    /// In doubt: unanswered requests and quick probes failed. Picked only when no node is up.
    Suspect,
    /// Took itself out by refusing a connection or by failing requests; comes back by a good probe.
    Ejected,
    /// Answers nothing. Not picked. Left by `rise` good probes.
    Down,
    /// Says itself that it is about to stop. Not picked while others can serve.
    Draining,
}

impl Health {
    /// The word the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::Down => "down",
            Self::Draining => "draining",
        }
    }
}

/// How many results in a row change a node's health, and how often it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Failed probes in a row that take a node down. Default 2.
    pub fall: u32,
    /// Good probes in a row that bring a node back (a fresh node needs one). Default 2.
    pub rise: u32,
    /// Between two probes of a settled node, jittered by a tenth. Default 1 s.
    pub interval: Duration,
    /// Between two probes while the last one failed or the node is coming back. Default 500 ms.
    pub interval_in_doubt: Duration,
    /// How long a picluster node may take to answer a probe. Default 250 ms.
    pub timeout: Duration,
    /// How long a foreign device may take to answer a probe. Default 2 s.
    pub timeout_foreign: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            fall: 2,
            rise: 2,
            interval: Duration::from_secs(1),
            interval_in_doubt: Duration::from_millis(500),
            timeout: Duration::from_millis(250),
            timeout_foreign: Duration::from_secs(2),
        }
    }
}

//! A request whose head has come: its facts, and its memory from attempt to attempt.

use std::time::{Duration, Instant};

use crate::cluster::pool::Destination;
use crate::cluster::retry::{Failure, Reach, Safety};
use crate::http1::Version;
use crate::proxy::access::LogEntry;
use crate::proxy::affinity::Affinity;
use crate::proxy::headers::Wishes;
use crate::proxy::pinned::Pinned;
use crate::proxy::shared::Counted;
use crate::proxy::upload::Upload;

/// The facts of a request. Its head and body stay in the downstream's buffer.
pub(super) struct Request {
    pub(super) safety: Safety,
    /// Its answer has no body.
    pub(super) is_head: bool,
    pub(super) version: Version,
    /// The client lets the connection persist.
    pub(super) keep_alive: bool,
    pub(super) switch: SwitchOffer,
    /// It asks for the path of a route that is cut off, without the slash behind it, and its method is
    /// one that may be asked elsewhere.
    pub(super) lacks_slash: bool,
    pub(super) timing: Timing,
    /// The reach of the present attempt, up to [`Reach::Sent`]. The exchange clears it before each
    /// attempt; the relay sets it.
    pub(super) reach: Reach,
    pub(super) upload: Upload,
    /// Its destination; `None` if no route takes it.
    pub(super) to: Option<Destination>,
    /// The parts of it that decide its node there, if any do. Apart, because few requests have them and
    /// all are kept small.
    pub(super) affinity: Option<Box<Affinity>>,
    /// The same in all attempts.
    pub(super) id: RequestId,
    /// Marks the rendering of its head in the worker's scratch.
    pub(super) ticket: u32,
    /// The wishes of the node that it was rendered for; `None` if it has to be rendered for each.
    pub(super) rendered_for: Option<Wishes>,
    /// When its whole head was there.
    pub(super) came: Instant,
    /// Its line in the access log, as far as it is known.
    pub(super) entry: LogEntry,
}

/// The offer of a request to switch protocols (RFC 9110 section 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SwitchOffer {
    /// There is none, or it cannot go on.
    None,
    /// It goes on once the whole body is held.
    AwaitsBody,
    /// It goes on.
    Stands,
}

/// A number of 128 bits. As bytes, because the number would be aligned to 16 of them, and all that
/// holds it with it.
pub(super) type RequestId = [u8; 16];

/// The share of its node in the time from a request's head to the head of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    /// It is all its node's: the body came with the head, a node was free at once, and no attempt has
    /// failed.
    NodeAlone,
    /// A part is not its node's: the client's body, a wait for a node, or an attempt that failed.
    Mixed,
}

/// The memory of a request from attempt to attempt.
#[derive(Default)]
pub(super) struct RetryState<'a> {
    /// The epochs that were tried in this round.
    pub(super) tried: Vec<u64>,
    /// Attempts that cost a try.
    pub(super) count: u32,
    /// The epochs where an attempt died after bytes had been written.
    pub(super) died: Vec<u64>,
    /// Passes over all nodes so far.
    pub(super) rounds: u32,
    /// When a wait for a usable node ends, since the process started; set by the first wait.
    pub(super) hold_until: Option<Duration>,
    /// It waits for a usable node, or has until just now.
    pub(super) waits: bool,
    /// The failure of the last attempt.
    pub(super) last: Option<Failure>,
    /// The connection that the client has for itself; empty while a request runs on it.
    pub(super) pinned: Option<Box<Pinned>>,
    /// Counts this request as a replay, from its first one to its end.
    pub(super) replay: Option<Counted<'a>>,
}

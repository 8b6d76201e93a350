//! The facts of one request, collected from the first bytes of its head to its end.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::log::LogBuffer;
use super::record::Record;
use crate::http1::Refusal;
use crate::proxy::headers::Forwarding;

/// The longest target that is written; a longer one is cut off and marked.
const TARGET_BYTES_MAX: usize = 1024;

/// The longest method and the longest id that are written; they have no reason to be long.
const WORD_BYTES_MAX: usize = 128;

/// The cause of a request whose client went away, or took nothing for too long.
pub(crate) const CLIENT_LEFT: &str = "client_left";

/// The cause of a request that did not end itself: its connection ended with the balancer.
const STOPPED: &str = "stopped";

/// A request's line as it comes to be. It is written when it ends, or when it is dropped, so that
/// there is exactly one, however the request ends. Empty, and of no cost, between requests and
/// where there is no access log.
#[derive(Default)]
pub(crate) struct LogEntry(Option<Box<Facts>>);

struct Facts {
    buffer: Rc<LogBuffer>,
    client: Box<str>,
    method: Option<Box<str>>,
    target: Option<Box<str>>,
    request_id: Option<Box<str>>,
    came: Instant,
    /// When the present phase began.
    phase_began: Instant,
    node: Option<Box<str>>,
    attempts: u32,
    wait: Option<Duration>,
    connect: Option<Duration>,
    first_byte: Option<Duration>,
    status: Option<u16>,
    bytes: Cell<u64>,
    cause: Option<&'static str>,
    /// The rule of HTTP that the request or its answer breaks.
    refusal: Option<Box<str>>,
}

impl LogEntry {
    /// The first bytes of a head are there. Does nothing if the entry has begun, or nothing is logged.
    pub(crate) fn begin(&mut self, buffer: Option<&Rc<LogBuffer>>, from: &Forwarding) {
        let Some(buffer) = buffer.filter(|_| self.0.is_none()) else { return };
        let now = Instant::now();
        self.0 = Some(Box::new(Facts {
            buffer: Rc::clone(buffer),
            client: from.client().into(),
            method: None,
            target: None,
            request_id: None,
            came: now,
            phase_began: now,
            node: None,
            attempts: 0,
            wait: None,
            connect: None,
            first_byte: None,
            status: None,
            bytes: Cell::new(0),
            cause: Some(STOPPED),
            refusal: None,
        }));
    }

    /// The head is whole, and asks for this target.
    pub(crate) fn asks(&mut self, method: &str, target: &str) {
        let Some(facts) = &mut self.0 else { return };
        facts.method = Some(shortened(method, WORD_BYTES_MAX).into());
        facts.target = Some(shortened(target, TARGET_BYTES_MAX).into());
    }

    /// A trusted proxy may name another client.
    pub(crate) fn comes_from(&mut self, client: impl FnOnce() -> Option<IpAddr>) {
        let Some(facts) = &mut self.0 else { return };
        if let Some(client) = client() {
            facts.client = client.to_canonical().to_string().into();
        }
    }

    /// The request goes to nodes, and has this id there.
    pub(crate) fn goes_as(&mut self, request_id: impl FnOnce() -> String) {
        let Some(facts) = &mut self.0 else { return };
        facts.request_id = Some(shortened(&request_id(), WORD_BYTES_MAX).into());
    }

    /// A node was picked: the wait for one is over, connecting begins.
    pub(crate) fn picked(&mut self) {
        let Some(facts) = &mut self.0 else { return };
        facts.phase_began = Instant::now();
        facts.wait = Some(facts.phase_began.saturating_duration_since(facts.came));
        (facts.connect, facts.first_byte, facts.status) = (None, None, None);
    }

    /// This node is tried, or was tried without success.
    pub(crate) fn tries(&mut self, node: &str) {
        let Some(facts) = &mut self.0 else { return };
        facts.attempts += 1;
        facts.node = Some(node.into());
    }

    /// There is a connection to this node.
    pub(crate) fn connected(&mut self, node: &str) {
        self.tries(node);
        let Some(facts) = &mut self.0 else { return };
        facts.connect = Some(facts.lap());
    }

    /// The head of a node's answer has come.
    pub(crate) fn answered(&mut self, status: u16) {
        let Some(facts) = &mut self.0 else { return };
        facts.first_byte = Some(facts.lap());
        facts.status = Some(status);
    }

    /// The balancer answers with this status itself.
    pub(crate) fn answered_for(&mut self, status: u16) {
        let Some(facts) = &mut self.0 else { return };
        facts.status = Some(status);
    }

    /// This number of bytes of an answer's body went down.
    pub(crate) fn sent(&self, bytes: usize) {
        let Some(facts) = &self.0 else { return };
        facts.bytes.set(facts.bytes.get() + bytes as u64);
    }

    /// The request, or the answer of a node, breaks a rule of HTTP.
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        let Some(facts) = &mut self.0 else { return };
        facts.refusal = Some(refusal.to_string().into());
    }

    /// The request ended: with a node's whole answer, or for this cause. Does nothing if it has ended
    /// before.
    pub(crate) fn end(&mut self, cause: impl Into<Option<&'static str>>) {
        let Some(mut facts) = self.0.take() else { return };
        facts.cause = cause.into();
    }
}

impl Facts {
    /// Ends the phase and begins the next one. Returns the time that it took.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.saturating_duration_since(std::mem::replace(&mut self.phase_began, now))
    }
}

impl Drop for Facts {
    fn drop(&mut self) {
        self.buffer.write(&Record {
            time: &humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            client: &self.client,
            method: self.method.as_deref(),
            target: self.target.as_deref(),
            status: self.status,
            bytes: self.bytes.get(),
            node: self.node.as_deref(),
            attempts: self.attempts,
            wait_ms: self.wait.map(millis),
            connect_ms: self.connect.map(millis),
            first_byte_ms: self.first_byte.map(millis),
            total_ms: millis(self.came.elapsed()),
            cause: self.cause,
            refusal: self.refusal.as_deref(),
            request_id: self.request_id.as_deref(),
        });
    }
}

/// Milliseconds to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The text, or its beginning with three dots.
fn shortened(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return text.into();
    }
    format!("{}...", &text[..text.floor_char_boundary(bytes_max)]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters_and_marked() {
        assert_eq!(shortened("abcd", 4), "abcd");
        assert_eq!(shortened("abcde", 4), "abcd...");
        assert_eq!(shortened("abc\u{e4}", 4), "abc...");
    }

    #[test]
    fn an_entry_is_no_larger_than_a_pointer() {
        assert_eq!(size_of::<LogEntry>(), size_of::<usize>());
    }
}

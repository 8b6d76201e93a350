//! The events that wait until the table's owner fetches them.
//!
//! The list is bounded, and a flood of odd advertisements becomes a few events. It decides nothing
//! about nodes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::event::{Event, EventKind};

/// The most events that wait. A reader that fell behind misses the newest.
const WAITING_MAX: usize = 512;

/// The most events about candidates that are recorded in one second: a flood of candidates must not
/// become a flood of lines.
const CANDIDATE_EVENTS_PER_SECOND: u32 = 4;

/// The candidates that are remembered, so that each of them gets one event of a kind.
const CANDIDATES_REMEMBERED: usize = 256;

/// The node that an event is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// The number that the node drew when it proved itself. The event is shown under the name that
    /// the node of this number has by the time the event is fetched.
    pub(super) born: u64,
    /// The name the node has now. It is used if the node is gone by the time the event is fetched.
    pub(super) name: &'a str,
}

/// The events that wait to be fetched, oldest first.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    /// Each event with the number of its node; `None` for a candidate.
    waiting: VecDeque<(Option<u64>, Event)>,
    /// The kinds and labels of the last events about candidates.
    remembered: VecDeque<(EventKind, String)>,
    /// The present second, and the events about candidates that were recorded in it.
    second: (u64, u32),
}

impl EventLog {
    /// Records an event about a node.
    pub(super) fn record(
        &mut self,
        kind: EventKind,
        subject: Subject<'_>,
        endpoint: Option<SocketAddr>,
        detail: impl Into<String>,
    ) {
        let (node, detail) = (subject.name.to_owned(), detail.into());
        self.push(Some(subject.born), Event { kind, node, endpoint, detail });
    }

    /// Records that a candidate was not taken: once for each label, and a few times a second at most.
    pub(super) fn record_refused(&mut self, label: String, detail: &str, now: Duration) {
        let detail = detail.to_owned();
        self.record_once(
            Event { kind: EventKind::Refused, node: label, endpoint: None, detail },
            now,
        );
    }

    /// Records that a candidate does not answer as it should, within the same bounds.
    pub(super) fn record_faulty(
        &mut self,
        label: String,
        at: SocketAddr,
        why: &str,
        now: Duration,
    ) {
        let detail = format!("{why}; check the program and the port that are advertised");
        self.record_once(
            Event { kind: EventKind::Faulty, node: label, endpoint: Some(at), detail },
            now,
        );
    }

    fn record_once(&mut self, event: Event, now: Duration) {
        if self.second.0 != now.as_secs() {
            self.second = (now.as_secs(), 0);
        }
        let key = (event.kind, event.node.clone());
        if self.second.1 >= CANDIDATE_EVENTS_PER_SECOND || self.remembered.contains(&key) {
            return;
        }
        self.second.1 += 1;
        self.push(None, event);
        if self.remembered.len() >= CANDIDATES_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(key);
    }

    fn push(&mut self, born: Option<u64>, event: Event) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((born, event));
        }
    }

    /// True if an event about a node waits, so that [`Self::take`] needs the names of the nodes.
    pub(super) fn needs_names(&self) -> bool {
        self.waiting.iter().any(|(born, _)| born.is_some())
    }

    /// Takes the events that wait. `names` holds the present name of each node by its number.
    pub(super) fn take(&mut self, names: &BTreeMap<u64, &str>) -> Vec<Event> {
        let named = |(born, mut event): (Option<u64>, Event)| {
            if let Some(name) = born.and_then(|born| names.get(&born)) {
                (*name).clone_into(&mut event.node);
            }
            event
        };
        self.waiting.drain(..).map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_becomes_a_few_lines() {
        let mut log = EventLog::default();
        for n in 0..5000_u64 {
            log.record_refused(format!("rogue-{n}"), "too many", Duration::from_millis(n));
            log.record_refused("again".into(), "too many", Duration::from_millis(n));
        }
        let events = log.take(&BTreeMap::new());
        assert!(events.len() <= 20, "{}", events.len());
        assert_eq!(events.iter().filter(|event| event.node == "again").count(), 1);
    }
}

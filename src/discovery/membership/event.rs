//! What the table has to say: joins, leaves and everything odd, for the log and the page.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::machine::Machine;

/// The most events that wait to be fetched; a reader that fell behind misses the newest.
const WAITING_MAX: usize = 512;

/// The most refused candidates told of in a second, and how many are remembered as told: a flood
/// of them must not become a flood of lines.
const REFUSALS_PER_SECOND: u32 = 4;
const REFUSALS_REMEMBERED: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A node has proved itself.
    Joined,
    /// A node said goodbye and is gone.
    Left,
    /// A node no longer answers, without a goodbye.
    Lost,
    /// A node answers again.
    Back,
    /// A node was started again.
    Restarted,
    /// A node says that it is about to stop.
    Draining,
    /// A node refused a connection, or did not stand its trial, or answers with errors alone.
    Ejected(Ejection),
    /// A node leaves requests and quick probes unanswered.
    Suspected,
    /// A node is used at another address now.
    Moved,
    /// Two machines hold one id; the second was given another.
    Cloned,
    /// A node is shown under another name than it says.
    Renamed,
    /// A goodbye was heard of a node that goes on answering.
    FalseGoodbye,
    /// A node was absent and silent for so long that it was taken off the list.
    Forgotten,
    /// A node's board has too little power, or is throttled.
    BoardTrouble,
    /// That is over.
    BoardWell,
    /// A candidate was not taken.
    Refused,
    /// What is advertised is not there, or is somebody else.
    Faulty,
}

/// Why a node was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ejection {
    /// It refused a connection.
    Refused,
    /// Its trial died.
    Trial,
    /// It answered requests in a row with a 5xx.
    Errors,
    /// It broke off requests in a row.
    BrokeOff,
}

impl Ejection {
    /// The word for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "connect_refused",
            Self::Trial => "trial_died",
            Self::Errors => "errors",
            Self::BrokeOff => "broke_off",
        }
    }
}

impl EventKind {
    /// A short lowercase fragment, for the log and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "node joined",
            Self::Left => "node left: goodbye",
            Self::Lost => "node lost",
            Self::Back => "node is back",
            Self::Restarted => "node restarted",
            Self::Draining => "node is draining",
            Self::Ejected(_) => "node ejected",
            Self::Suspected => "node in doubt",
            Self::Moved => "node has a new address",
            Self::Cloned => "two machines have one id",
            Self::Renamed => "node shown under another name",
            Self::FalseGoodbye => "goodbye of a node that still answers",
            Self::Forgotten => "node forgotten",
            Self::BoardTrouble => "node's board is in trouble",
            Self::BoardWell => "node's board is well again",
            Self::Refused => "candidate not taken",
            Self::Faulty => "advertised, but not usable",
        }
    }

    /// The same beside the node's name, for people who watch the page.
    pub fn beside_the_name(self) -> &'static str {
        match self {
            Self::Joined => "joined (mDNS)",
            _ => self.as_str().strip_prefix("node ").unwrap_or(self.as_str()),
        }
    }

    /// Whether somebody should do something about it.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::Lost | Self::Cloned | Self::Renamed | Self::FalseGoodbye | Self::BoardTrouble
        )
    }

    /// Whether it is of interest only to who looks for a fault.
    pub fn is_detail(self) -> bool {
        self == Self::Refused
    }
}

/// Something that happened to a node or a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub what: EventKind,
    /// The node's name, as the view shows it; a candidate's instance label, made printable.
    pub node: String,
    /// Where it is, if that is known.
    pub endpoint: Option<SocketAddr>,
    /// Why, and the fix where there is one; may be empty.
    pub detail: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what.as_str(), self.node)?;
        if let Some(endpoint) = self.endpoint {
            write!(f, " on {endpoint}")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// What the parts of the table share: the numbers they draw, the events they tell, and whether
/// the view has to be made anew.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    drawn: u64,
    /// Something that routes or is shown has changed since the last view.
    pub(super) changed: bool,
    /// With the number of the node each is about, by which it gets the name that people see.
    waiting: VecDeque<(Option<u64>, Event)>,
    told: VecDeque<(EventKind, String)>,
    second: (u64, u32),
}

impl EventLog {
    /// A number never drawn before.
    pub(super) fn number(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// Tells of a node: under the name it has by the time the event is fetched, or had last if it
    /// is gone by then.
    pub(super) fn tell(
        &mut self,
        what: EventKind,
        machine: &Machine,
        endpoint: Option<SocketAddr>,
        detail: impl Into<String>,
    ) {
        let (node, detail) = (machine.known_as().to_owned(), detail.into());
        self.wait(Some(machine.born), Event { what, node, endpoint, detail });
    }

    fn wait(&mut self, born: Option<u64>, event: Event) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((born, event));
        }
    }

    /// Tells of a candidate that was not taken: once for each label, and a few a second at most.
    pub(super) fn refuse(&mut self, label: String, detail: &str, now: Duration) {
        self.tell_once(EventKind::Refused, label, None, detail.to_owned(), now);
    }

    /// Tells of a candidate that does not answer as it should, within the same bounds.
    pub(super) fn fault(&mut self, label: String, at: SocketAddr, why: &str, now: Duration) {
        let detail = format!("{why}; check the program and the port that are advertised");
        self.tell_once(EventKind::Faulty, label, Some(at), detail, now);
    }

    fn tell_once(
        &mut self,
        what: EventKind,
        node: String,
        endpoint: Option<SocketAddr>,
        detail: String,
        now: Duration,
    ) {
        if self.second.0 != now.as_secs() {
            self.second = (now.as_secs(), 0);
        }
        let told = (what, node.clone());
        if self.second.1 >= REFUSALS_PER_SECOND || self.told.contains(&told) {
            return;
        }
        self.second.1 += 1;
        self.wait(None, Event { what, node, endpoint, detail });
        if self.told.len() >= REFUSALS_REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back(told);
    }

    /// Whether an event waits that is about a node.
    pub(super) fn has_news(&self) -> bool {
        self.waiting.iter().any(|(born, _)| born.is_some())
    }

    /// The events that wait, each under its node's name among these.
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
    fn an_event_reads_as_a_line() {
        let endpoint = Some(SocketAddr::from(([10, 0, 0, 5], 8080)));
        let event =
            Event { what: EventKind::Joined, node: "ada".into(), endpoint, detail: "mdns".into() };
        assert_eq!(event.to_string(), "node joined: ada on 10.0.0.5:8080 (mdns)");
    }

    #[test]
    fn a_flood_of_refusals_becomes_a_few_lines() {
        let mut log = EventLog::default();
        for n in 0..5000_u64 {
            log.refuse(format!("rogue-{n}"), "too many", Duration::from_millis(n));
            log.refuse("again".into(), "too many", Duration::from_millis(n));
        }
        let told = log.take(&BTreeMap::new());
        assert!(told.len() <= 20, "{}", told.len());
        assert_eq!(told.iter().filter(|event| event.node == "again").count(), 1);
    }
}

//! The events of the table: joins, leaves and everything odd, as the log, the metrics and the page
//! name them. The list in which they wait is in `event_log`.

use std::fmt;
use std::net::SocketAddr;

/// The kinds of events. The text of each is the message of its log event and part of the API.
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
    /// A node reports that it is about to stop.
    Draining,
    /// A node refused a connection, failed its trial, or answers with nothing but errors.
    Ejected(Ejection),
    /// A node leaves requests and quick probes unanswered.
    Suspected,
    /// A node is used at another address now.
    Moved,
    /// Two machines hold one id; the second was given another.
    Cloned,
    /// A node is shown under another name than the one it gives itself.
    Renamed,
    /// A goodbye was heard of a node that goes on answering.
    FalseGoodbye,
    /// A node was absent and silent for so long that it was taken off the list.
    Forgotten,
    /// A node's board has too little power, or is throttled.
    BoardTrouble,
    /// The trouble of a node's board is over.
    BoardWell,
    /// A candidate was not taken.
    Refused,
    /// An advertised address does not answer, or another node answers there.
    Faulty,
}

/// The cause for which a node was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ejection {
    /// It refused a connection.
    Refused,
    /// The request of its trial died.
    Trial,
    /// It answered too many requests in a row with a 5xx.
    Errors,
    /// It broke off too many requests in a row.
    BrokeOff,
}

impl Ejection {
    /// The value of the metric label.
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

    /// True if a person should do something about it: it is logged as a warning.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::Lost | Self::Cloned | Self::Renamed | Self::FalseGoodbye | Self::BoardTrouble
        )
    }

    /// True if it interests only a person who looks for a fault: it is logged for debugging and stays
    /// out of the journal.
    pub fn is_detail(self) -> bool {
        self == Self::Refused
    }
}

/// Something that happened to a node or a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The kind of the event.
    pub kind: EventKind,
    /// The node's name, as the view shows it; a candidate's instance label, made printable.
    pub node: String,
    /// The address of the node, if it is known.
    pub endpoint: Option<SocketAddr>,
    /// The reason, and the fix where there is one; may be empty.
    pub detail: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.node)?;
        if let Some(endpoint) = self.endpoint {
            write!(f, " on {endpoint}")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_a_line() {
        let endpoint = Some(SocketAddr::from(([10, 0, 0, 5], 8080)));
        let event =
            Event { kind: EventKind::Joined, node: "ada".into(), endpoint, detail: "mdns".into() };
        assert_eq!(event.to_string(), "node joined: ada on 10.0.0.5:8080 (mdns)");
    }
}

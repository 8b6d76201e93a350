//! The words between the table and the prober: what to ask, what came back, and what that says.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::health::Outcome;
use crate::cluster::node::{Boot, NodeId, is_node_name, printable};
use crate::cluster::pi::Pi;

/// Ties an answer to its question. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeTicket(pub(super) u64);

/// One question to start now.
#[derive(Clone, Debug)]
pub struct Probe {
    /// To be given back with the result.
    pub ticket: ProbeTicket,
    /// Where to ask: the address with the port that answers for health.
    pub endpoint: SocketAddr,
    /// Where requests would go, if that is elsewhere and it is in doubt whether they get there: it has to
    /// take a connection.
    pub also: Option<SocketAddr>,
    /// What to GET.
    pub path: String,
    /// A foreign device: the status alone counts, and the result is a [`ProbeResult::Status`].
    pub foreign: bool,
    /// From the start of the probe, connecting included, to the whole answer.
    pub timeout: Duration,
    /// Do not use a kept connection: the last one failed, or there must be none (foreign devices).
    pub fresh_connection: bool,
}

impl Probe {
    /// A question to a node's own application. The table does not hear of it.
    pub(in crate::discovery) fn of_neighbour(
        at: SocketAddr,
        path: &str,
        timeout: Duration,
    ) -> Self {
        let (ticket, path) = (ProbeTicket(0), path.to_owned());
        Self {
            ticket,
            endpoint: at,
            also: None,
            path,
            foreign: true,
            timeout,
            fresh_connection: true,
        }
    }
}

/// What a picluster node says of itself in its health answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It serves.
    Up,
    /// It is about to stop.
    Draining,
    /// It runs, the application behind it does not.
    AppDown {
        /// Why, in its own words. Empty if it says no more.
        why: String,
        /// The application does answer requests, if with errors.
        answers: bool,
    },
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeResult {
    /// A picluster health document, whatever its status was.
    Node {
        /// Who answered.
        id: NodeId,
        /// What it is called.
        name: String,
        /// Its present start.
        boot: Boot,
        /// How it is.
        state: NodeState,
        /// How its board is, if it says so; within bounds.
        pi: Option<Pi>,
    },
    /// A picluster node that belongs to this other cluster now.
    OtherCluster(String),
    /// An HTTP answer of this status that is no picluster health document.
    Status(u16),
    /// The connection was refused.
    Refused,
    /// It is well, but takes no connection where requests would go.
    Deaf(SocketAddr),
    /// No route, or another error of the network, in its words.
    Unreachable(String),
    /// No whole answer within the probe's timeout.
    TimedOut,
    /// The connection was closed or reset before the whole answer (a kept one is no news: the
    /// prober asks again over a fresh one before it says so).
    Closed,
    /// What came was not HTTP, or too long; in a few words.
    NotHttp(String),
}

impl ProbeResult {
    /// The word by which results are counted.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Node { state: NodeState::Up, .. } => "up",
            Self::Node { state: NodeState::Draining, .. } => "draining",
            Self::Node { state: NodeState::AppDown { .. }, .. } => "app_down",
            Self::OtherCluster(_) => "other_cluster",
            Self::Status(..500) => "http",
            Self::Status(_) => "http_5xx",
            Self::Refused => "connect_refused",
            Self::Deaf(_) => "app_refused",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "answer_timeout",
            Self::Closed => "closed",
            Self::NotHttp(_) => "not_http",
        }
    }

    /// What it says of the application of this node.
    pub(in crate::discovery) fn of_neighbour(
        &self,
        node: &NodeId,
        at: SocketAddr,
    ) -> Result<(), Unwell> {
        let Verdict { outcome, last_resort, why, .. } = judge(self, at, node, true);
        if outcome == Outcome::Healthy { Ok(()) } else { Err(Unwell { why, answers: last_resort }) }
    }
}

/// Why a node's application is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwell {
    /// In a few words.
    pub why: String,
    /// It does answer requests, if with errors.
    pub answers: bool,
}

/// Who a result proves to be there.
#[derive(Debug, PartialEq)]
pub(super) struct Proof {
    /// `None` for a foreign device.
    pub(super) boot: Option<Boot>,
    /// The name it goes by; `None` for a foreign device.
    pub(super) name: Option<String>,
    /// How its board is, if it says so.
    pub(super) pi: Option<Pi>,
}

/// A result, judged.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// Present if the one that was asked for has answered.
    pub(super) proof: Option<Proof>,
    /// Somebody else answered.
    pub(super) stranger: bool,
    /// Requests would be answered, if with errors or not for long.
    pub(super) last_resort: bool,
    /// A sentence for people, without its end.
    pub(super) why: String,
}

/// Judges what came from `asked`, where `expected` was looked for.
pub(super) fn judge(
    result: &ProbeResult,
    asked: SocketAddr,
    expected: &NodeId,
    foreign: bool,
) -> Verdict {
    let failed =
        |outcome, why| Verdict { outcome, proof: None, stranger: false, last_resort: false, why };
    match result {
        ProbeResult::Node { .. } if foreign => judge_status(200, asked, foreign),
        ProbeResult::Node { id, .. } if id != expected => Verdict {
            stranger: true,
            ..failed(Outcome::Refused, format!("another node ({id}) answers on {asked}"))
        },
        ProbeResult::Node { name, boot, state, pi, .. } => {
            let down = "says that its application is down";
            let (outcome, why) = match state {
                NodeState::Up => (Outcome::Healthy, "answered the last probe".to_owned()),
                NodeState::Draining => (Outcome::Draining, "says that it is draining".to_owned()),
                NodeState::AppDown { why, .. } if why.is_empty() => {
                    (Outcome::AppDown, down.to_owned())
                }
                NodeState::AppDown { why, .. } => {
                    (Outcome::AppDown, format!("{down} ({})", words(why)))
                }
            };
            let legal = is_node_name(name);
            let name = if legal { name.clone() } else { printable(name, 63) };
            let name = if name.is_empty() { expected.to_string() } else { name };
            let proof = Some(Proof { boot: Some(*boot), name: Some(name), pi: pi.clone() });
            let last_resort = match state {
                NodeState::Up | NodeState::Draining => true,
                NodeState::AppDown { answers, .. } => *answers,
            };
            Verdict { outcome, proof, stranger: false, last_resort, why }
        }
        ProbeResult::OtherCluster(_) if foreign => judge_status(200, asked, foreign),
        ProbeResult::OtherCluster(cluster) => Verdict {
            stranger: true,
            ..failed(Outcome::Refused, format!("{asked} is in the cluster {} now", words(cluster)))
        },
        ProbeResult::Status(status) => judge_status(*status, asked, foreign),
        ProbeResult::Refused => failed(Outcome::Refused, format!("connection refused on {asked}")),
        ProbeResult::Deaf(at) => {
            failed(Outcome::Refused, format!("no connection to its application on {at}"))
        }
        ProbeResult::Unreachable(error) => {
            let error = words(error);
            failed(Outcome::Silent, format!("{asked} cannot be reached ({error})"))
        }
        ProbeResult::TimedOut => failed(Outcome::Silent, format!("no answer in time from {asked}")),
        ProbeResult::Closed => {
            failed(Outcome::Broken, format!("{asked} closed the connection without an answer"))
        }
        ProbeResult::NotHttp(error) => {
            failed(Outcome::Broken, format!("{asked} does not speak HTTP ({})", words(error)))
        }
    }
}

/// A status alone proves a foreign device, which has no other proof. It proves no picluster node:
/// the address may belong to any other machine by now.
fn judge_status(status: u16, asked: SocketAddr, foreign: bool) -> Verdict {
    let (outcome, why) = match (foreign, status) {
        (true, ..500) => (Outcome::Healthy, "answered the last probe".to_owned()),
        (true, _) => (Outcome::Failing, format!("answered with status {status} on {asked}")),
        (false, _) => (Outcome::Broken, format!("{asked} answers, but not as a picluster node")),
    };
    let proof = foreign.then_some(Proof { boot: None, name: None, pi: None });
    Verdict { outcome, proof, stranger: false, last_resort: foreign, why }
}

/// The most that is shown of another's words: a reason with its remedy fits.
const WORDS_CHARS_MAX: usize = 160;

/// Another's words, fit for the log and the page.
fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> NodeId {
        NodeId::new(text).unwrap()
    }

    fn app_down(why: &str) -> NodeState {
        NodeState::AppDown { why: why.to_owned(), answers: false }
    }

    fn node(name: &str, state: NodeState) -> ProbeResult {
        ProbeResult::Node { id: id("a"), name: name.to_owned(), boot: Boot(1), state, pi: None }
    }

    #[test]
    fn each_result_is_judged_for_a_node_and_for_a_foreign_device() {
        let refused = ProbeResult::Refused;
        let table = [
            (node("ada", NodeState::Up), "a", false, Outcome::Healthy, true),
            (node("ada", NodeState::Draining), "a", false, Outcome::Draining, true),
            (node("ada", app_down("exit\n")), "a", false, Outcome::AppDown, true),
            (node("ada", NodeState::Up), "b", false, Outcome::Refused, false),
            (ProbeResult::Status(200), "a", false, Outcome::Broken, false),
            (ProbeResult::Status(503), "a", false, Outcome::Broken, false),
            (ProbeResult::Status(404), "a", true, Outcome::Healthy, true),
            (ProbeResult::Status(499), "a", true, Outcome::Healthy, true),
            (ProbeResult::Status(500), "a", true, Outcome::Failing, true),
            (ProbeResult::OtherCluster("red".into()), "a", false, Outcome::Refused, false),
            (refused, "a", true, Outcome::Refused, false),
            (ProbeResult::Deaf(([10, 0, 0, 1], 3000).into()), "a", false, Outcome::Refused, false),
            (ProbeResult::TimedOut, "a", true, Outcome::Silent, false),
            (ProbeResult::Closed, "a", false, Outcome::Broken, false),
            (ProbeResult::NotHttp("\x1b[2J".into()), "a", false, Outcome::Broken, false),
        ];
        for (result, expected, foreign, outcome, proved) in table {
            let asked = SocketAddr::from(([10, 0, 0, 1], 80));
            let verdict = judge(&result, asked, &id(expected), foreign);
            assert_eq!((verdict.outcome, verdict.proof.is_some()), (outcome, proved), "{result:?}");
            assert!(!verdict.why.contains(char::is_control), "{}", verdict.why);
        }
    }

    #[test]
    fn a_name_that_does_not_fit_a_header_is_made_to_fit() {
        for (said, name) in [("ada", "ada"), ("a b\r\n", "a-b--"), ("", "a"), ("é", "-")] {
            let asked = SocketAddr::from(([10, 0, 0, 1], 80));
            let verdict = judge(&node(said, NodeState::Up), asked, &id("a"), false);
            assert_eq!(verdict.proof.unwrap().name.unwrap(), name);
        }
    }
}

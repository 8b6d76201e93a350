//! The verdict on the result of a probe: an outcome for the health of the address, and a proof of the
//! machine that is there.

use std::net::SocketAddr;

use super::probe::{NodeState, ProbeResult, Unwell};
use crate::cluster::health::Outcome;
use crate::cluster::node::{Boot, NodeId, is_node_name, printable};
use crate::cluster::pi::Pi;

/// The most characters that are shown of another program's words: a reason with its remedy fits.
const WORDS_CHARS_MAX: usize = 160;

/// The machine that a result proves to be there.
#[derive(Debug, PartialEq)]
pub(super) struct Proof {
    /// `None` for a foreign device.
    pub(super) boot: Option<Boot>,
    /// The name it gives itself; `None` for a foreign device.
    pub(super) name: Option<String>,
    /// The state of its board, if it reports one.
    pub(super) pi: Option<Pi>,
}

/// A result, judged.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// Present if the node that was asked for has answered.
    pub(super) proof: Option<Proof>,
    /// Another node answered.
    pub(super) stranger: bool,
    /// Requests would be answered, but with errors or not for long.
    pub(super) last_resort: bool,
    /// The reason, as a sentence for people without its end.
    pub(super) why: String,
}

/// Judges the result of a probe of `asked`, where the node `expected` was looked for.
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
            let (outcome, last_resort, why) = judge_state(state);
            let name = Some(legal_name(name, expected));
            let proof = Some(Proof { boot: Some(*boot), name, pi: pi.clone() });
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

/// The outcome of a state that a node reports, whether it is a last resort, and the reason.
fn judge_state(state: &NodeState) -> (Outcome, bool, String) {
    let down = "says that its application is down";
    match state {
        NodeState::Up => (Outcome::Healthy, true, "answered the last probe".to_owned()),
        NodeState::Draining => (Outcome::Draining, true, "says that it is draining".to_owned()),
        NodeState::AppDown { why, answers } if why.is_empty() => {
            (Outcome::AppDown, *answers, down.to_owned())
        }
        NodeState::AppDown { why, answers } => {
            (Outcome::AppDown, *answers, format!("{down} ({})", words(why)))
        }
    }
}

/// A node's name, made fit for a header; the id if nothing is left of it.
fn legal_name(name: &str, id: &NodeId) -> String {
    let name = if is_node_name(name) { name.to_owned() } else { printable(name, 63) };
    if name.is_empty() { id.to_string() } else { name }
}

/// Judges a status. It proves a foreign device, which has no other proof. It proves no picluster node:
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

/// Judges the result of a probe of the application of this node, by the rule for foreign devices.
pub(in crate::discovery) fn judge_application(
    result: &ProbeResult,
    asked: SocketAddr,
    node: &NodeId,
) -> Result<(), Unwell> {
    let Verdict { outcome, last_resort, why, .. } = judge(result, asked, node, true);
    if outcome == Outcome::Healthy { Ok(()) } else { Err(Unwell { why, answers: last_resort }) }
}

/// Another program's words, made fit for the log and the page.
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
        for (given, name) in [("ada", "ada"), ("a b\r\n", "a-b--"), ("", "a"), ("é", "-")] {
            let asked = SocketAddr::from(([10, 0, 0, 1], 80));
            let verdict = judge(&node(given, NodeState::Up), asked, &id("a"), false);
            assert_eq!(verdict.proof.unwrap().name.unwrap(), name);
        }
    }
}

//! The health document with which a picluster node answers a probe.

use crate::cluster::api::HealthView;
use crate::cluster::node::{Boot, NodeId};
use crate::cluster::protocol::ReportedState;
use crate::discovery::membership::{NodeState, ProbeResult};

/// Parses the body of an answer; `None` if it is no health document. `cluster` is our own: the
/// document of a node of another one has a result of its own.
pub(super) fn parse(body: &[u8], cluster: &str) -> Option<ProbeResult> {
    let document: HealthView<'_> = serde_json::from_slice(body).ok()?;
    let state = match ReportedState::parse(document.state.as_bytes())? {
        ReportedState::Up => NodeState::Up,
        ReportedState::Draining => NodeState::Draining,
        ReportedState::AppDown => NodeState::AppDown {
            why: document.why.unwrap_or_default().into_owned(),
            answers: document.answers,
        },
    };
    if let Some(other) = document.cluster.filter(|name| name != cluster) {
        return Some(ProbeResult::OtherCluster(other.into_owned()));
    }
    Some(ProbeResult::Node {
        id: NodeId::new(document.id)?,
        name: document.name.into_owned(),
        boot: Boot::parse(document.boot)?,
        state,
        pi: document.pi,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::node::DEFAULT_CLUSTER;
    use crate::cluster::pi::Pi;

    /// The answer of a node that is up.
    pub(in crate::discovery::probe) const BODY: &str = r#"{"schema":"picluster/1","id":"aaaaaaaaaaaaa","name":"ada","boot":"00000000000000ff","state":"up","nonce":null}"#;

    #[test]
    fn a_node_of_another_cluster_is_told_apart_if_it_says_so() {
        let result = |cluster: &str| {
            let body = BODY.replace("\"up\"", &format!("\"up\",\"cluster\":\"{cluster}\""));
            parse(body.as_bytes(), "blue")
        };
        assert_eq!(result("red"), Some(ProbeResult::OtherCluster("red".to_owned())));
        assert!(matches!(result("blue"), Some(ProbeResult::Node { .. })));
    }

    #[test]
    fn a_board_is_read_within_bounds_and_never_spoils_the_answer() {
        let result = |pi: &str| {
            let body = BODY.replace("\"up\"", &format!("\"up\",\"pi\":{pi}"));
            match parse(body.as_bytes(), DEFAULT_CLUSTER) {
                Some(ProbeResult::Node { pi, .. }) => pi,
                other => panic!("{pi}: {other:?}"),
            }
        };
        let pi =
            result(r#"{"model":"a\u0007b","throttled":true,"speed":0.5,"later":[1]}"#).unwrap();
        assert_eq!((pi.model.as_deref(), pi.quarters()), (Some("a-b"), 2));
        assert_eq!(result(r#"{"temperature_c":4e9,"speed":-1}"#), Some(Pi::default()));
        for odd in ["null", "7", r#"{"speed":"fast"}"#, "[[]]"] {
            assert_eq!(result(odd), None, "{odd}");
        }
    }

    #[test]
    fn only_a_whole_document_of_our_schema_is_one() {
        let node = parse(BODY.as_bytes(), DEFAULT_CLUSTER).expect("it is one");
        assert!(matches!(node, ProbeResult::Node { boot: Boot(255), state: NodeState::Up, .. }));
        for (from, to) in [
            ("picluster/1", "picluster/2"),
            ("aaaaaaaaaaaaa", "A!"),
            ("00000000000000ff", "ff"),
            (r#""up""#, r#""fine""#),
            (r#""name":"ada","#, ""),
        ] {
            assert!(parse(BODY.replace(from, to).as_bytes(), DEFAULT_CLUSTER).is_none(), "{to}");
        }
    }
}

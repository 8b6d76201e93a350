//! The words of the wire between a balancer, its nodes and the programs that ask them: the schema, the
//! paths, the header names, and the states that a node reports. A contract: a word here changes for
//! every machine of a cluster at once, or not at all.
//!
//! The documents made of these words are in [`api`](crate::cluster::api). The keys of an
//! advertisement's TXT record stand where they are read and written, in
//! [`node`](crate::cluster::node). Two rooms keep a literal of their own on purpose: `http1`, which
//! uses nothing of ours, and the derivation of ids in `os::identity`, which must survive a new schema.

/// The schema of every JSON document: the value of its first key, `schema`. A reader that does not
/// know it ignores the document.
pub const SCHEMA: &str = "picluster/1";

/// The first segment of every path between a balancer and a node. No application may have it, and no
/// client may ask for it through a balancer.
pub const PRIVATE_SEGMENT: &str = ".picluster";

/// The prefix of these paths.
pub const PRIVATE_PREFIX: &str = "/.picluster/";

/// The path at which a node answers for its health.
pub const HEALTH_PATH: &str = "/.picluster/health";

/// The path at which a node serves its metrics.
pub const METRICS_PATH: &str = "/.picluster/metrics";

/// The path at which a node begins to drain, by a POST from its own machine.
pub const DRAIN_PATH: &str = "/.picluster/drain";

/// The path at which a node ends a drain, by a POST from its own machine.
pub const UNDRAIN_PATH: &str = "/.picluster/undrain";

/// The path at which a balancer's admin port lists the nodes. Below it, `/ID/drain` and
/// `/ID/undrain` take a POST for one of them.
pub const NODES_PATH: &str = "/api/v1/nodes";

/// The path at which a balancer's admin port sends the same again with each change.
pub const EVENTS_PATH: &str = "/api/v1/events";

/// The path at which a balancer's admin port gives its counts.
pub const COUNTS_PATH: &str = "/api/v1/counts";

/// The prefix of every header that is between a balancer and a node, in lower case. A balancer drops
/// such a field of a client's request.
pub const HEADER_PREFIX: &str = "x-picluster-";

/// The header that names the node which gave an answer, in lower case.
pub const NODE_HEADER: &str = "x-picluster-node";

/// The same as a balancer writes it.
pub const NODE_HEADER_WRITTEN: &str = "X-Picluster-Node";

/// The header that marks a request with its balancer where no `Forwarded` goes on, in lower case. See
/// [`hop`](crate::cluster::hop).
pub const HOP_HEADER: &str = "x-picluster-hop";

/// The same as a balancer writes it.
pub const HOP_HEADER_WRITTEN: &str = "X-Picluster-Hop";

/// The header in which a node reports its state with an answer, in lower case. Its value is a word of
/// [`ReportedState`]; an answer without it comes from a node that is up.
pub const STATE_HEADER: &str = "x-picluster-state";

/// The state that a node reports of itself, in its health document and in [`STATE_HEADER`]. A
/// balancer's own judgement of a node is a [`Health`](crate::cluster::health::Health).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedState {
    /// It serves.
    Up,
    /// It finishes what it has and wants no new requests.
    Draining,
    /// It runs, but the application behind it does not work.
    AppDown,
}

impl ReportedState {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::AppDown => "app-down",
        }
    }

    /// Reads the word; `None` if it is another, for example one of a later version.
    pub fn parse(word: &[u8]) -> Option<Self> {
        match word {
            b"up" => Some(Self::Up),
            b"draining" => Some(Self::Draining),
            b"app-down" => Some(Self::AppDown),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_between_balancer_and_node_is_private() {
        assert_eq!(PRIVATE_PREFIX, format!("/{PRIVATE_SEGMENT}/"));
        for path in [HEALTH_PATH, METRICS_PATH, DRAIN_PATH, UNDRAIN_PATH] {
            assert!(path.starts_with(PRIVATE_PREFIX), "{path}");
        }
    }

    #[test]
    fn every_header_between_balancer_and_node_has_the_prefix() {
        for name in [NODE_HEADER, STATE_HEADER, HOP_HEADER] {
            assert!(name.starts_with(HEADER_PREFIX), "{name}");
        }
        assert!(NODE_HEADER_WRITTEN.eq_ignore_ascii_case(NODE_HEADER));
        assert!(HOP_HEADER_WRITTEN.eq_ignore_ascii_case(HOP_HEADER));
    }

    #[test]
    fn a_reported_state_is_read_as_it_is_written() {
        for (state, word) in [
            (ReportedState::Up, "up"),
            (ReportedState::Draining, "draining"),
            (ReportedState::AppDown, "app-down"),
        ] {
            assert_eq!(state.as_str(), word);
            assert_eq!(ReportedState::parse(word.as_bytes()), Some(state));
        }
        for other in ["", "Up", "up ", "app_down", "fine"] {
            assert_eq!(ReportedState::parse(other.as_bytes()), None, "{other}");
        }
    }
}

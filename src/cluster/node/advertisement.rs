//! The advertisement of a node: the keys of its TXT record, read and written. The data of one
//! record only: the addresses beside it come with a [`Sighting`](super::Sighting).

use std::sync::Arc;

use super::id::{Boot, NodeId};
use super::offer::Offer;
use super::txt::{TxtError, is_cluster_name, is_path, printable};

/// The DNS-SD service type under which nodes advertise the port that takes requests.
pub const SERVICE: &str = "_picluster._tcp.local.";

/// The DNS-SD service type under which a balancer advertises its admin port.
pub const LB_SERVICE: &str = "_picluster-lb._tcp.local.";

/// The cluster of all nodes and balancers that name none (`cluster` absent in TXT).
pub const DEFAULT_CLUSTER: &str = "default";

/// A checked TXT record. The keys that are reserved for later (`proto`, `pk`) and unknown keys are
/// ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// `id`: present for a picluster node, absent for a foreign device.
    pub id: Option<NodeId>,
    /// `hn`: the hostname of the machine, cut after 63 characters.
    pub hostname: Option<String>,
    /// `boot`: this start of the node.
    pub boot: Option<Boot>,
    /// `cluster`: absent or empty means [`DEFAULT_CLUSTER`].
    pub cluster: String,
    /// `health`: the path at which a foreign device is probed (`/` when absent).
    pub health: Option<String>,
    /// `ctl`: the port that answers `/.picluster/health`, if it is not the SRV port.
    pub ctl: Option<u16>,
    /// `app host path strip weight lb fwd`: see [`Offer`].
    pub offer: Arc<Offer>,
}

impl Advertisement {
    /// Reads a TXT record. `get` returns the value of a key, if the key is there and its value is
    /// UTF-8.
    ///
    /// # Errors
    /// The first rule that the record breaks: see [`TxtError`].
    pub fn parse<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, TxtError> {
        match get("v") {
            None => return Err(TxtError::NotYet),
            Some("1") => {}
            Some(other) => return Err(TxtError::Version(printable(other, 16))),
        }
        let value = |key: &str| get(key).filter(|value| !value.is_empty());
        let malformed = TxtError::Malformed;
        Ok(Self {
            id: value("id").map(|v| NodeId::new(v).ok_or(malformed("id"))).transpose()?,
            hostname: value("hn").map(|v| printable(v, 63)),
            boot: value("boot").map(|v| Boot::parse(v).ok_or(malformed("boot"))).transpose()?,
            cluster: match value("cluster") {
                None => DEFAULT_CLUSTER.to_owned(),
                Some(v) if is_cluster_name(v) => v.to_owned(),
                Some(_) => return Err(malformed("cluster")),
            },
            health: value("health")
                .map(|v| is_path(v).then(|| v.to_owned()).ok_or(malformed("health")))
                .transpose()?,
            ctl: value("ctl")
                .map(|v| v.parse().ok().filter(|port| *port != 0).ok_or(malformed("ctl")))
                .transpose()?,
            offer: Arc::new(Offer::parse(value)?),
        })
    }

    /// Writes the TXT record of this advertisement. It stays under 400 bytes, so that it fits one
    /// DNS message of 512 bytes (RFC 6763 section 6.2).
    pub fn to_txt(&self) -> Vec<(&'static str, String)> {
        let mut txt = vec![("v", "1".to_owned())];
        let mut put = |key, value: Option<String>| txt.extend(value.map(|value| (key, value)));
        put("id", self.id.as_ref().map(NodeId::to_string));
        put("hn", self.hostname.clone());
        put("boot", self.boot.map(|boot| boot.to_string()));
        put("cluster", (self.cluster != DEFAULT_CLUSTER).then(|| self.cluster.clone()));
        put("health", self.health.clone());
        put("ctl", self.ctl.map(|port| port.to_string()));
        self.offer.to_txt(put);
        txt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::ForwardFields;

    /// A TXT record as it comes from the wire.
    fn parse(record: &[(&str, &str)]) -> Result<Advertisement, TxtError> {
        Advertisement::parse(|key| record.iter().find(|(k, _)| *k == key).map(|(_, value)| *value))
    }

    #[test]
    fn a_record_with_no_version_or_another_makes_no_candidate() {
        assert_eq!(parse(&[]), Err(TxtError::NotYet));
        assert_eq!(parse(&[("id", "abc")]), Err(TxtError::NotYet));
        let long = parse(&[("v", "2\u{7}and so on and on and on")]);
        assert_eq!(long, Err(TxtError::Version("2-and-so-on-and-".to_owned())));
        assert_eq!(parse(&[("v", "")]), Err(TxtError::Version(String::new())));
    }

    #[test]
    fn a_malformed_key_is_named() {
        let long = "x".repeat(64);
        for (key, value) in [
            ("id", "A"),
            ("id", "a b"),
            ("id", long.as_str()),
            ("boot", "ff"),
            ("boot", "00000000000000fg"),
            ("boot", "+0000000000000ff"),
            ("cluster", "a b"),
            ("cluster", "k\u{fc}che"),
            ("cluster", long.as_str()),
            ("health", "status"),
            ("health", "/a\r\nX: y"),
            ("ctl", "0"),
            ("ctl", "65536"),
            ("ctl", "-1"),
            ("ctl", "http"),
            ("app", "a b"),
            ("app", long.as_str()),
            ("host", "a b.local"),
            ("host", "10.0.0.1"),
            ("host", "blog.local:80"),
            ("host", "a.local,"),
            ("host", "a.b,".repeat(17).trim_end_matches(',')),
            ("path", "blog"),
            ("path", "/a/../b"),
            ("path", "/a b"),
            ("path", "/.picluster"),
            ("strip", "yes"),
            ("weight", "0"),
            ("weight", "101"),
            ("weight", "heavy"),
            ("fwd", "some"),
        ] {
            let error = parse(&[("v", "1"), (key, value)]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("the key {key} ")), "{key}={value}: {text}");
        }
    }

    #[test]
    fn an_advertisement_is_read_as_written_without_unknown_or_empty_keys() {
        let node = Advertisement {
            id: NodeId::new("abc"),
            hostname: Some("raspberrypi".to_owned()),
            boot: Some(Boot(255)),
            cluster: "red".to_owned(),
            health: Some("/up".to_owned()),
            ctl: Some(9000),
            offer: Arc::new(Offer {
                service: "blog".to_owned(),
                hosts: vec!["blog.local".to_owned(), "www.example".to_owned()],
                path: "/blog".to_owned(),
                strip: true,
                weight: 100,
                balance: Some(crate::cluster::balance::Balance::P2c),
                forward: ForwardFields::None,
            }),
        };
        let txt = node.to_txt();
        let record: Vec<_> = txt.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(parse(&record), Ok(node));
        let silent = parse(&[("v", "1"), ("id", "abc")]).unwrap();
        assert_eq!(*silent.offer, Offer::default());
        let foreign = parse(&[("v", "1"), ("id", ""), ("cluster", ""), ("colour", "blue")]);
        let foreign = foreign.unwrap();
        assert_eq!((foreign.id, foreign.cluster.as_str()), (None, DEFAULT_CLUSTER));
        let small = Offer { forward: ForwardFields::For, ..Offer::default() };
        assert_eq!(*foreign.offer, small, "a foreign device may have little room for a head");
    }
}

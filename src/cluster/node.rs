//! What a node is and what it says of itself: its id, its name, its endpoints and the
//! TXT keys of its advertisement. Plain values; nothing here knows where they came from.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use self::offer::Offer;

pub mod offer;

/// The DNS-SD service type under which nodes advertise the port that takes requests.
pub const SERVICE: &str = "_picluster._tcp.local.";

/// The DNS-SD service type under which a balancer advertises its admin port.
pub const LB_SERVICE: &str = "_picluster-lb._tcp.local.";

/// The cluster of everybody who did not say another (`cluster` absent in TXT).
pub const DEFAULT_CLUSTER: &str = "default";

/// The id of a node: stable over restarts and address changes.
///
/// 13 characters of lower case base32 for a picluster node, derived from the instance name for a
/// foreign device; `-2` is appended while two machines claim one id. 1 to 63 of `[a-z0-9-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    text: Arc<str>,
    mark: StickyKey,
}

impl NodeId {
    /// Accepts 1 to 63 characters of `[a-z0-9-]`, else `None`.
    pub fn new(text: &str) -> Option<Self> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=63).contains(&text.len()) && text.bytes().all(legal))
            .then(|| Self { text: text.into(), mark: StickyKey::of(text) })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands for it where it is not to be shown, or would take too long to read.
    pub fn mark(&self) -> StickyKey {
        self.mark
    }

    /// The first six characters: what tells clones of one card apart in a name.
    pub fn short(&self) -> &str {
        &self.text[..self.text.len().min(6)]
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// 64 bits of a digest of an id, never 0: the same at each balancer and in each of its starts, and
/// nothing of the id can be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StickyKey(NonZeroU64);

impl StickyKey {
    fn of(id: &str) -> Self {
        let digest = Sha256::digest(id);
        let (eight, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        Self(NonZeroU64::MIN | u64::from_le_bytes(*eight))
    }

    /// Reads the 16 hexadecimal digits that are written.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits = |text: &&[u8]| text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit);
        let text = str::from_utf8(Some(text).filter(digits)?).ok()?;
        u64::from_str_radix(text, 16).ok().and_then(NonZeroU64::new).map(Self)
    }

    /// As a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One start of a node: 64 random bits, so that a crash and restart inside mDNS's TTL is seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Boot(pub u64);

impl Boot {
    /// Reads the 16 hexadecimal digits of TXT and of the health answer.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a word about a node came from. Every change and every node in the API carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Multicast DNS on the local link.
    Mdns,
}

impl Source {
    /// The word the API and the log use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
        }
    }
}

/// One node as the request path and the API see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The key of the table.
    pub id: NodeId,
    /// What people see; unique in the pool, 1 to 63 of header-safe ASCII.
    pub name: String,
    /// The machine's own hostname (a foreign device's: its SRV target without `.local`).
    pub hostname: String,
    /// The one active address that takes requests.
    pub endpoint: SocketAddr,
    /// This start of the node; `None` for a foreign device, which has no such word.
    pub boot: Option<Boot>,
    /// Who proposed it.
    pub source: Source,
    /// Which application it serves.
    pub offer: Arc<Offer>,
}

/// What a TXT record says, checked. Keys reserved for later (`proto pk`) and unknown keys
/// are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// `id`: present for a picluster node, absent for a foreign device.
    pub id: Option<NodeId>,
    /// `hn`: the OS hostname.
    pub hostname: Option<String>,
    /// `boot`: this start.
    pub boot: Option<Boot>,
    /// `cluster`: absent or empty means [`DEFAULT_CLUSTER`].
    pub cluster: String,
    /// `health`: the path a foreign device is probed at (`/` when absent).
    pub health: Option<String>,
    /// `ctl`: the port that answers `/.picluster/health` when it is not the SRV port.
    pub ctl: Option<u16>,
    /// `app host path strip weight lb`: see [`Offer`].
    pub offer: Arc<Offer>,
}

/// Why a TXT record makes no candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxtError {
    /// No `v` key: the SRV record came before its TXT. Wait for the next event.
    NotYet,
    /// `v` is present but not `1`: written by a version this one does not speak.
    Version(String),
    /// A key whose value breaks the protocol's rules.
    Malformed(&'static str),
}

impl fmt::Display for TxtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet => f.write_str("its TXT record has no v=1 (yet)"),
            Self::Version(v) => write!(f, "its TXT record says v={v}, this version speaks v=1"),
            Self::Malformed(key) => write!(f, "the key {key} of its TXT record is malformed"),
        }
    }
}

impl Advertisement {
    /// Reads a TXT record. `get` returns the value of a key, if it is there and is UTF-8.
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

    /// Writes the TXT record of this advertisement. Stays under 400 bytes.
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

/// Whether a cluster may be called so: 1 to 32 of `[A-Za-z0-9._-]`.
pub fn is_cluster_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=32).contains(&text.len()) && text.bytes().all(legal)
}

/// Whether a node may be called so: 1 to 63 visible ASCII characters, so that it fits a header
/// value and a DNS label.
pub fn is_node_name(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

pub(crate) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A text from the wire made fit for a log line, a header and a page: every character that is not
/// visible ASCII becomes `-`, and it is cut at `max` characters.
pub fn printable(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
}

/// What a source has seen of one advertised instance. Sources repeat themselves (mDNS resolves a
/// node once an address family, again on each refresh), so a sighting replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The DNS-SD instance label, unescaped; unique per source.
    pub instance: String,
    /// The SRV target without `.local.`
    pub target: String,
    /// The addresses that passed the source's filter, best first, at most four.
    pub endpoints: Vec<SocketAddr>,
    /// The checked TXT record.
    pub advertisement: Advertisement,
}

/// One word of a source. There is no separate "joined" and "updated": a source cannot tell them
/// apart, the table can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The instance is there, with these data.
    Seen(Source, Sighting),
    /// The source no longer hears of the instance of this label: a goodbye or an expiry.
    Left(Source, String),
    /// The machine itself lost an address or a link: what leaves now may be our own fault.
    Disturbed(Source),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TXT record as it comes from the wire.
    fn parse(record: &[(&str, &str)]) -> Result<Advertisement, TxtError> {
        Advertisement::parse(|key| record.iter().find(|(k, _)| *k == key).map(|(_, value)| *value))
    }

    #[test]
    fn a_record_without_its_version_or_with_another_is_none_of_ours() {
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
        ] {
            let error = parse(&[("v", "1"), (key, value)]).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(&format!("the key {key} ")), "{key}={value}: {told}");
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
            }),
        };
        let txt = node.to_txt();
        let record: Vec<_> = txt.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(parse(&record), Ok(node));
        let foreign = parse(&[("v", "1"), ("id", ""), ("cluster", ""), ("colour", "blue")]);
        let foreign = foreign.unwrap();
        assert_eq!((foreign.id, foreign.cluster.as_str()), (None, DEFAULT_CLUSTER));
        assert_eq!(*foreign.offer, Offer::default());
    }

    #[test]
    fn a_mark_is_read_as_it_is_written_and_shows_nothing_of_the_id() {
        let mark = NodeId::new("ada").unwrap().mark();
        assert_eq!(StickyKey::parse(mark.to_string().as_bytes()), Some(mark));
        assert_ne!(mark, NodeId::new("ada-2").unwrap().mark());
        // Cookies outlive updates: this one may never change.
        assert_eq!(mark.to_string(), "de57bd400d43eefd");
        for bad in ["", "0", "0000000000000000", "+00000000000000f", "00000000000000ff0"] {
            assert_eq!(StickyKey::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}

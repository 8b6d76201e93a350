//! The rules for single values of a TXT record, and the error of a record that breaks one.
//!
//! The same rules hold for flags, so that a node never advertises a value that others refuse. The
//! keys and their types stand in [`advertisement`](super::advertisement) and
//! [`offer`](super::offer).

use std::fmt;

/// The reason why a TXT record makes no candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxtError {
    /// No `v` key: the SRV record came before its TXT record. The next event may complete it.
    NotYet,
    /// `v` is present but not `1`: a version that this one does not understand wrote the record.
    Version(String),
    /// The value of this key breaks a rule of the protocol.
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

/// Returns whether the text is a legal name of a cluster: 1 to 32 characters of `[A-Za-z0-9._-]`.
pub fn is_cluster_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=32).contains(&text.len()) && text.bytes().all(legal)
}

/// Returns whether the text is a legal name of a node: 1 to 63 visible ASCII characters, so that it
/// fits a header value and a DNS label.
pub fn is_node_name(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Returns whether the text is a legal path for a health check: `/` and up to 127 more visible
/// ASCII characters, so that it fits a request line as it is.
pub(crate) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Makes a text from the wire fit for a log line, a header and a page: every character that is not
/// visible ASCII becomes `-`, and the text is cut after `max` characters.
pub fn printable(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
}

//! The identity of a node: its id, the key by which a client sticks to it, and the number of its
//! start. The id is derived from the hardware elsewhere; this file holds the value alone.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The id of a node: stable over restarts and address changes.
///
/// A picluster node has 13 characters of lower case base32. The id of a foreign device is derived
/// from its instance name. While two machines claim one id, `-2` is appended to that of the second.
/// All ids are 1 to 63 characters of `[a-z0-9-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    text: Arc<str>,
    sticky_key: StickyKey,
}

impl NodeId {
    /// Accepts 1 to 63 characters of `[a-z0-9-]`, and returns `None` for anything else.
    pub fn new(text: &str) -> Option<Self> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=63).contains(&text.len()) && text.bytes().all(legal))
            .then(|| Self { text: text.into(), sticky_key: StickyKey::of(text) })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The digest of the id, computed once: it replaces the id where the id must not be shown, as
    /// in a cookie, or would take too long to read, as in a hash for each request.
    pub fn sticky_key(&self) -> StickyKey {
        self.sticky_key
    }

    /// The first six characters. In a name they distinguish nodes that were cloned from one card.
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

/// 64 bits of the SHA-256 digest of an id, never 0. Every balancer computes the same key in each of
/// its starts, and nobody can read the id from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StickyKey(NonZeroU64);

impl StickyKey {
    fn of(id: &str) -> Self {
        let digest = Sha256::digest(id);
        let (eight, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        Self(NonZeroU64::MIN | u64::from_le_bytes(*eight))
    }

    /// Reads the 16 hexadecimal digits that `Display` writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits = |text: &&[u8]| text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit);
        let text = str::from_utf8(Some(text).filter(digits)?).ok()?;
        u64::from_str_radix(text, 16).ok().and_then(NonZeroU64::new).map(Self)
    }

    /// The key as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One start of a node: 64 random bits. A node that crashes and restarts before the TTL of its mDNS
/// records ends has another value, so the restart is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Boot(pub u64);

impl Boot {
    /// Reads the 16 hexadecimal digits of a TXT record and of a health answer.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sticky_key_is_read_as_it_is_written_and_hides_the_id() {
        let key = NodeId::new("ada").unwrap().sticky_key();
        assert_eq!(StickyKey::parse(key.to_string().as_bytes()), Some(key));
        assert_ne!(key, NodeId::new("ada-2").unwrap().sticky_key());
        // Cookies outlive updates, so this value may never change.
        assert_eq!(key.to_string(), "de57bd400d43eefd");
        for bad in ["", "0", "0000000000000000", "+00000000000000f", "00000000000000ff0"] {
            assert_eq!(StickyKey::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}

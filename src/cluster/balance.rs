//! How a request comes to its node: the policies, by the words of flags and TXT records. What each of
//! them does is [`picker`](crate::cluster::picker)'s business.

use std::fmt;

/// What people may write.
pub const KNOWN: &str =
    "round-robin, least-requests, p2c, hash, hash:header=NAME, hash:cookie=NAME or first";

/// The longest name of a header or a cookie to go by.
const NAME_BYTES_MAX: usize = 64;

/// How the requests of a service are shared among its nodes. All go by the nodes' weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastRequests,
    /// Of two drawn by chance, the one that is expected to answer sooner.
    P2c,
    /// Always the same one for the same key, as long as it has not much more than the others.
    Hash(Key),
    /// The first by name that has room, so that the last may sleep.
    First,
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's address.
    Client,
    /// A header of this name, or the client's address where there is none.
    Header(Box<str>),
    /// A cookie of this name, or the client's address where there is none.
    Cookie(Box<str>),
}

impl Balance {
    /// Reads one of [`KNOWN`].
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once(':') {
            None => match text {
                "round-robin" => Self::RoundRobin,
                "least-requests" => Self::LeastRequests,
                "p2c" => Self::P2c,
                "hash" => Self::Hash(Key::Client),
                "first" => Self::First,
                _ => return None,
            },
            Some(("hash", key)) => {
                let (kind, name) = key.split_once('=')?;
                let name = is_token(name).then(|| name.into())?;
                Self::Hash(match kind {
                    "header" => Key::Header(name),
                    "cookie" => Key::Cookie(name),
                    _ => return None,
                })
            }
            Some(_) => return None,
        })
    }
}

/// The names of headers and of cookies are tokens (RFC 9110 section 5.6.2, RFC 6265 section 4.1.1).
fn is_token(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal)
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("round-robin"),
            Self::LeastRequests => f.write_str("least-requests"),
            Self::P2c => f.write_str("p2c"),
            Self::Hash(Key::Client) => f.write_str("hash"),
            Self::Hash(Key::Header(name)) => write!(f, "hash:header={name}"),
            Self::Hash(Key::Cookie(name)) => write!(f, "hash:cookie={name}"),
            Self::First => f.write_str("first"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_reads_what_it_writes_and_is_known() {
        for text in [
            "round-robin",
            "least-requests",
            "p2c",
            "hash",
            "hash:header=X-User",
            "hash:cookie=PHPSESSID",
            "first",
        ] {
            assert_eq!(Balance::parse(text).map(|balance| balance.to_string()).unwrap(), text);
            let word = text.split('=').next().unwrap();
            assert!(KNOWN.contains(word), "{word}");
        }
    }

    #[test]
    fn anything_else_is_no_policy() {
        for text in [
            "",
            "P2C",
            "random",
            "p2c:header=a",
            "hash:",
            "hash:header",
            "hash:header=",
            "hash:cookie=a b",
            "hash:path=a",
            "hash:header=caf\u{e9}",
        ] {
            assert_eq!(Balance::parse(text), None, "{text}");
        }
        assert_eq!(Balance::parse(&format!("hash:header={}", "a".repeat(65))), None);
    }
}

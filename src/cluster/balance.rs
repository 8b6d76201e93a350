//! The balancing policies, by the words of flags and TXT records. They are carried out in
//! [`picker`](crate::cluster::picker).

use std::fmt;

/// The words that people may write, for messages and help texts.
pub const KNOWN: &str =
    "round-robin, least-requests, p2c, hash, hash:header=NAME, hash:cookie=NAME or first";

/// The longest name of a header or a cookie that is hashed.
const NAME_BYTES_MAX: usize = 64;

/// The rule by which the requests of a service are shared among its nodes. Every policy respects
/// the weights of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each node in turn.
    #[default]
    RoundRobin,
    /// The node with the fewest requests under way.
    LeastRequests,
    /// Of two nodes drawn at random, the one that is expected to answer sooner.
    P2c,
    /// The same node for the same key each time, as long as it has not many more requests than the
    /// others.
    Hash(Key),
    /// The first node by name that has room, so that the last ones may sleep.
    First,
}

/// The part of a request that is hashed.
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
    /// Reads one of the words of [`KNOWN`], and returns `None` for any other text.
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

/// Returns whether the text is a token, as the names of headers and of cookies are (RFC 9110
/// section 5.6.2, RFC 6265 section 4.1.1).
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
    fn every_policy_is_read_as_it_is_written_and_is_known() {
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
    fn any_other_text_is_no_policy() {
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

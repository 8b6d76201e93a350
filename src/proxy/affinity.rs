//! The parts of a request that decide its node: the key that its policy hashes, and the cookie of a
//! client that sticks to one.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::cluster::balance::{Balance, Key};
use crate::cluster::node::StickyKey;
use crate::cluster::node::offer::DEFAULT_SERVICE;
use crate::cluster::picker;
use crate::http1::RequestHead;

/// The cookie that holds the key of a client's node. That of a service with a name is called
/// `picluster-NAME`: a client that uses two services has a node of each.
const COOKIE: &str = "picluster";

/// The parts that were found in a head.
#[derive(Clone, Copy, Default)]
pub(super) struct Affinity {
    /// The hash that a policy by key goes by.
    pub(super) key: u64,
    /// The node that the client had before, by its cookie.
    pub(super) sticky: Option<StickyKey>,
    /// That node is the one to which the client has a connection of its own.
    pub(super) pinned: bool,
}

impl Affinity {
    /// Reads the parts that the policy goes by, and nothing else. `sticky_to` is the service whose
    /// clients stick to their nodes, `client` the address from which the request comes, and `named` the
    /// one that a trusted proxy names.
    #[inline(never)]
    pub(super) fn read(
        head: &RequestHead<'_>,
        balance: &Balance,
        sticky_to: Option<&str>,
        client: &str,
        named: impl FnOnce() -> Option<IpAddr>,
    ) -> Self {
        let value = match balance {
            Balance::Hash(Key::Header(name)) => head.fields.get(name),
            Balance::Hash(Key::Cookie(name)) => cookie(head, name),
            Balance::Hash(Key::Client) => None,
            _ => Some(&b""[..]),
        };
        let key = match value {
            Some(value) => picker::key(value),
            None => match named() {
                Some(ip) => picker::key(ip.to_canonical().to_string().as_bytes()),
                None => picker::key(client.as_bytes()),
            },
        };
        let sticky = sticky_to.and_then(|service| cookie(head, &cookie_name(service)));
        let sticky = sticky.and_then(StickyKey::parse);
        Self { key, sticky, pinned: false }
    }
}

/// The cookie of the clients of a service, whose name is a token (RFC 6265 section 4.1.1).
fn cookie_name(service: &str) -> Cow<'static, str> {
    if service == DEFAULT_SERVICE { COOKIE.into() } else { format!("{COOKIE}-{service}").into() }
}

/// The value of the first cookie of this name (RFC 6265 section 5.4).
fn cookie<'b>(head: &RequestHead<'b>, name: &str) -> Option<&'b [u8]> {
    let fields = head.fields.iter().filter(|field| field.name.eq_ignore_ascii_case("cookie"));
    let pairs = fields.flat_map(|field| field.value.split(|&b| b == b';'));
    let named =
        |pair: &'b [u8]| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    pairs.filter_map(named).next()
}

/// Appends the field that makes a client of this service stick to the node of this key until its
/// browser ends. No page needs to read the cookie, and no other site needs to send it.
#[inline(never)]
pub(super) fn append_cookie(service: &str, node: StickyKey, out: &mut Vec<u8>) {
    let name = cookie_name(service);
    let field = format!("Set-Cookie: {name}={node}; Path=/; HttpOnly; SameSite=Lax\r\n");
    out.extend_from_slice(field.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Slots, parse_request};

    const CLIENT: &str = "10.0.0.1";

    fn read(balance: &str, sticky: Option<&str>, fields: &str, named: Option<&str>) -> Affinity {
        let text = format!("GET / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n");
        let mut slots = Slots::new();
        let head = parse_request(text.as_bytes(), 0, &mut slots).unwrap().unwrap();
        let balance = Balance::parse(balance).unwrap();
        let named = || named.map(|ip| ip.parse().unwrap());
        Affinity::read(&head, &balance, sticky, CLIENT, named)
    }

    #[test]
    fn a_key_is_what_the_policy_goes_by_or_the_clients_address() {
        for (balance, fields, named, expected) in [
            ("hash", "", None, CLIENT),
            ("hash", "", Some("1.2.3.4"), "1.2.3.4"),
            ("hash", "", Some("::ffff:1.2.3.4"), "1.2.3.4"),
            ("hash:header=x-user", "X-User: ada\r\n", None, "ada"),
            ("hash:header=X-User", "", Some("1.2.3.4"), "1.2.3.4"),
            ("hash:cookie=sid", "Cookie: a=b; sid=7; sid=8\r\n", None, "7"),
            ("hash:cookie=sid", "Cookie: a=b\r\nCookie: sid=9\r\n", None, "9"),
            ("hash:cookie=sid", "Cookie: xsid=9; SID=8; sid\r\n", None, CLIENT),
        ] {
            let key = read(balance, None, fields, named).key;
            assert_eq!(key, picker::key(expected.as_bytes()), "{balance} {fields}");
        }
    }

    #[test]
    fn a_policy_that_hashes_nothing_looks_for_no_client() {
        let text = "GET / HTTP/1.1\r\nHost: pi\r\n\r\n";
        let mut slots = Slots::new();
        let head = parse_request(text.as_bytes(), 0, &mut slots).unwrap().unwrap();
        let named = || unreachable!("nobody asked");
        let found = Affinity::read(&head, &Balance::RoundRobin, None, CLIENT, named);
        assert_eq!(found.sticky, None);
    }

    #[test]
    fn a_client_sticks_only_by_a_legal_key_and_only_where_that_is_wanted() {
        let sticky = |sticky, fields| read("p2c", sticky, fields, None).sticky;
        let good = "Cookie: a=b; picluster=00000000000000ff\r\n";
        let key = StickyKey::parse(b"00000000000000ff");
        assert_eq!(sticky(Some("default"), good), key);
        assert_eq!(sticky(None, good), None);
        assert_eq!(sticky(Some("default"), "Cookie: picluster=ada\r\n"), None);
        // Each service has a cookie of its own.
        assert_eq!(sticky(Some("blog"), good), None);
        let both = "Cookie: picluster=0000000000000001; picluster-blog=00000000000000ff\r\n";
        assert_eq!(sticky(Some("blog"), both), key);
    }
}

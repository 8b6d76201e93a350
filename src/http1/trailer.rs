//! Which fields may come behind a body.
//!
//! RFC 9110 6.5.1: what has to be known before a body is read must not come after it. A recipient
//! may drop such a trailer, but not all do: one that puts trailers among the header fields (RFC 9110
//! 6.5.2 tells it not to without care) would take a length, a cookie or a client's address from
//! where no one has looked for them. A body passes here as it lies on the wire, so nothing can be
//! cut out of it; it is refused, and nobody loses by it who keeps to the rule.

/// In lower case, by the kinds that RFC 9110 6.5.1 names (RFC 7230 4.1.2 gave the examples).
const IN_HEADS_ONLY: [&[u8]; 23] = [
    // Framing, and what concerns the connection (RFC 9110 7.6.1).
    b"connection",
    b"content-length",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    // Routing, and what a balancer says of a request's way.
    b"forwarded",
    b"host",
    b"max-forwards",
    b"via",
    b"x-request-id",
    // Authentication. The Info fields are made for trailers (RFC 9110 11.6.3).
    b"authorization",
    b"cookie",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"set-cookie",
    b"www-authenticate",
    // What asks for another answer. Conditions and caching (If-*, Range, Cache-Control, Expires,
    // Vary) are named there too, but do no harm behind a body, and servers are found that send them:
    // the very example that many manuals give of a trailer is Expires.
    b"expect",
    // How the content is to be read, and what of it there is.
    b"content-encoding",
    b"content-range",
    b"content-type",
];

/// Families of which each member is the balancer's own.
const FAMILIES_IN_HEADS_ONLY: [&[u8]; 2] = [b"x-forwarded-", b"x-picluster-"];

/// The longest of [`IN_HEADS_ONLY`], and one more byte to tell a longer name.
const NAME_BYTES: usize = 20;

/// A trailer's name as far as it is needed to judge it.
#[derive(Debug)]
pub(super) struct TrailerName {
    start: [u8; NAME_BYTES],
    len: usize,
}

impl TrailerName {
    pub(super) const fn new() -> Self {
        Self { start: [0; NAME_BYTES], len: 0 }
    }

    /// Takes the next byte. `_` counts as `-`, because CGI and its heirs cannot tell them apart.
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(slot) = self.start.get_mut(self.len) {
            *slot = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            self.len += 1;
        }
    }

    /// Whether a field of this name may come behind a body.
    pub(super) fn is_allowed(&self) -> bool {
        let name = &self.start[..self.len];
        !IN_HEADS_ONLY.contains(&name)
            && !FAMILIES_IN_HEADS_ONLY.iter().any(|family| name.starts_with(family))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(text: &str) -> bool {
        let mut name = TrailerName::new();
        text.bytes().for_each(|byte| name.push(byte));
        name.is_allowed()
    }

    #[test]
    fn what_must_be_known_before_a_body_does_not_come_after_it() {
        for name in IN_HEADS_ONLY {
            let name = str::from_utf8(name).unwrap();
            assert!(!is_allowed(name) && !is_allowed(&name.to_uppercase()), "{name}");
            assert!(!is_allowed(&name.replace('-', "_")), "{name}");
            assert!(is_allowed(&format!("{name}2")) && is_allowed(&format!("a{name}")), "{name}");
            assert!(name.len() < NAME_BYTES, "{name}");
        }
        for name in ["X-Forwarded-For", "x_forwarded_anything", "X-Picluster-Node"] {
            assert!(!is_allowed(name), "{name}");
        }
    }

    #[test]
    fn what_is_made_for_trailers_passes() {
        let long = "a".repeat(1000);
        for name in [
            "Grpc-Status",
            "Expires",
            "Server-Timing",
            "ETag",
            "Repr-Digest",
            "Authentication-Info",
            &long,
        ] {
            assert!(is_allowed(name), "{name}");
        }
    }
}

//! Decides which fields may stand after a body.
//!
//! A field that a recipient must know before it reads the body must not stand after it (RFC 9110
//! 6.5.1). A recipient may drop such a trailer, but not all do. Some put trailers among the header
//! fields, which RFC 9110 6.5.2 forbids to do without care: they would take a length, a cookie or a
//! client's address from a place that nobody has checked. A body passes here as it lies on the
//! wire, so nothing can be cut out of it. Therefore the whole body is refused, which costs no
//! sender that keeps to the rule.

/// The names that are refused, in lower case and by the kinds of RFC 9110 6.5.1 (RFC 7230 4.1.2
/// gave the examples).
const IN_HEADS_ONLY: [&[u8]; 23] = [
    // Framing, and the control of the connection (RFC 9110 7.6.1).
    b"connection",
    b"content-length",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    // Routing, and the way of a request as a balancer records it.
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
    // Request modifiers. RFC 9110 also names conditions and caching (If-*, Range, Cache-Control,
    // Expires, Vary), but those do no harm after a body, and some servers send them: Expires is the
    // example of a trailer in many manuals.
    b"expect",
    // The form of the content, and the range of it.
    b"content-encoding",
    b"content-range",
    b"content-type",
];

/// The beginnings of names that belong to the balancer alone.
const FAMILIES_IN_HEADS_ONLY: [&[u8]; 2] = [b"x-forwarded-", b"x-picluster-"];

/// The length of the longest name in [`IN_HEADS_ONLY`], and one byte by which a longer name
/// differs.
const NAME_BYTES: usize = 20;

/// The beginning of a trailer's name, as much as the judgement needs.
#[derive(Debug)]
pub(super) struct TrailerName {
    start: [u8; NAME_BYTES],
    len: usize,
}

impl TrailerName {
    pub(super) const fn new() -> Self {
        Self { start: [0; NAME_BYTES], len: 0 }
    }

    /// Takes the next byte. `_` counts as `-`, because CGI and its successors make both the same.
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(slot) = self.start.get_mut(self.len) {
            *slot = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            self.len += 1;
        }
    }

    /// Returns true if a field of this name may stand after a body.
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
    fn a_field_that_must_be_known_before_a_body_is_no_trailer() {
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
    fn a_field_made_for_trailers_passes() {
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

//! The marks of a head that decide how it goes on: one look at the fields.

use crate::cluster::hop::{Hop, Hops};
use crate::cluster::protocol::{HOP_HEADER, ReportedState, STATE_HEADER};
use crate::http1::{Fields, RequestHead, Version, is_bound_login};

/// The marks of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestMarks {
    /// The balancers that it came through.
    pub hops: Hops,
    /// It carries a login that is bound to its connection.
    pub login: bool,
    /// The client takes trailers behind the body of the answer (RFC 9110 section 6.5.1).
    pub trailers: bool,
}

impl RequestMarks {
    /// Reads the marks. `hop` is our own mark, and `via` our pseudonym in `Via`, if we send one.
    pub fn read(head: &RequestHead<'_>, hop: &Hop, via: Option<&str>) -> Self {
        let mut marks = Self::default();
        for field in head.fields.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            match field.name.len() {
                2 if is("te") => marks.trailers |= takes_trailers(head.version, field.value),
                3 if is("via") => {
                    marks.hops.is_loop |= via.is_some_and(|us| names(field.value, us));
                }
                9 if is("forwarded") => hop.read_forwarded(field.value, &mut marks.hops),
                13 if is("authorization") => marks.login |= is_bound_login(field.value),
                15 if is(HOP_HEADER) => hop.read_short(field.value, &mut marks.hops),
                19 if is("proxy-authorization") => marks.login |= is_bound_login(field.value),
                _ => {}
            }
        }
        marks
    }
}

/// A client of HTTP/1.0 knows no trailers.
fn takes_trailers(version: Version, te: &[u8]) -> bool {
    let mut codings = te.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    version == Version::Http11 && codings.any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// Returns whether a value of `Via` names this pseudonym (RFC 9110 section 7.6.3).
fn names(via: &[u8], pseudonym: &str) -> bool {
    let hops = via.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    let mut received_by = hops.filter_map(|hop| hop.split(|&b| b == b' ' || b == b'\t').nth(1));
    received_by.any(|by| by == pseudonym.as_bytes())
}

/// The marks of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnswerMarks {
    /// The state that the node reports with it.
    pub(crate) state: Option<ReportedState>,
    /// It asks for a login that is bound to its connection, or goes on with one.
    pub(crate) login: bool,
}

impl AnswerMarks {
    /// Reads the marks.
    pub(crate) fn read(fields: &Fields<'_>) -> Self {
        let mut marks = Self::default();
        for field in fields.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            match field.name.len() {
                16 if is("www-authenticate") => marks.login |= is_bound_login(field.value),
                17 if is(STATE_HEADER) && marks.state.is_none() => {
                    marks.state = ReportedState::parse(field.value);
                }
                18 if is("proxy-authenticate") => marks.login |= is_bound_login(field.value),
                _ => {}
            }
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Slots, parse_request, parse_response};

    fn request(fields: &str) -> RequestMarks {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let mut slots = Slots::new();
        let head = parse_request(text.as_bytes(), 0, &mut slots).unwrap().unwrap();
        RequestMarks::read(&head, &Hop::new("front"), Some("front"))
    }

    fn answer(fields: &str) -> AnswerMarks {
        let text = format!("HTTP/1.1 401 \r\n{fields}\r\n\r\n");
        let mut slots = Slots::new();
        let head = parse_response(text.as_bytes(), 0, &mut slots, false).unwrap().unwrap();
        AnswerMarks::read(&head.fields)
    }

    #[test]
    fn a_login_of_a_connection_is_seen_in_each_field_that_carries_one() {
        for name in ["Authorization", "PROXY-AUTHORIZATION"] {
            assert!(request(&format!("{name}: NTLM abc=")).login);
            assert!(request(&format!("A: b\r\n{name}: negotiate\tabc=")).login);
            assert!(!request(&format!("{name}: Basic abc=")).login);
            assert!(!request(&format!("{name}: Bearer NTLM")).login);
        }
        for name in ["WWW-Authenticate", "Proxy-Authenticate"] {
            assert!(answer(&format!("{name}: Basic realm=\"a, b\", NTLM")).login);
            assert!(answer(&format!("{name}: Basic\r\n{name}: Negotiate abc=")).login);
            assert!(!answer(&format!("{name}: Digest realm=\"NTLM\"")).login);
        }
        assert!(!answer("Authentication: NTLM").login && !request("Accept: NTLM").login);
    }

    #[test]
    fn a_loop_is_seen_in_each_field_that_marks_one() {
        let is_loop = |fields: &str| request(fields).hops.is_loop;
        assert!(is_loop("Via: 1.0 x\r\nVia: 1.1 other, 1.1 front (picluster)"));
        assert!(!is_loop("Via: 1.1 front2") && !is_loop("Via: 1.1 a-front, front"));
        assert!(is_loop("Forwarded: for=a\r\nFORWARDED: for=b;by=_pc0_front"));
        let mut short = b"X-Picluster-Hop: ".to_vec();
        Hop::new("front").append_short(0, &mut short);
        assert!(is_loop(str::from_utf8(&short).unwrap()));
        assert!(!is_loop("X-Picluster-Hop: 00000000"));
    }

    #[test]
    fn trailers_are_taken_only_from_a_client_that_asks_for_them() {
        assert!(request("TE: gzip, Trailers\r\nConnection: TE").trailers);
        assert!(!request("TE: gzip").trailers && !request("Trailer: a").trailers);
    }
}

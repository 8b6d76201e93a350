//! The marks in a head that decide the way of its message.

use crate::cluster::hop::Hops;
use crate::cluster::protocol::{ReportedState, STATE_HEADER};
use crate::http1::{Fields, is_bound_login};

/// The marks of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestMarks {
    /// The balancers that it came through.
    pub hops: Hops,
    /// It carries a login that is bound to its connection.
    pub login: bool,
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
        for (name, value) in fields.pairs() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            match name.len() {
                16 if is("www-authenticate") => marks.login |= is_bound_login(value),
                17 if is(STATE_HEADER) && marks.state.is_none() => {
                    marks.state = ReportedState::parse(value);
                }
                18 if is("proxy-authenticate") => marks.login |= is_bound_login(value),
                _ => {}
            }
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::hop::Hop;
    use crate::http1::{Slots, parse_request, parse_response};
    use crate::proxy::headers::{Added, Forwarding, write_request};

    fn request(fields: &str) -> RequestMarks {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let mut slots = Slots::new();
        let head = parse_request(text.as_bytes(), 0, &mut slots).unwrap().unwrap();
        let (forwarding, hop) = (Forwarding::new([10, 0, 0, 9].into(), false), Hop::new("front"));
        let added = Added { via: "front", ..Added::usual(&forwarding, &hop, 1) };
        write_request(&head, &added, &mut Vec::new())
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
}

//! Writes heads. Every function appends to a buffer that its caller keeps. None checks its
//! arguments: they must be text from a parsed head, or our own.

/// Appends `METHOD target HTTP/1.1` and the line end. A target that begins with its query gets the
/// slash of its empty path (RFC 9112 3.2.1).
pub fn append_request_line(out: &mut Vec<u8>, method: &str, target: &str) {
    let space: &[u8] = if target.starts_with('?') { b" /" } else { b" " };
    for part in [method.as_bytes(), space, target.as_bytes(), b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends `HTTP/1.1 status reason` and the line end. The space before an empty reason is written
/// too (RFC 9112 4).
pub fn append_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    append_number(out, status.into());
    for part in [b" ", reason, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends `name: value` and the line end. The caller appends the empty line after the last field.
pub fn append_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    // One check of the capacity in place of four.
    out.reserve(name.len() + value.len() + 4);
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends a number in decimal.
pub fn append_number(out: &mut Vec<u8>, number: u64) {
    append_digits(out, number, 10);
}

/// Appends the line before a chunk of `bytes` bytes (RFC 9112 7.1). The caller appends the chunk
/// and a CR LF. A chunk of 0 bytes ends the body.
pub fn append_chunk_size(out: &mut Vec<u8>, bytes: usize) {
    append_digits(out, bytes as u64, 16);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in this radix, 10 or 16. `format!` costs too much on the path of each request;
/// this is a few divisions and one copy.
fn append_digits(out: &mut Vec<u8>, mut number: u64, radix: u64) {
    // `u64::MAX` has 20 decimal digits, and fewer hexadecimal ones.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[(number % radix) as usize];
        number /= radix;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Slots, parse_request, parse_response};
    use super::*;

    #[test]
    fn lines_follow_the_grammar() {
        let mut out = Vec::new();
        append_request_line(&mut out, "GET", "/");
        append_request_line(&mut out, "GET", "?a");
        append_status_line(&mut out, 200, b"");
        append_field(&mut out, "A", b"b");
        append_chunk_size(&mut out, 255);
        assert_eq!(out, b"GET / HTTP/1.1\r\nGET /?a HTTP/1.1\r\nHTTP/1.1 200 \r\nA: b\r\nff\r\n");
    }

    type Pairs = Vec<(String, Vec<u8>)>;

    /// Makes fields that mean nothing to the codec: their names begin with X.
    fn pairs() -> impl Strategy<Value = Pairs> {
        let value = prop::collection::vec(prop_oneof![0x21..0x7f_u8, 0x80..=0xff_u8], 0..20);
        prop::collection::vec(("X[!#$%&'*+.^_`|~0-9A-Za-z-]{0,20}", value), 0..20)
    }

    fn append_all(out: &mut Vec<u8>, fields: &Pairs) {
        for (name, value) in fields {
            append_field(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_standard_library_does(number: u64, bytes: u32) {
            let mut out = Vec::new();
            append_number(&mut out, number);
            out.push(b' ');
            append_chunk_size(&mut out, bytes as usize);
            prop_assert_eq!(out, format!("{number} {bytes:x}\r\n").into_bytes());
        }

        #[test]
        fn a_request_that_was_written_is_read_back(
            method in "[A-Z]{1,10}",
            target in "/[!\"$-~]{0,40}",
            fields in pairs(),
        ) {
            let mut out = Vec::new();
            append_request_line(&mut out, &method, &target);
            append_field(&mut out, "Host", b"pi");
            append_all(&mut out, &fields);
            let mut slots = Slots::new();
            let head = parse_request(&out, 0, &mut slots).unwrap().unwrap();
            prop_assert_eq!((head.method, head.target, head.len), (&*method, &*target, out.len()));
            let read: Pairs =
                head.fields.end_to_end().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn an_answer_that_was_written_is_read_back(
            status in 200_u16..600,
            reason in "[ -~]{0,20}",
            fields in pairs(),
        ) {
            let mut out = Vec::new();
            append_status_line(&mut out, status, reason.as_bytes());
            append_all(&mut out, &fields);
            let mut slots = Slots::new();
            let head = parse_response(&out, 0, &mut slots, false).unwrap().unwrap();
            prop_assert_eq!((head.status, head.reason, head.len), (status, reason.as_bytes(), out.len()));
            let read: Pairs =
                head.fields.end_to_end().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
            prop_assert_eq!(read, fields);
        }
    }
}

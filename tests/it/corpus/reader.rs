//! A second reader of HTTP/1 messages, which shares no code with the balancer's. It is slow, simple
//! and stricter than any recipient has to be: every recipient takes a message that this reader
//! takes.

use std::borrow::Cow;

/// The result of reading some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A whole message of this many bytes.
    Whole(usize),
    /// The beginning of a message.
    Unfinished,
}

/// A head and its end.
struct Head<'b> {
    line: Cow<'b, str>,
    fields: Vec<(&'b str, &'b [u8])>,
    len: usize,
}

impl Head<'_> {
    fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value).collect()
    }

    /// The only framing of the message; `Some(None)` is chunked.
    fn framing(&self) -> Result<Option<Option<usize>>, String> {
        // CGI and its heirs read `_` as `-`.
        let folded = |name: &str| name.replace('_', "-").to_ascii_lowercase();
        for (name, _) in self.fields.iter().filter(|(name, _)| name.contains('_')) {
            if matches!(&*folded(name), "content-length" | "transfer-encoding") {
                return Err(format!("{name} frames nothing, but looks as if"));
            }
        }
        match (&self.values("content-length")[..], &self.values("transfer-encoding")[..]) {
            ([], []) => Ok(None),
            ([], [b"chunked"]) => Ok(Some(None)),
            ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                let text = String::from_utf8_lossy(length);
                Ok(Some(Some(text.parse().map_err(|_| "a length beyond all bounds")?)))
            }
            other => Err(format!("no single framing: {other:?}")),
        }
    }
}

/// Reads the request at the beginning of `bytes`, as a node receives it.
pub(crate) fn request(bytes: &[u8]) -> Result<Read, String> {
    let Some(head) = head(bytes)? else { return Ok(Read::Unfinished) };
    let parts: Vec<_> = head.line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        return Err(format!("a bad request line: {}", head.line));
    };
    if !is_token(method) || target.is_empty() || !target.is_ascii() {
        return Err(format!("a bad method or target: {}", head.line));
    }
    if head.fields.iter().position(|(name, _)| *name == "Host") != Some(0)
        || head.values("host").len() != 1
    {
        return Err("not one Host, and first".to_owned());
    }
    body(bytes, &head, head.framing()?.unwrap_or(Some(0)))
}

/// One answer of a series.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// True if it says that the connection ends.
    pub(crate) close: bool,
    /// True if its body came to its end.
    pub(crate) whole: bool,
}

/// Reads all answers that a client received until its connection ended. `is_head` returns whether
/// the nth final answer answers a HEAD.
pub(crate) fn answers(
    mut bytes: &[u8],
    is_head: impl Fn(usize) -> bool,
) -> Result<Vec<Answer>, String> {
    let (mut answers, mut finals) = (Vec::new(), 0);
    while !bytes.is_empty() {
        let head = head(bytes)?.ok_or("an answer's head without an end")?;
        let status = head.line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once(' '));
        let status = status.and_then(|(digits, _)| digits.parse().ok());
        let status: u16 = status.ok_or_else(|| format!("a bad status line: {}", head.line))?;
        let close = head.values("connection").contains(&&b"close"[..]);
        let bodiless = status < 200 || status == 204 || status == 304 || is_head(finals);
        let len = match head.framing()? {
            _ if bodiless => Read::Whole(head.len),
            None if status == 101 || close => Read::Whole(bytes.len()),
            None => return Err("an answer without an end on a kept connection".to_owned()),
            Some(framing) => body(bytes, &head, framing)?,
        };
        answers.push(Answer { status, close, whole: len != Read::Unfinished });
        finals += usize::from(status >= 200);
        match len {
            // The rest is another protocol.
            Read::Whole(_) if status == 101 => break,
            Read::Whole(len) => bytes = &bytes[len..],
            Read::Unfinished => break,
        }
    }
    Ok(answers)
}

/// The head at the beginning of `bytes`, if it is whole.
fn head(bytes: &[u8]) -> Result<Option<Head<'_>>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = Vec::new();
    let mut rest = &bytes[..end + 2];
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    // A reason may contain bytes beyond ASCII. A request line with such bytes has no valid target.
    let line = String::from_utf8_lossy(lines[0]);
    if line.bytes().any(|b| b.is_ascii_control()) {
        return Err(format!("a control byte in the first line: {line:?}"));
    }
    let fields = lines[1..].iter().map(|line| field(line)).collect::<Result<_, _>>()?;
    Ok(Some(Head { line, fields, len: end + 4 }))
}

/// Splits a field line without its end into name and value.
fn field(line: &[u8]) -> Result<(&str, &[u8]), String> {
    let bad = || format!("a bad field line: {:?}", String::from_utf8_lossy(line));
    let colon = line.iter().position(|&b| b == b':').ok_or_else(bad)?;
    let name = str::from_utf8(&line[..colon]).map_err(|_| bad())?;
    let value = line[colon + 1..].trim_ascii();
    let legal = |b: &u8| *b == b'\t' || !b.is_ascii_control();
    if is_token(name) && value.iter().all(legal) { Ok((name, value)) } else { Err(bad()) }
}

fn is_token(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(legal)
}

/// The end of the body behind the head; `None` is chunked.
fn body(bytes: &[u8], head: &Head<'_>, framing: Option<usize>) -> Result<Read, String> {
    let body = &bytes[head.len..];
    let len = match framing {
        Some(len) => (body.len() >= len).then_some(len),
        None => chunked(body)?,
    };
    Ok(len.map_or(Read::Unfinished, |len| Read::Whole(head.len + len)))
}

/// The length of a chunked body in bytes, with chunk lines and trailers.
fn chunked(body: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line) = line(&body[at..])? else { return Ok(None) };
        at += line.len() + 2;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let text = String::from_utf8_lossy(&line[..digits]).into_owned();
        let size = usize::from_str_radix(&text, 16).map_err(|_| "a bad chunk size")?;
        let extension = line[digits..].trim_ascii_start();
        if !(digits == line.len() || extension.starts_with(b";")) {
            return Err(format!("a bad chunk line: {:?}", String::from_utf8_lossy(line)));
        }
        if size == 0 {
            break;
        }
        if size > body.len() {
            return Ok(None);
        }
        match body[at..].get(size..size + 2) {
            Some(b"\r\n") => at += size + 2,
            Some(_) => return Err("a chunk that does not end where its size says".to_owned()),
            None => return Ok(None),
        }
    }
    loop {
        let Some(line) = line(&body[at..])? else { return Ok(None) };
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        field(line)?;
    }
}

/// The next line without its CR LF, if it is whole. A CR or LF anywhere else is an error.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    match bytes.iter().position(|b| matches!(b, b'\r' | b'\n')) {
        Some(at) if bytes[at..].starts_with(b"\r\n") => Ok(Some(&bytes[..at])),
        Some(at) if bytes[at..] == *b"\r" => Ok(None),
        Some(_) => Err("a line that ends in something else than CR LF".to_owned()),
        None => Ok(None),
    }
}

/// Removes the balancer's own fields from the head at the beginning of `bytes`. The fields of every
/// request must be there exactly once, with the values that the balancer knows.
pub(crate) fn without_ours(bytes: &[u8]) -> Result<Vec<u8>, String> {
    const EXACTLY_ONE: [&str; 2] = ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"];
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or("a head that was begun and has no end")?;
    let (head, rest) = bytes.split_at(end + 2);
    let (mut out, mut counts) = (Vec::new(), [0; 5]);
    for line in head.split_inclusive(|&b| b == b'\n') {
        let text = String::from_utf8_lossy(line).trim_ascii().to_ascii_lowercase();
        let name = text.split_once(':').map_or("", |(name, _)| name);
        let at = match name {
            "x-forwarded-for" => 0,
            "x-forwarded-proto" => 1,
            "x-forwarded-host" => 2,
            "forwarded" => 3,
            "x-request-id" => 4,
            // The address of the node, in a request that came without a host.
            "host" if text.starts_with("host: 127.0.0.1:") => {
                out.extend_from_slice(b"Host: node\r\n");
                continue;
            }
            _ => {
                out.extend_from_slice(line);
                continue;
            }
        };
        counts[at] += 1;
        if EXACTLY_ONE.get(at).is_some_and(|known| *known != text) {
            return Err(format!("not what the balancer knows: {text}"));
        }
    }
    let once = counts[..2] == [1, 1] && counts[2..].iter().all(|&count| count <= 1);
    if !once {
        return Err(format!("the balancer's fields are not there once: {counts:?}"));
    }
    out.extend_from_slice(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_framing_or_is_none() {
        let read = |fields: &str, body: &str| {
            request(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").as_bytes())
        };
        assert_eq!(read("", "GET"), Ok(Read::Whole(28)));
        assert_eq!(read("Content-Length: 2\r\n", "abGET"), Ok(Read::Whole(49)));
        assert_eq!(read("Content-Length: 2\r\n", "a"), Ok(Read::Unfinished));
        let te = "Transfer-Encoding: chunked\r\n";
        assert_eq!(read(te, "1 ;a=b\r\nx\r\n0\r\nA: b\r\n\r\nGET"), Ok(Read::Whole(78)));
        assert_eq!(read(te, "1\r\nx\r\n0\r\n"), Ok(Read::Unfinished));
        for fields in [
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            "Content-Length: +2\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Content_Length: 2\r\n",
            "Host: b\r\n",
            "A : b\r\n",
            "A: b\rc\r\n",
            "A: b\nc\r\n",
        ] {
            assert!(read(fields, "").is_err(), "{fields}");
        }
        for body in ["x\r\n", "1\nx\r\n", "1\r\nxy\r\n", "0\r\nA : b\r\n\r\n", "0\r\n\n"] {
            assert!(read(te, body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn answers_are_counted_to_the_end() {
        let one = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
        let interim = "HTTP/1.1 100 \r\n\r\n";
        let read = |text: String| {
            let answers = answers(text.as_bytes(), |_| false)?;
            Ok(answers.iter().map(|answer| (answer.status, answer.whole)).collect::<Vec<_>>())
        };
        let all = Ok(vec![(200, true), (100, true), (200, true)]);
        assert_eq!(read([one, interim, one].concat()), all);
        assert_eq!(read(one[..one.len() - 1].to_owned()), Ok(vec![(200, false)]));
        let bad: Result<Vec<(u16, bool)>, String> = read(format!("{one}x"));
        assert!(bad.is_err());
    }

    #[test]
    fn the_balancers_fields_are_taken_out_once() {
        let ours = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n";
        let with = |fields: &str| {
            without_ours(format!("GET / HTTP/1.1\r\nA: b\r\n{fields}\r\nx").as_bytes())
        };
        let bare = b"GET / HTTP/1.1\r\nA: b\r\n\r\nx".to_vec();
        assert_eq!(with(ours), Ok(bare));
        assert!(with("").is_err() && with(&ours.repeat(2)).is_err());
        assert!(with(&ours.replace("127.0.0.1", "1.2.3.4")).is_err());
    }
}

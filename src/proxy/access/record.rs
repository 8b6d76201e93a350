//! One record of the access log, a line in either of its two forms.

use std::io::{self, Write};

use percent_encoding::{AsciiSet, CONTROLS, PercentEncode, percent_encode};
use serde::Serialize;

use crate::cluster::config::AccessLogForm;

/// The facts of a request in the log. The names are those of both forms.
#[derive(Clone, Serialize)]
pub(super) struct Record<'a> {
    /// The time of its end, in UTC.
    pub(super) time: &'a str,
    /// The client: the address that connected, or the one that a trusted proxy names.
    pub(super) client: &'a str,
    /// `None` where no head could be read.
    pub(super) method: Option<&'a str>,
    pub(super) target: Option<&'a str>,
    /// `None` where the client left before an answer.
    pub(super) status: Option<u16>,
    /// Bytes of the answer's body, as it went to the client; of a tunnel, both ways together.
    pub(super) bytes: u64,
    /// The last node that was tried.
    pub(super) node: Option<&'a str>,
    /// The number of tries; a node that was tried twice counts twice.
    pub(super) attempts: u32,
    /// From the first bytes of the request to the last pick of a node.
    pub(super) wait_ms: Option<f64>,
    /// From there to a connection.
    pub(super) connect_ms: Option<f64>,
    /// From there to the head of the node's answer.
    pub(super) first_byte_ms: Option<f64>,
    /// From the first bytes of the request to the end.
    pub(super) total_ms: f64,
    /// The cause, if it did not end with a node's whole answer.
    pub(super) cause: Option<&'a str>,
    /// Its `X-Request-Id`, as nodes get it.
    pub(super) request_id: Option<&'a str>,
    /// The rule of HTTP that the request or its answer breaks; the key is there only with a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a str>,
}

impl Record<'_> {
    /// Appends it to `out`, with the end of the line.
    pub(super) fn append(&self, form: AccessLogForm, out: &mut Vec<u8>) {
        let written = match form {
            AccessLogForm::Json => serde_json::to_writer(&mut *out, self).map_err(io::Error::from),
            AccessLogForm::Text => self.append_text(out),
        };
        debug_assert!(written.is_ok(), "a vector takes everything");
        out.push(b'\n');
    }

    /// Appends its words in a fixed order; a missing one is `-`.
    fn append_text(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let [method, target, node, cause, id] =
            [self.method, self.target, self.node, self.cause, self.request_id].map(word);
        let status = Number(self.status);
        let [wait, connect, first] =
            [self.wait_ms, self.connect_ms, self.first_byte_ms].map(Number);
        let Self { time, client, bytes, attempts, total_ms, .. } = self;
        write!(
            out,
            "{time} {client} \"{method} {target}\" {status} {bytes} {node} attempts={attempts} \
             wait_ms={wait} connect_ms={connect} first_byte_ms={first} total_ms={total_ms} \
             cause={cause} request_id={id}"
        )?;
        match self.refusal {
            Some(refusal) => write!(out, " refusal={}", word(Some(refusal))),
            None => Ok(()),
        }
    }
}

/// The bytes that would end a word or the line: all but the visible characters of ASCII, and the quote.
const ENDS_A_WORD: &AsciiSet = &CONTROLS.add(b' ').add(b'"');

/// One word, whatever the client sent: bytes that could end it, or the line, are written as in a URI.
/// So a line can be split at its spaces and quotes, and no client can write one in another's name.
fn word(text: Option<&str>) -> PercentEncode<'_> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("-");
    percent_encode(text.as_bytes(), ENDS_A_WORD)
}

struct Number<T>(Option<T>);

impl<T: std::fmt::Display> std::fmt::Display for Number<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'_> = Record {
        time: "2026-01-02T03:04:05.678Z",
        client: "10.0.0.9",
        method: Some("GET"),
        target: Some("/a?b=c"),
        status: Some(200),
        bytes: 12,
        node: Some("ada"),
        attempts: 1,
        wait_ms: Some(0.021),
        connect_ms: Some(0.0),
        first_byte_ms: Some(1.5),
        total_ms: 100.0,
        cause: None,
        request_id: Some("00000000000000000000000000000007"),
        refusal: None,
    };

    /// Everything that may be missing is missing.
    const EMPTY: Record<'_> = Record {
        method: None,
        target: None,
        status: None,
        node: None,
        wait_ms: None,
        connect_ms: None,
        first_byte_ms: None,
        cause: Some("client_left"),
        request_id: None,
        bytes: 0,
        attempts: 0,
        ..RECORD
    };

    fn written(record: &Record<'_>, form: AccessLogForm) -> String {
        let mut out = Vec::new();
        record.append(form, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_of_text_has_its_words_in_a_fixed_order() {
        let text = |record| written(record, AccessLogForm::Text);
        assert_eq!(
            text(&RECORD),
            "2026-01-02T03:04:05.678Z 10.0.0.9 \"GET /a?b=c\" 200 12 ada attempts=1 wait_ms=0.021 \
             connect_ms=0 first_byte_ms=1.5 total_ms=100 cause=- \
             request_id=00000000000000000000000000000007\n"
        );
        assert_eq!(
            text(&EMPTY),
            "2026-01-02T03:04:05.678Z 10.0.0.9 \"- -\" - 0 - attempts=0 wait_ms=- connect_ms=- \
             first_byte_ms=- total_ms=100 cause=client_left request_id=-\n"
        );
    }

    #[test]
    fn a_line_of_json_has_every_name_with_null_for_what_is_missing() {
        let json = |record| -> serde_json::Value {
            serde_json::from_str(&written(record, AccessLogForm::Json)).unwrap()
        };
        let full = serde_json::json!({
            "time": "2026-01-02T03:04:05.678Z", "client": "10.0.0.9", "method": "GET",
            "target": "/a?b=c", "status": 200, "bytes": 12, "node": "ada", "attempts": 1,
            "wait_ms": 0.021, "connect_ms": 0.0, "first_byte_ms": 1.5, "total_ms": 100.0,
            "cause": null, "request_id": "00000000000000000000000000000007",
        });
        assert_eq!(json(&RECORD), full);
        let empty = json(&EMPTY);
        assert_eq!((empty["status"].is_null(), empty["node"].is_null()), (true, true));
        assert_eq!(empty.as_object().unwrap().len(), full.as_object().unwrap().len());
    }

    #[test]
    fn no_client_can_write_a_line_in_anothers_name() {
        let hostile = "/\" 200 0 ada\r\n10.0.0.1 \\ \u{e4}\u{2028}%22\u{7f}";
        let record = Record {
            method: Some("A\"B C"),
            target: Some(hostile),
            request_id: Some(""),
            ..RECORD
        };
        let text = written(&record, AccessLogForm::Text);
        let expected =
            "\"A%22B%20C /%22%20200%200%20ada%0D%0A10.0.0.1%20\\%20%C3%A4%E2%80%A8%22%7F\"";
        assert!(text.contains(expected) && text.ends_with(" request_id=-\n"), "{text}");
        assert_eq!((text.lines().count(), text.matches('"').count()), (1, 2));
        let json = written(&record, AccessLogForm::Json);
        assert_eq!(json.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["target"], hostile);
    }
}

//! The reasons to refuse a message, with the status and the words of the answer to each.

use std::fmt;

/// A reason to refuse a message. The fault is always the sender's. The connection is never used
/// again, because the start of the next message is unknown.
///
/// The text fits "refused: {refusal}".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The first byte belongs to a TLS handshake, on a port that speaks plain HTTP.
    Tls,
    /// The bytes are the whole preface of HTTP/2 (RFC 9113 3.4): no fault if the caller speaks
    /// HTTP/2.
    Http2,
    /// The request line is malformed (RFC 9112 3), or more than two empty lines came before it.
    BadRequestLine,
    /// The status line is malformed (RFC 9112 4), or its status is not 100 to 599 (RFC 9110 15).
    BadStatusLine,
    /// The version is neither 1.0 nor 1.1 (RFC 9110 15.6.6). A recipient may read a 1.2 as 1.1
    /// (RFC 9110 2.5), but there is no HTTP/1.2, so a sender that names it does not mean it.
    BadVersion,
    /// The target has none of the forms of RFC 9112 3.2, or it has a fragment or bytes beyond
    /// ASCII: then this is the first byte that is not allowed.
    BadTarget(Option<u8>),
    /// The target is longer than [`TARGET_BYTES_MAX`](crate::http1::limits::TARGET_BYTES_MAX).
    TargetTooLong,
    /// The method is CONNECT: this is a gateway, not a forward proxy (RFC 9110 9.3.6).
    Connect,
    /// The head is longer than [`HEAD_BYTES_MAX`](crate::http1::limits::HEAD_BYTES_MAX).
    HeadTooLong,
    /// There are more fields, or more connection options, than
    /// [`HEADERS_MAX`](crate::http1::limits::HEADERS_MAX).
    TooManyFields,
    /// A line of the head does not end in CR LF (RFC 9112 2.2).
    BadLineEnd,
    /// A field name has an illegal byte or a space before its colon, or a line is folded
    /// (RFC 9112 5.1, 5.2).
    BadFieldName,
    /// A field value has a control byte (RFC 9110 5.5).
    BadFieldValue,
    /// A request of HTTP/1.1 has no Host (RFC 9112 3.2).
    NoHost,
    /// There is more than one Host (RFC 9112 3.2).
    ManyHosts,
    /// Host is not a host with an optional port (RFC 9110 7.2). The first byte that is not allowed, if
    /// it is one.
    BadHost(Option<u8>),
    /// Content-Length is not a number, is too large, is a list, or stands there twice (RFC 9112
    /// 6.3).
    BadLength,
    /// There are both Transfer-Encoding and Content-Length (RFC 9112 6.3).
    LengthAndCoding,
    /// Transfer-Encoding is not exactly one `chunked`, or the version is 1.0 (RFC 9112 6.1).
    BadCoding,
    /// The expectation is not `100-continue` (RFC 9110 10.1.1).
    BadExpectation,
    /// A 101 does not name the protocol that it switches to (RFC 9110 15.2.2).
    BadSwitch,
    /// There are more than [`INTERIMS_MAX`](crate::http1::limits::INTERIMS_MAX) before an answer.
    TooManyInterims,
    /// The body is longer than the caller accepts (RFC 9110 15.5.14).
    BodyTooLong,
    /// A chunk line or the end of a chunk is malformed (RFC 9112 7.1).
    BadChunk,
    /// A trailer is malformed, or has a name that belongs in a head (RFC 9110 6.5.1).
    BadTrailer,
    /// Chunk extensions and trailers are out of proportion to the data (RFC 9112 7.1.1).
    TooMuchFraming,
    /// The connection ended before the body did (RFC 9112 8).
    Truncated,
}

impl Refusal {
    /// Returns the status of the answer to a refused request. For a refused response the client
    /// gets a 502 in every case.
    pub const fn status(self) -> u16 {
        match self {
            Self::Connect => 405,
            Self::BodyTooLong => 413,
            Self::TargetTooLong => 414,
            Self::BadExpectation => 417,
            Self::HeadTooLong | Self::TooManyFields => 431,
            Self::BadVersion | Self::Http2 => 505,
            _ => 400,
        }
    }

    /// Returns the reason in a few words, for the log and for the client.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Tls => "TLS on a port that speaks plain HTTP",
            Self::Http2 => "HTTP/2 where it is not spoken",
            Self::BadRequestLine => "malformed request line",
            Self::BadStatusLine => "malformed status line",
            Self::BadVersion => "unsupported HTTP version",
            Self::BadTarget(_) => "invalid request target",
            Self::TargetTooLong => "request target too long: more than 16 KiB",
            Self::Connect => "CONNECT is not offered",
            Self::HeadTooLong => "head too long: more than 64 KiB",
            Self::TooManyFields => "too many header fields: more than 100",
            Self::BadLineEnd => "line without CR LF",
            Self::BadFieldName => "illegal header field name",
            Self::BadFieldValue => "illegal header field value",
            Self::NoHost => "no Host",
            Self::ManyHosts => "more than one Host",
            Self::BadHost(_) => "invalid Host",
            Self::BadLength => "invalid Content-Length",
            Self::LengthAndCoding => "Content-Length with Transfer-Encoding",
            Self::BadCoding => "unsupported Transfer-Encoding",
            Self::BadExpectation => "unknown expectation",
            Self::BadSwitch => "101 for a protocol that was not offered",
            Self::TooManyInterims => "too many 1xx answers",
            Self::BodyTooLong => "request body too long",
            Self::BadChunk => "malformed chunk",
            Self::BadTrailer => "malformed or forbidden trailer",
            Self::TooMuchFraming => "too many chunk extensions or trailers",
            Self::Truncated => "body ended early",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Self::BadTarget(Some(byte)) | Self::BadHost(Some(byte)) if byte.is_ascii_graphic() => {
                write!(f, ": {} is not allowed", char::from(*byte))
            }
            Self::BadTarget(Some(byte)) | Self::BadHost(Some(byte)) => {
                write!(f, ": the byte 0x{byte:02x} is not allowed")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_that_a_client_can_mend_has_a_status_of_its_own() {
        assert_eq!(Refusal::TargetTooLong.status(), 414);
        assert_eq!(Refusal::HeadTooLong.status(), 431);
        assert_eq!(Refusal::BodyTooLong.status(), 413);
        assert_eq!(Refusal::BadVersion.status(), 505);
        assert_eq!(Refusal::BadExpectation.status(), 417);
        assert_eq!(Refusal::Connect.status(), 405);
        assert_eq!(Refusal::LengthAndCoding.status(), 400);
        let target = Refusal::BadTarget(Some(b'#')).to_string();
        assert_eq!(target, "invalid request target: # is not allowed");
        let host = Refusal::BadHost(Some(0xe9)).to_string();
        assert_eq!(host, "invalid Host: the byte 0xe9 is not allowed");
        assert_eq!(Refusal::Tls.to_string(), "TLS on a port that speaks plain HTTP");
    }
}

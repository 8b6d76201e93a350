//! Why a message is not taken, and what a client is told for it.

use std::fmt;

/// A cause for which a message is refused. The fault is always the sender's, and a connection on
/// which it happened is never used again: where the next message would begin is unknown.
///
/// The text fits "refused: {refusal}".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The first byte of a TLS handshake on a port that speaks plain HTTP.
    Tls,
    /// The whole preface of HTTP/2 (RFC 9113 3.4): not a fault where the caller speaks HTTP/2.
    Http2,
    /// The request line is none (RFC 9112 3), or more than two empty lines came before it.
    BadRequestLine,
    /// The status line is none (RFC 9112 4), or its status is not 100 to 599 (RFC 9110 15).
    BadStatusLine,
    /// A version other than 1.0 and 1.1 (RFC 9110 15.6.6). A 1.2 could be read as 1.1 (RFC 9110
    /// 2.5), but there is none: who says so does not mean it.
    BadVersion,
    /// The target has none of the forms of RFC 9112 3.2, or a fragment, or bytes beyond ASCII.
    BadTarget,
    /// The target is longer than [`TARGET_BYTES_MAX`](crate::http1::limits::TARGET_BYTES_MAX).
    TargetTooLong,
    /// CONNECT: this is a gateway, not a forward proxy (RFC 9110 9.3.6).
    Connect,
    /// The head is longer than [`HEAD_BYTES_MAX`](crate::http1::limits::HEAD_BYTES_MAX).
    HeadTooLong,
    /// More fields, or more connection options, than
    /// [`HEADERS_MAX`](crate::http1::limits::HEADERS_MAX).
    TooManyFields,
    /// A line of the head ends in anything but CR LF (RFC 9112 2.2).
    BadLineEnd,
    /// A field name with an illegal byte, a space before the colon, or a folded line
    /// (RFC 9112 5.1, 5.2).
    BadFieldName,
    /// A field value with a control byte (RFC 9110 5.5).
    BadFieldValue,
    /// HTTP/1.1 without Host (RFC 9112 3.2).
    NoHost,
    /// More than one Host (RFC 9112 3.2).
    ManyHosts,
    /// A Host that is no host with an optional port (RFC 9110 7.2).
    BadHost,
    /// Content-Length is no number, too large a one, a list, or there twice (RFC 9112 6.3).
    BadLength,
    /// Transfer-Encoding beside Content-Length (RFC 9112 6.3).
    LengthAndCoding,
    /// Transfer-Encoding is not one `chunked`, or came with HTTP/1.0 (RFC 9112 6.1).
    BadCoding,
    /// An expectation other than `100-continue` (RFC 9110 10.1.1).
    BadExpectation,
    /// A 101 that does not say what it switches to (RFC 9110 15.2.2).
    BadSwitch,
    /// The body is longer than the caller takes (RFC 9110 15.5.14).
    BodyTooLong,
    /// A chunk line or the end of a chunk is malformed (RFC 9112 7.1).
    BadChunk,
    /// A trailer is malformed, or has a name that belongs into a head (RFC 9110 6.5.1).
    BadTrailer,
    /// Chunk extensions and trailers out of proportion to the data (RFC 9112 7.1.1).
    TooMuchFraming,
    /// The connection ended before the body did (RFC 9112 8).
    Truncated,
}

impl Refusal {
    /// The status that tells a client so. A refused answer is a 502 whatever this says.
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

    /// The cause in a few words, for the log and for the client.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Tls => "TLS on a port that speaks plain HTTP",
            Self::Http2 => "HTTP/2 where it is not spoken",
            Self::BadRequestLine => "malformed request line",
            Self::BadStatusLine => "malformed status line",
            Self::BadVersion => "unsupported HTTP version",
            Self::BadTarget => "invalid request target",
            Self::TargetTooLong => "request target too long",
            Self::Connect => "CONNECT is not offered",
            Self::HeadTooLong => "head too long",
            Self::TooManyFields => "too many header fields",
            Self::BadLineEnd => "line without CR LF",
            Self::BadFieldName => "illegal header field name",
            Self::BadFieldValue => "illegal header field value",
            Self::NoHost => "no Host",
            Self::ManyHosts => "more than one Host",
            Self::BadHost => "invalid Host",
            Self::BadLength => "invalid Content-Length",
            Self::LengthAndCoding => "Content-Length with Transfer-Encoding",
            Self::BadCoding => "unsupported Transfer-Encoding",
            Self::BadExpectation => "unknown expectation",
            Self::BadSwitch => "101 without Upgrade",
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
        f.write_str(self.reason())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_learns_what_it_can_change() {
        assert_eq!(Refusal::TargetTooLong.status(), 414);
        assert_eq!(Refusal::HeadTooLong.status(), 431);
        assert_eq!(Refusal::BodyTooLong.status(), 413);
        assert_eq!(Refusal::BadVersion.status(), 505);
        assert_eq!(Refusal::BadExpectation.status(), 417);
        assert_eq!(Refusal::Connect.status(), 405);
        assert_eq!(Refusal::LengthAndCoding.status(), 400);
        assert_eq!(Refusal::Tls.to_string(), "TLS on a port that speaks plain HTTP");
    }
}

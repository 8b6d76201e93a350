//! The two properties that a request and a response share: the version and the framing.

/// The versions spoken here. What is sent on is always HTTP/1.1 (RFC 9112 2.3: an intermediary
/// sends its own version).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked body, no interim answer, persistence only where it is asked for.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// From the minor version as `httparse` gives it; it knows no other than 0 and 1.
    pub(super) const fn from_minor(minor: Option<u8>) -> Self {
        if matches!(minor, Some(1)) { Self::Http11 } else { Self::Http10 }
    }
}

/// How long a body is (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// This many bytes; also 0, where a `Content-Length` said so.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// Until the connection ends. Answers only.
    Close,
}

impl Framing {
    /// Whether no byte follows the head.
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

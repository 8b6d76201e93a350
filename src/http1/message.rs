//! The two properties that a request and a response share: the version and the framing.

/// The versions that the codec reads. It always writes HTTP/1.1: an intermediary sends its own
/// version (RFC 9112 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked body, no interim answer, and persistence only if the sender asks for
    /// it.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// Converts the minor version that `httparse` returns, which is 0 or 1.
    pub(super) const fn from_minor(minor: Option<u8>) -> Self {
        if matches!(minor, Some(1)) { Self::Http11 } else { Self::Http10 }
    }
}

/// The length of a body (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// The body has this many bytes; 0 if a `Content-Length` has that value.
    Length(u64),
    /// The body consists of chunks, then trailers.
    Chunked,
    /// The body ends with the connection. Only a response has this framing.
    Close,
}

impl Framing {
    /// Returns true if no byte of a body follows the head.
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

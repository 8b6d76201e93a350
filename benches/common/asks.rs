//! The requests of a client.

use serde::{Deserialize, Serialize};

/// A request that every client repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Asks {
    /// A GET of this many bytes, over a kept connection.
    Get(Size),
    /// A GET of 13 bytes, each over a new connection.
    Anew,
    /// A POST of 64 KiB, over a kept connection; the answer has 13 bytes.
    Post,
    /// A message through a WebSocket and its echo.
    Echo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Size {
    Bytes13,
    KiB64,
    MiB1,
}

impl Asks {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Get(Size::KiB64) => "/64kib",
            Self::Get(Size::MiB1) => "/1mib",
            _ => "/",
        }
    }
}

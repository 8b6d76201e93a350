//! The bounds of the codec. A message beyond one is refused before any of it goes on.

/// The longest request or response head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The longest request target.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// The most header fields of a head.
pub const HEADERS_MAX: usize = 100;

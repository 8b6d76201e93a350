//! The bounds of the codec. A message beyond one is refused before any of it goes on.

/// The longest request or response head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The longest request target.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// The most header fields of a head.
pub const HEADERS_MAX: usize = 100;

/// The longest body that may be announced: what a signed number of 64 bits holds, because that is
/// what many recipients count in. A larger one would be negative to them, or cut (RFC 9112 6.3 and
/// 7.1 warn of the overflow); nobody has 8 EiB to send.
pub(super) const BODY_BYTES_MAX: u64 = i64::MAX.unsigned_abs();

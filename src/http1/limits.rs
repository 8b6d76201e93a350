//! The bounds of the codec. It refuses a head beyond them before any of it is forwarded, and a body
//! before the bytes beyond them are.

/// The longest request or response head in bytes, its last empty line included.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The longest request target in bytes.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// The most header fields of a head.
pub const HEADERS_MAX: usize = 100;

/// The most 1xx before an answer. Each begins the wait for the answer anew, because that is what a
/// 102 is for; without a bound a node could go on for ever and never answer.
pub const INTERIMS_MAX: u32 = 100;

/// The longest body that a sender may announce, in bytes: the largest signed number of 64 bits,
/// because many recipients count in one. They would take a larger length for a negative one, or cut
/// it (RFC 9112 6.3 and 7.1 warn of the overflow); nobody has 8 EiB to send.
pub(super) const BODY_BYTES_MAX: u64 = i64::MAX.unsigned_abs();

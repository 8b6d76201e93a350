//! HTTP/1 without I/O: bytes in, heads and framing out. Strict: what two recipients could read in
//! two ways is refused, never repaired (RFC 9112 11.1, 11.2). No socket, no clock, and nothing is
//! allocated but what the caller's own output buffer needs.
//!
//! [`parse_request`] and [`parse_response`] read a head in place, [`Body`] follows the framing
//! behind it, the `append_` functions write what goes on. Which fields are added, what is
//! retried and what a client is told is `proxy`'s business.

mod body;
mod chunked;
mod fields;
mod grammar;
mod head;
pub mod limits;
mod message;
mod refusal;
mod request;
mod response;
mod semantics;
mod target;
mod trailer;
mod write;

pub use body::{Advance, Body};
pub use fields::{Field, Fields};
pub use head::Slots;
pub use message::{Framing, Version};
pub use refusal::Refusal;
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use write::{
    append_chunk_size, append_field, append_number, append_request_line, append_status_line,
};

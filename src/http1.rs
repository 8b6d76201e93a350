//! HTTP/1 without I/O: bytes in, heads and framing out. The codec is strict: it refuses a message
//! that two recipients could read in two ways, and never repairs one (RFC 9112 11.1, 11.2). It
//! knows no socket and no clock, and allocates nothing but the space that the caller's output
//! buffer needs.
//!
//! [`parse_request`] and [`parse_response`] read a head in place, [`Body`] follows the framing
//! behind it, and the `append_` functions write the head that is forwarded. The room `proxy`
//! decides which fields are added, which request is sent again, and which answer a client gets.

mod body;
mod chunked;
mod fields;
mod grammar;
mod head;
pub mod limits;
mod login;
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
pub use login::is_bound_login;
pub use message::{Framing, Version};
pub use refusal::Refusal;
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use write::{
    append_chunk_size, append_field, append_number, append_request_line, append_status_line,
};

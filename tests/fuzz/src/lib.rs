//! The rules of the HTTP/1 codec for any bytes, one function for each fuzz target.
//!
//! The functions panic where a rule is broken. The fuzzer calls them with bytes of its own making,
//! and the integration tests call them with the bytes in `corpus`.

pub mod chunked;
pub mod differential;
pub mod request;
pub mod response;

mod hyper_view;
mod pieces;
mod said;

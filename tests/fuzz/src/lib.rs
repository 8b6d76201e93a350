//! What must hold of the HTTP/1 codec for any bytes whatever, one function a fuzz target.
//!
//! They panic where it does not. The fuzzer calls them with bytes of its own making, and the
//! integration tests with those that are kept in `corpus`.

pub mod chunked;
pub mod differential;
pub mod request;
pub mod response;

mod hyper_view;
mod pieces;
mod said;

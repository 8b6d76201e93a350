//! The properties of the HTTP/1 codec that hold for any bytes, in one function for each fuzz
//! target.
//!
//! A function panics if a property does not hold. The fuzzer calls it with bytes that it makes, and
//! the integration tests call it with the bytes that are kept in `corpus`.

pub mod chunked;
pub mod differential;
pub mod request;
pub mod response;

mod hyper_view;
mod pieces;
mod owned;

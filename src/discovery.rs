//! How nodes are found.
pub mod mdns;

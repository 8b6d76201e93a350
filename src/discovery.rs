//! The discovery line.

pub mod membership;

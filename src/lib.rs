//! picluster: a few Raspberry Pis, one web address, nothing configured by hand.

// Floor 1, words: plain types and rules; no tokio, no clock, no I/O.
pub mod config;
pub mod health;
pub mod node;
// Floor 2, views: what the request path reads.
pub mod pool;
// Floor 4, lines.
pub mod discovery;

//! picluster: a few Raspberry Pis, one web address, nothing configured by hand.

// Floor 1, words: plain types and rules; no tokio, no clock, no I/O.
pub mod config;
pub mod h1;
pub mod health;
pub mod node;
pub mod retry;
// Floor 2, views: what the request path reads.
pub mod picker;
pub mod pool;
// Floor 3, edges: the outside world.
pub mod server;
// Floor 4, lines.
pub mod proxy;

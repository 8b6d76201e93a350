//! picluster: a few Raspberry Pis, one web address, nothing configured by hand.

// Floor 1, words: plain types and rules; no tokio, no clock, no I/O.
pub mod badge;
pub mod config;
pub mod h1;
pub mod health;
pub mod html;
pub mod node;
pub mod retry;
// Floor 2, views: what the request path reads.
pub mod picker;
pub mod pool;
// Floor 3, edges: the outside world, one file a kind.
pub mod identity;
pub mod listen;
pub mod server;
pub mod shutdown;
// Floor 4, lines: discovery, the data path, and the page that shows both.
pub mod dashboard;
pub mod discovery;
pub mod proxy;
// Floor 5, programs: one file a subcommand, named as typed.
pub mod cli;
pub mod demo;
pub mod lb;
pub mod web;

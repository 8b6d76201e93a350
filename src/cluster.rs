//! The cluster as plain values: nodes and their health, the routes of requests, the rules for
//! sending again, and the published view in which the two lines meet.
//!
//! Nothing here opens a socket or reads the clock: time and chance are arguments.

pub mod api;
pub mod balance;
pub mod config;
pub mod counts;
pub mod health;
pub mod hop;
pub mod node;
pub mod pi;
pub mod picker;
pub mod pool;
pub mod protocol;
pub mod retry;
pub mod route;

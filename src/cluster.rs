//! The words of a cluster: what a node is, how it is doing, which requests it takes, what may be sent
//! again, and the published view in which the two lines meet.

pub mod api;
pub mod balance;
pub mod config;
pub mod counts;
pub mod health;
pub mod node;
pub mod pi;
pub mod picker;
pub mod pool;
pub mod protocol;
pub mod retry;
pub mod route;

//! The integration tests: real processes in network namespaces, and whole clusters in one process.

mod lab;

mod harness;
mod hostile;
mod joins;
mod losses;
mod neighbours;
mod slow;

//! The integration tests: real processes in network namespaces, and whole clusters in one process.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod lab;

mod allocations;
mod apps;
mod bad_input;
mod board;
mod boot;
mod cli;
mod closing;
mod commands;
mod corpus;
mod data_line;
mod demo;
mod faults;
mod floors;
mod fuzz_corpus;

mod harness;
mod hostile;
mod joins;
mod losses;
mod metrics;
mod neighbours;
mod page;
mod real_servers;
mod release;
mod routes;
mod sample;
mod service;
mod simulation;
mod slow;
mod web;

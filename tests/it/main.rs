//! The integration tests: one binary, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod cli;
mod simulation;
mod web;

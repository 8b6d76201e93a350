//! The one integration binary: whole programs in one process.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod web;

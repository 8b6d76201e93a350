//! The reports of the program on itself: numbers and their exposition, the log, the journal of
//! events. Its callers bring every word and cause: it knows nothing of nodes or requests.

pub mod counters;
#[cfg(test)]
pub(crate) mod documented;
pub mod exposition;
pub mod histogram;
pub mod journal;
pub mod log;
pub mod writer;

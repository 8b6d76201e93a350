//! How the program reports on itself: numbers and their exposition, the log, the journal of events.
//! It is given every word and cause, and knows nothing of nodes or requests.

pub mod counters;
#[cfg(test)]
pub(crate) mod documented;
pub mod exposition;
pub mod histogram;
pub mod journal;
pub mod log;
pub mod writer;

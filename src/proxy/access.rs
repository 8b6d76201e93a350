//! The access log: one line a request, written without ever holding a worker back.

mod entry;
mod line;
mod log;

pub use self::log::{AccessLog, Writer};
pub(crate) use self::log::LogBuffer;
pub(crate) use self::entry::{CLIENT_LEFT, LogEntry};

#[cfg(test)]
mod tests;

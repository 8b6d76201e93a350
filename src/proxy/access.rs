//! The access log: one line a request, written without ever holding a worker back.

mod entry;
mod log;
mod record;

pub(crate) use self::entry::{CLIENT_LEFT, LogEntry};
pub(crate) use self::log::LogBuffer;
pub use self::log::{AccessLog, Writer};

#[cfg(test)]
mod tests;

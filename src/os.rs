//! The machine and the system around the program, a file each: what it is, what it allows, what it asks.

pub mod board;
pub mod identity;
pub mod listen;
pub mod process;
pub mod shutdown;
pub mod systemd;
pub mod terminal;

//! The machine and the system around the program: identity, board, sockets, signals, terminal and
//! service manager, a file each.

pub mod board;
pub mod identity;
pub mod listen;
pub mod process;
pub mod shutdown;
pub mod systemd;
pub mod terminal;

//! An application of this machine: watched, started and ended if it is a command, and fronted if requests
//! go through this node.
//!
//! Its health is checked from here, over loopback where that is possible. Unless the node stands in front
//! of it, requests go to it directly and this module sees none of them.

mod address;
mod application;
mod command;
mod front;
mod state;

pub(super) use self::application::App;
pub use self::command::guard::guard;
pub(super) use self::command::{Command, free_port};
pub(super) use self::front::pass_on;

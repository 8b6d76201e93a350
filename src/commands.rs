//! The commands that look at a cluster or play one, each in a file named as it is typed.

pub mod ask;
pub mod demo;
pub mod drain;
pub mod nodes;
pub mod status;
pub mod survey;

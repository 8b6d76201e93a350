//! The parts of which every page is made.

pub mod badge;
pub mod html;

//! The common parts of all HTML pages: the document with its escaping, and the badge of a node.

pub mod badge;
pub mod html;

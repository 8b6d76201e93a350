//! From raw flags and the environment to checked configurations, a file for each role and one for the
//! commands that are typed.

mod lb;
mod serves;
mod sources;
mod typed;
mod web;

pub(super) use self::lb::lb;
pub(super) use self::typed::{demo, drain, nodes, status};
pub(super) use self::web::web;

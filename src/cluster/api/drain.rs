//! The answer to a drain or an undrain, from a node or from a balancer.

use serde::{Deserialize, Serialize};

use super::schema::Schema;

/// The answer as it is written.
#[derive(Debug, Serialize)]
pub struct DrainReport<'a> {
    /// Always the same.
    pub schema: Schema,
    /// The node's id.
    pub id: &'a str,
    /// The node's name.
    pub name: &'a str,
    /// Its state from now on: from a node a word of
    /// [`ReportedState`](crate::cluster::protocol::ReportedState), from a balancer one of
    /// [`Health`](crate::cluster::health::Health).
    pub state: &'static str,
    /// The reason of the state, as a sentence. A node gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
}

/// The part of the answer that `picluster drain` reads.
#[derive(Clone, Debug, Deserialize)]
pub struct DrainView {
    /// The node's name.
    pub name: String,
    /// Its state from now on.
    pub state: String,
    /// The reason of the state; empty where there is none.
    #[serde(default)]
    pub why: String,
}

//! The documents in which a node describes itself: its health, and its facts.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};

use super::schema::Schema;
use crate::cluster::pi::Pi;

/// The health document as a node writes it.
#[derive(Debug, Serialize)]
pub struct HealthReport<'a> {
    /// Always the same.
    pub schema: Schema,
    /// The node's id.
    pub id: &'a str,
    /// The node's name.
    pub name: &'a str,
    /// The node's present start, as 16 hexadecimal digits.
    pub boot: String,
    /// A word of [`ReportedState`](crate::cluster::protocol::ReportedState).
    pub state: &'static str,
    /// The node's cluster.
    pub cluster: &'a str,
    /// Why the application is down; absent while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The application that is down answers requests even so, with errors; absent while it is not
    /// down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<bool>,
    /// The state of the board.
    pub pi: Pi,
    /// The nonce of the question, if it had a legal one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// The health document as a balancer reads it. It borrows from the body, because a balancer reads one
/// a second of each node. The texts are as they came: the reader bounds them.
#[derive(Debug, Deserialize)]
pub struct HealthView<'a> {
    /// Another schema is no health document.
    pub schema: Schema,
    /// The node's id, not checked yet.
    pub id: &'a str,
    /// The node's name, not checked yet.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The node's present start, not checked yet.
    pub boot: &'a str,
    /// A word of [`ReportedState`](crate::cluster::protocol::ReportedState), if it is one.
    pub state: &'a str,
    /// Why the application is down, where it is.
    #[serde(borrow)]
    pub why: Option<Cow<'a, str>>,
    /// The application that is down answers requests even so, with errors.
    #[serde(default)]
    pub answers: bool,
    /// Absent where a node does not report it; its advertisement did.
    #[serde(borrow)]
    pub cluster: Option<Cow<'a, str>>,
    /// Absent where a node does not report it, or where it cannot be read. Within bounds.
    #[serde(default, deserialize_with = "lenient")]
    pub pi: Option<Pi>,
}

/// The state of a node's board does not decide whether the node is well, so what cannot be read of it
/// is unknown and no error.
fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Pi>, D::Error> {
    Ok(Pi::deserialize(serde_json::Value::deserialize(from)?).ok().map(Pi::checked))
}

/// All that a node knows of itself and its machine at one moment. Its page shows it, and it is the answer
/// to `Accept: application/json`. An unknown fact is `null`, never guessed.
#[derive(Debug, Serialize)]
pub struct FactsReport {
    /// Always the same.
    pub schema: Schema,
    /// The node's id.
    pub id: String,
    /// The node's name.
    pub name: String,
    /// The machine's name.
    pub hostname: String,
    /// The node's present start, as 16 hexadecimal digits.
    pub boot: String,
    /// The board, like `Raspberry Pi 4 Model B Rev 1.4`.
    pub model: Option<String>,
    /// The address of this machine at which this request arrived.
    pub address: Option<SocketAddr>,
    /// Seconds since the machine started.
    pub uptime_s: Option<u64>,
    /// Seconds since the node started.
    pub serving_s: u64,
    /// The hottest sensor of the processor, in degrees Celsius.
    pub temperature_c: Option<f32>,
    /// The state of the supply.
    pub power: Option<Power>,
    /// Requests answered since the node started, this one included.
    pub requests: u64,
    /// The balancer this request came through.
    pub via: Option<String>,
}

/// The supply, as the firmware reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// No fault since the machine started.
    Good,
    /// Under-voltage at some time since the machine started.
    WasLow,
    /// Under-voltage now.
    Low,
}

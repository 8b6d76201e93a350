//! `/api/v1/nodes` and `/api/v1/events`: the nodes of a cluster, as its balancer writes them and as the
//! commands read them.

use serde::{Deserialize, Serialize, Serializer};

use super::schema::Schema;
use crate::cluster::health::Health;
use crate::cluster::pi::Pi;

/// All nodes, and what is counted of all together, as a balancer writes it.
#[derive(Debug, Serialize)]
pub struct ClusterReport {
    /// Always the same.
    pub schema: Schema,
    /// The cluster's name.
    pub cluster: String,
    /// Seconds since the balancer started.
    pub uptime_s: u64,
    /// Answers begun since then, by all nodes that are or were here.
    pub requests_served: u64,
    /// Requests that clients saw fail since then.
    pub requests_failed: u64,
    /// The nodes, by name.
    pub nodes: Vec<NodeReport>,
    /// The routes, with the service of each.
    pub routes: Vec<RouteReport>,
    /// The routes that a service names and does not get.
    pub conflicts: Vec<ConflictReport>,
}

/// The same with the newest lines of the journal: one event of `/api/v1/events`.
#[derive(Debug, Serialize)]
pub struct LiveReport {
    /// The cluster as it is now.
    #[serde(flatten)]
    pub cluster: ClusterReport,
    /// The newest lines, the oldest of them first.
    pub journal: Vec<JournalLine>,
}

/// A route and its service.
#[derive(Debug, Serialize)]
pub struct RouteReport {
    /// The host; `null` is any.
    pub host: Option<String>,
    /// The path: requests for it and below it.
    pub path: String,
    /// The service that takes them.
    pub service: String,
}

/// A route that a service names and does not get.
#[derive(Debug, Serialize)]
pub struct ConflictReport {
    /// The host; `null` is any.
    pub host: Option<String>,
    /// The path.
    pub path: String,
    /// The service that does not get it.
    pub service: String,
    /// The service that has it.
    pub kept_by: String,
    /// The same as a sentence, for the page.
    pub text: String,
}

/// One node, as a balancer writes it.
#[derive(Debug, Serialize)]
pub struct NodeReport {
    /// Its id.
    pub id: String,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its machine's name.
    pub hostname: String,
    /// The address that takes its requests.
    pub endpoint: String,
    /// Its state, as the balancer judges it.
    #[serde(serialize_with = "health_word")]
    pub state: Health,
    /// The reason of the state, as a sentence.
    pub why: String,
    /// Seconds in this state, to the tenth.
    pub since_s: f64,
    /// It is still announced.
    pub advertised: bool,
    /// A word of [`Source`](crate::cluster::node::Source).
    pub source: &'static str,
    /// Attempts under way.
    pub inflight: u32,
    /// Answers begun since it joined.
    pub requests: u64,
    /// Attempts without a whole answer since it joined.
    pub failures: u64,
    /// The part of the rotation that it gets; 1 is that of an ordinary node.
    pub weight: f64,
    /// Its service.
    pub service: String,
    /// The hosts whose requests it takes; none is any.
    pub hosts: Vec<String>,
    /// The path at and below which it takes requests.
    pub path: String,
    /// Service, hosts and path in words; absent where all are the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serves: Option<String>,
    /// Why it has less than its share; absent where it has all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_why: Option<String>,
    /// Answers a second.
    pub rate: f64,
    /// Its part of all answers of the last 10 s, 0 to 1; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// The time in milliseconds within which half of its answers of the last 10 s began; absent if
    /// there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// The same of 99 in a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Its last minute.
    pub beats: Beats,
    /// The state of its board, as it reported it; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pi: Option<Pi>,
    /// The board in words, in the order in which they are shown.
    pub board: Vec<BoardNote>,
}

fn health_word<S: Serializer>(state: &Health, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(state.as_str())
}

/// A few words about a board.
#[derive(Debug, PartialEq, Serialize)]
pub struct BoardNote {
    /// The words.
    pub text: String,
    /// The severity of what they report.
    pub level: Severity,
}

/// The severity of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// In order, or unknown.
    Plain,
    /// Somebody should look at it.
    Warn,
    /// It costs performance now.
    Bad,
}

impl Severity {
    /// The word of the API, which is also the class on the page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// The last seconds of a node, the newest last; at most a minute. In JSON one letter a second.
#[derive(Clone, Debug, Default)]
pub struct Beats(pub Vec<Beat>);

impl Serialize for Beats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let letters: String = self.0.iter().map(|beat| beat.letter()).collect();
        to.serialize_str(&letters)
    }
}

/// One second of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Requests came, and all were answered.
    Answered,
    /// An attempt failed, whatever else came.
    Failed,
    /// No request came, though the node was up.
    Idle,
    /// No request came, because the node was not up.
    Out,
}

impl Beat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::Idle, Self::Out];

    /// The letter of the API, which is also the class on the page.
    pub fn letter(self) -> char {
        match self {
            Self::Answered => 'a',
            Self::Failed => 'f',
            Self::Idle => 'i',
            Self::Out => 'o',
        }
    }
}

/// A line of the journal.
#[derive(Debug, Serialize)]
pub struct JournalLine {
    /// Counts up from 1, without a gap.
    pub number: u64,
    /// Seconds since 1970.
    pub at: u64,
    /// Seconds from then to now.
    pub ago_s: u64,
    /// The node's name.
    pub node: String,
    /// The event, as a short fragment.
    pub what: &'static str,
    /// The reason, or the place; may be empty.
    pub detail: String,
    /// Somebody should look at it.
    pub warning: bool,
}

/// The nodes of a cluster, as the commands read them from a balancer, or fill them from a table of
/// their own; then `picluster nodes --json` writes it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClusterView {
    /// Another schema is no such document.
    pub schema: Schema,
    /// The cluster's name.
    pub cluster: String,
    /// Its nodes, by name.
    pub nodes: Vec<NodeView>,
    /// The routes that a service names and does not get.
    #[serde(default)]
    pub conflicts: Vec<ConflictView>,
}

impl ClusterView {
    /// The number of nodes that take requests.
    pub fn nodes_up(&self) -> usize {
        self.nodes.iter().filter(|node| node.is_up()).count()
    }
}

/// A route that a service names and does not get.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConflictView {
    /// As a sentence.
    pub text: String,
}

/// One node, as the commands read it. Every key may be absent; then the value is empty or `None`. The
/// keys that are not here are not passed on: the commands print only what they have bounded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its machine's name.
    pub hostname: String,
    /// The address that takes its requests.
    pub endpoint: String,
    /// A word of [`Health`], or one of a later version.
    pub state: String,
    /// The reason of the state, as a sentence.
    pub why: String,
    /// Seconds in this state.
    pub since_s: Option<f64>,
    /// It is still announced.
    pub advertised: bool,
    /// A word of [`Source`](crate::cluster::node::Source).
    pub source: String,
    /// Attempts under way.
    pub inflight: Option<u32>,
    /// Answers begun.
    pub requests: Option<u64>,
    /// Attempts without a whole answer.
    pub failures: Option<u64>,
    /// The part of the rotation that it gets; 1 is that of an ordinary node.
    pub weight: Option<f64>,
    /// Its service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The hosts whose requests it takes; none is any.
    pub hosts: Vec<String>,
    /// The path at and below which it takes requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it has less than its share, where that is not in `why`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_why: Option<String>,
    /// Answers a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Its part of all answers of the last 10 s, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// The state of its board.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pi: Option<Pi>,
}

impl NodeView {
    /// True if it takes requests.
    pub fn is_up(&self) -> bool {
        self.state == Health::Up.as_str()
    }
}

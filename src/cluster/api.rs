//! The JSON documents that picluster programs and their users exchange: plain data with the keys, their
//! order and what is left out. The admin port, a node and the commands fill them; this room knows
//! neither a pool nor a server.
//!
//! A `Report` is written, a `View` is read. They are two types because a reader must accept what a
//! writer never writes: a document of an older or a newer version, in which keys are missing or
//! unknown. A reader also passes on only what it knows and has bounded.

mod counts;
mod drain;
mod node;
mod nodes;
mod schema;
mod status;

pub use self::counts::{CountedView, CountsReport, CountsView};
pub use self::drain::{DrainReport, DrainView};
pub use self::node::{FactsReport, HealthReport, HealthView, Power};
pub use self::nodes::{
    Beat, Beats, BoardNote, ClusterReport, ClusterView, ConflictReport, ConflictView, JournalLine,
    LiveReport, NodeReport, NodeView, RouteReport, Severity,
};
pub use self::schema::Schema;
pub use self::status::{ClusterStatus, StatusReport};

//! `/api/v1/counts`: everything out of the ordinary that a balancer counts.

use serde::{Deserialize, Serialize};

use super::schema::Schema;
use crate::cluster::counts::Counts;

/// The document as a balancer writes it.
#[derive(Debug, Serialize)]
pub struct CountsReport<'a> {
    /// Always the same.
    pub schema: Schema,
    /// All counts since the balancer started, by cause.
    pub counts: &'a Counts,
}

/// The part of the document that `picluster status` reads.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct CountsView {
    /// The counts.
    pub counts: CountedView,
}

/// The counts that are read.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct CountedView {
    /// Requests that clients saw fail since the balancer started.
    pub requests_failed: u64,
}

//! The questions to one balancer, over its admin port.

use std::net::SocketAddr;

use super::document::Document;
use crate::cluster::api::CountsView;
use crate::cluster::protocol::{COUNTS_PATH, NODES_PATH};
use crate::commands::ask::{self, Unanswered};

/// The nodes that a balancer knows.
///
/// # Errors
/// No answer came within a second, or it was not the document of a balancer.
pub(crate) async fn nodes(admin: SocketAddr) -> Result<Document, Unanswered> {
    let answer = ask::get(admin, NODES_PATH).await?;
    let stranger = || Unanswered::Broken("it answers, but not as a balancer".to_owned());
    Document::read(&answer.body).ok_or_else(stranger)
}

/// The number of requests that clients saw fail, as a balancer counts them since it started; `None` if
/// it does not answer.
pub(crate) async fn failed_requests(admin: SocketAddr) -> Option<u64> {
    let answer = ask::get(admin, COUNTS_PATH).await.ok()?;
    serde_json::from_slice::<CountsView>(&answer.body).ok().map(|view| view.counts.requests_failed)
}

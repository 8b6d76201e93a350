//! The reports of an attempt on its node: to the node's counters, to the table, and to the worker's
//! kept connections.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::cluster::health::Outcome;
use crate::cluster::node::Node;
use crate::cluster::pool::Member;
use crate::cluster::retry::{Failure, Reach};
use crate::proxy::disposition::NodeConnection;
use crate::proxy::downstream::Relayed;
use crate::proxy::request::Timing;
use crate::proxy::shared::Shared;

/// The head of an answer came from this member.
pub(super) fn head_came(shared: &Shared, member: &Member, status: u16) {
    if let Some(outcome) = member.note_head(status) {
        shared.report(member.epoch, outcome);
    }
}

/// Counts an answer that begins, and records the time since its request came. The member's expected
/// time takes it in only if nothing but this member was waited for.
pub(super) fn answer_begins(
    shared: &Shared,
    member: &Member,
    status: u16,
    came: Instant,
    timing: Timing,
) {
    let now = Instant::now();
    let (at, took) = (now - shared.settings.started, now - came);
    member.count_answer(status, at, took);
    if timing == Timing::NodeAlone {
        member.feed_ewma(at, took);
    }
}

/// After a whole answer: keeps the node's connection if it can take another request. Returns it if that
/// must be one of the same client.
pub(super) fn answered(
    shared: &Shared,
    member: &Member,
    node: TcpStream,
    relayed: &Relayed,
) -> Option<TcpStream> {
    member.note_end(relayed.status);
    match relayed.node {
        NodeConnection::Reusable => shared.idle.put(member.epoch, node),
        NodeConnection::Pinned => return Some(node),
        NodeConnection::Ends => {}
        NodeConnection::Drains => shared.report(member.epoch, Outcome::Draining),
    }
    None
}

/// After an answer that broke off: nothing can be sent again, but it is the node's failure.
pub(super) fn answer_cut(shared: &Shared, member: &Member, failure: Failure) {
    let cause = failure.as_str();
    shared.settings.counts.requests_failed.add();
    shared.settings.counts.answers_cut.add(cause);
    failed(shared, member, failure, Reach::Answered);
    debug!(node = member.node.name, cause, "an answer broke off");
}

/// A request failed here, or its answer did. A node to which no byte was written did not have its
/// chance, so that failure is not counted among its own.
pub(super) fn failed(shared: &Shared, member: &Member, failure: Failure, reach: Reach) {
    member.counters.failures.fetch_add(1, Ordering::Relaxed);
    if let Failure::BadAnswer(refusal) = failure
        && member.note_refusal(refusal.reason())
    {
        let Node { name, endpoint, .. } = &member.node;
        warn!(node = name, %endpoint, %refusal, "refused an answer that is not valid HTTP");
    }
    shared.report(member.epoch, outcome(failure));
    shared.idle.purge(member.epoch);
    let its_own = matches!(failure, Failure::Died | Failure::BadAnswer(_) | Failure::AnswerTimeout);
    if its_own
        && reach != Reach::Unsent
        && let Some(outcome) = member.note_break()
    {
        shared.report(member.epoch, outcome);
    }
}

/// The outcome that a failed attempt is for its node.
fn outcome(failure: Failure) -> Outcome {
    match failure {
        Failure::Refused => Outcome::Refused,
        Failure::Died => Outcome::Broken,
        Failure::BadAnswer(refusal) => Outcome::Invalid(refusal),
        Failure::Unreachable
        | Failure::ConnectTimeout
        | Failure::Vanished
        | Failure::AnswerTimeout => Outcome::Silent,
    }
}

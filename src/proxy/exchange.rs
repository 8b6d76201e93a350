//! One request until it is answered: picks a node, sends to it, gives its answer to the client, or
//! tries again. It knows no protocol: see [`Downstream`].

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::config::Limits;
use crate::cluster::pool::{Member, Pool};
use crate::cluster::retry::{
    self, Attempt, Failure, Reach, Reason, RetryPolicy, Suspicion, Verdict,
};
use crate::proxy::access::CLIENT_LEFT;
use crate::proxy::acquire::{Acquired, NotAcquired, acquire};
use crate::proxy::disposition::Disposition;
use crate::proxy::downstream::{AttemptError, Downstream};
use crate::proxy::pinned::Pinned;
use crate::proxy::reject::Reject;
use crate::proxy::request::{Request, RetryState, Timing};
use crate::proxy::shared::Shared;
use crate::proxy::{hold, outcome};

/// Two nodes may have died of a request. If within this time all others fall that never saw it, or
/// did so shortly before, it was not the request: something killed them all. That one of them falls
/// would not do, because requests of death come in pairs.
const CLEARED_WITHIN: Duration = Duration::from_millis(250);

/// The pause of a replay before it asks the budget again.
const BUDGET_PAUSE: Duration = Duration::from_millis(25);

/// The bytes that a request may allocate to be run: the most that the allocator takes from its fastest
/// list (glibc's per-thread cache). 24 bytes more cost a request 2 % of its instructions.
const EXCHANGE_BYTES_MAX: usize = 1032;

/// Serves one request. Its future is the one thing that a request allocates; in place it would make
/// every idle connection as much larger. Rare steps are boxed where they are awaited, so that
/// they take no room in that future.
pub(super) fn exchange<'a, D: Downstream>(
    shared: &'a Shared,
    downstream: &'a mut D,
    mut request: Request,
) -> Pin<Box<impl Future<Output = Disposition> + 'a>> {
    // Not an async fn, which would hold twice what it takes by value.
    let exchange = async move {
        let _active = shared.count_active();
        let pinned = downstream.take_pinned(&request);
        let mut retries = RetryState { pinned, ..RetryState::default() };
        loop {
            // A block, so that its variables take no room while the answer is awaited.
            let Acquired { stream: mut node, pick, reused } = {
                let acquired = tokio::select! {
                    biased;
                    acquired = acquire(shared, &mut request, &mut retries) => acquired,
                    () = downstream.gone() => Err(NotAcquired::ClientLeft),
                };
                match acquired {
                    Ok(acquired) => acquired,
                    Err(why) => {
                        let end = without_node(shared, downstream, &mut request, &mut retries, why);
                        match Box::pin(end).await {
                            ControlFlow::Continue(()) => continue,
                            ControlFlow::Break(disposition) => return disposition,
                        }
                    }
                }
            };
            begin_attempt(shared, &mut request, &mut retries, pick.member());
            let error = match downstream.relay(shared, &mut request, &mut node, pick.member()).await
            {
                Ok(relayed) => {
                    request.entry.end(None);
                    let member = pick.member();
                    return match outcome::answered(shared, member, node, &relayed) {
                        None => relayed.downstream,
                        Some(node) => {
                            let pinned = retries.pinned.take();
                            downstream.pin(Pinned::again(shared, pinned, member.epoch, node))
                        }
                    };
                }
                Err(error) => error,
            };
            let acquired = Acquired { stream: node, pick, reused };
            let end =
                after_failure(shared, downstream, &mut request, &mut retries, acquired, error);
            if let ControlFlow::Break(disposition) = Box::pin(end).await {
                return disposition;
            }
        }
    };
    debug_assert!(size_of_val(&exchange) <= EXCHANGE_BYTES_MAX, "{}", size_of_val(&exchange));
    Box::pin(exchange)
}

/// Records that there is a connection to a node, and whether anything else was waited for.
fn begin_attempt(
    shared: &Shared,
    request: &mut Request,
    retries: &mut RetryState<'_>,
    member: &Member,
) {
    hold::count_end(shared, retries, "node_came");
    if retries.last.is_some() || retries.hold_until.is_some() {
        request.timing = Timing::Mixed;
    }
    request.reach = Reach::Unsent;
    request.entry.connected(&member.node.name);
}

/// There is no node for the request: it is routed once more, or answered. Right after the start more
/// routes may be heard of.
async fn without_node<D: Downstream>(
    shared: &Shared,
    downstream: &mut D,
    request: &mut Request,
    retries: &mut RetryState<'_>,
    why: NotAcquired,
) -> ControlFlow<Disposition> {
    let reject = match why {
        NotAcquired::NoRoute => {
            if downstream.route_again(shared, request) || hold::has_just_started(shared) {
                return ControlFlow::Continue(());
            }
            Reject::NoRoute
        }
        NotAcquired::Rejected(reject) => reject,
        NotAcquired::ClientLeft => {
            hold::count_end(shared, retries, CLIENT_LEFT);
            request.entry.end(CLIENT_LEFT);
            return ControlFlow::Break(Disposition::Cut);
        }
    };
    hold::count_end(shared, retries, reject.cause());
    ControlFlow::Break(downstream.reject(shared, request, reject).await)
}

/// After an attempt without a whole answer: the request is made ready for another one, or ended.
async fn after_failure<'a, D: Downstream>(
    shared: &'a Shared,
    downstream: &mut D,
    request: &mut Request,
    retries: &mut RetryState<'a>,
    acquired: Acquired,
    error: AttemptError,
) -> ControlFlow<Disposition> {
    let member = acquired.pick.member();
    let reject = match error {
        AttemptError::ClientLeft => {
            request.entry.end(CLIENT_LEFT);
            return ControlFlow::Break(Disposition::Cut);
        }
        AttemptError::Answer(failure) => {
            if let Failure::BadAnswer(refusal) = failure {
                request.entry.refused(refusal);
            }
            request.entry.end(failure.as_str());
            outcome::answer_cut(shared, member, failure);
            return ControlFlow::Break(Disposition::Cut);
        }
        AttemptError::Rejected(reject) => {
            drop(acquired);
            reject
        }
        AttemptError::Node(failure) => {
            let failed = Failed {
                epoch: member.epoch,
                on_trial: acquired.pick.is_trial(),
                reused: acquired.reused,
                failure,
            };
            outcome::failed(shared, member, failure, request.reach);
            // Nothing is in flight at this node while the request waits for another.
            drop(acquired);
            match prepare_another(shared, request, retries, failed).await {
                Ok(()) => {
                    request.upload.rewind();
                    return ControlFlow::Continue(());
                }
                Err(reject) => reject,
            }
        }
    };
    ControlFlow::Break(downstream.reject(shared, request, reject).await)
}

/// An attempt that failed at its node.
struct Failed {
    epoch: u64,
    on_trial: bool,
    /// It went over a connection that had been kept.
    reused: bool,
    failure: Failure,
}

/// Waits until another attempt may begin.
///
/// # Errors
/// No attempt may follow; the answer gives the reason.
async fn prepare_another<'a>(
    shared: &'a Shared,
    request: &Request,
    retries: &mut RetryState<'a>,
    failed: Failed,
) -> Result<(), Reject> {
    let Failed { epoch, on_trial, reused, failure } = failed;
    let reached = request.reach != Reach::Unsent;
    // A kept connection that took no byte is no sign of its node: a fresh one may work. A node that
    // answers over one that its application is gone is sign enough.
    if !reused || reached || failure == Failure::Refused {
        retries.tried.push(epoch);
    }
    let is_untried = |member: &Arc<Member>| !retries.tried.contains(&member.epoch);
    let others = |pool: &Pool| pool.eligible().iter().any(is_untried);
    let mut attempt = Attempt {
        failure,
        reach: request.reach,
        safety: request.safety,
        body_held: request.upload.is_held(),
        suspicion: if retries.died.is_empty() { Suspicion::None } else { Suspicion::Suspected },
        others_untried: shared.members_of(request.to, others).unwrap_or(false),
        on_trial,
        node_left: !shared.pool().is_usable(epoch),
        tries: retries.count,
        elapsed: request.came.elapsed(),
    };
    retries.last = Some(failure);
    if failure == Failure::Died && reached {
        retries.died.push(epoch);
    }
    let Limits { attempts, retry_for, .. } = shared.settings.limits;
    let policy = RetryPolicy { attempts, within: retry_for };
    let mut verdict = retry::decide(&attempt, &policy);
    if verdict == Verdict::GiveUp(Reason::SecondDeath) {
        if is_cleared(shared, request, &retries.died).await {
            attempt.suspicion = Suspicion::Cleared;
        }
        verdict = retry::decide(&attempt, &policy);
    }
    match verdict {
        Verdict::GiveUp(reason) => return Err(Reject::Failed(failure, reason)),
        Verdict::AgainFree => shared.settings.counts.retries_free.add(failure.as_str()),
        Verdict::Again { budget } => {
            shared.settings.counts.retries.add(failure.as_str());
            retries.count += 1;
            if budget {
                wait_for_budget(shared, request, epoch).await;
            }
            retries.replay.get_or_insert_with(|| shared.count_replay());
        }
    }
    Ok(())
}

/// Returns whether all nodes fall, or fell a moment before the request came, one of them without having
/// been sent it. It is believed once: a request that kills a third node is not sent to a fourth.
async fn is_cleared(shared: &Shared, request: &Request, died: &[u64]) -> bool {
    if died.len() > 2 {
        return false;
    }
    let since = shared.now().saturating_sub(request.came.elapsed() + CLEARED_WITHIN);
    let until = tokio::time::Instant::now() + CLEARED_WITHIN;
    loop {
        let published = shared.published();
        let fell = shared.members_of(request.to, |pool| pool.fell_with_others(died, since));
        if fell == Some(true) {
            return true;
        }
        if tokio::time::timeout_at(until, published).await.is_err() {
            return false;
        }
    }
}

/// Replays cost budget while the failed node stays in the pool; an exhausted budget delays them
/// and fails none.
async fn wait_for_budget(shared: &Shared, request: &Request, epoch: u64) {
    while !shared.has_budget()
        && shared.pool().is_usable(epoch)
        && request.came.elapsed() < shared.settings.limits.retry_for
    {
        tokio::select! {
            () = shared.published() => {}
            () = tokio::time::sleep(BUDGET_PAUSE) => {}
        }
    }
}

//! Waiting for a node: for a usable one, for room on one, and right after the start for a route.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::cluster::picker::NoPick;
use crate::cluster::pool::Pool;
use crate::proxy::pick::{Picked, pick};
use crate::proxy::reject::Reject;
use crate::proxy::request::{Request, RetryState};
use crate::proxy::settings::Settings;
use crate::proxy::shared::Shared;

/// Right after its start a balancer waits this long for nodes to be found before it answers that there
/// are none.
const START_GRACE: Duration = Duration::from_secs(3);

/// A cluster that had a usable node within this time is worth waiting for.
const HOLD_MEMORY: Duration = Duration::from_secs(600);

/// Returns whether nodes and routes may be missing only because they were not found yet.
pub(super) fn has_just_started(shared: &Shared) -> bool {
    shared.now() < START_GRACE
}

/// No node takes requests: waits for the next published pool, if one is worth waiting for.
pub(super) async fn wait_for_node(
    shared: &Shared,
    request: &Request,
    retries: &mut RetryState<'_>,
) -> Result<(), Reject> {
    let now = shared.now();
    let last_usable = shared.members_of(request.to, Pool::last_usable).flatten();
    let worth_it = last_usable.is_some_and(|at| now.saturating_sub(at) < HOLD_MEMORY);
    let until = if worth_it { now + shared.settings.hold } else { START_GRACE };
    let until = *retries.hold_until.get_or_insert(until);
    if now >= until {
        return Err(if last_usable.is_some() { Reject::NoNodeNow } else { Reject::NoNodeYet });
    }
    let _held = begin(shared, retries)?;
    tokio::select! {
        () = shared.published() => {}
        () = tokio::time::sleep(until - now) => {}
    }
    retries.tried.clear();
    Ok(())
}

/// Every node that might be picked has as many requests as it may: waits, as for a node, until one of
/// them ends, and picks again.
pub(super) async fn wait_for_room(
    shared: &Shared,
    request: &Request,
    retries: &mut RetryState<'_>,
) -> Result<Picked, Reject> {
    let now = shared.now();
    let until = *retries.hold_until.get_or_insert(now + shared.settings.hold);
    let Some(room) = shared.pool().inflight_limit().cloned() else {
        return Ok(Picked::None(NoPick::AllBusy));
    };
    let _held = begin(shared, retries)?;
    let mut over = pin!(tokio::time::sleep(until.saturating_sub(now)));
    let mut waiting = room.wait();
    loop {
        let published = shared.published();
        let mut next = pin!(waiting.next());
        next.as_mut().enable();
        match pick(shared, request, retries) {
            Picked::None(NoPick::AllBusy) => waiting.pass_on(),
            picked => return Ok(picked),
        }
        tokio::select! {
            () = next => {}
            () = published => {}
            () = over.as_mut() => return Err(Reject::AllBusy),
        }
    }
}

/// No route takes the request: right after the start waits for the next published pool, because more
/// routes may be found.
pub(super) async fn wait_for_route(shared: &Shared, request: &Request) {
    if let (None, Some(left)) = (request.to, START_GRACE.checked_sub(shared.now())) {
        tokio::select! {
            () = shared.published() => {}
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// Counts a request among those that wait for a node, until the guard is dropped.
fn begin<'a>(shared: &'a Shared, retries: &mut RetryState<'_>) -> Result<Held<'a>, Reject> {
    let held = Held::new(&shared.settings)?;
    if !std::mem::replace(&mut retries.waits, true) {
        shared.settings.counts.holds.add();
    }
    Ok(held)
}

/// Counts the end of a wait, if the request has waited.
pub(super) fn count_end(shared: &Shared, retries: &mut RetryState<'_>, cause: &'static str) {
    if std::mem::take(&mut retries.waits) {
        shared.settings.counts.holds_ended.add(cause);
    }
}

/// A request that waits for a node, counted over all workers.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn new(settings: &'a Settings) -> Result<Self, Reject> {
        let held = Self(&settings.held);
        if held.0.fetch_add(1, Ordering::Relaxed) >= settings.limits.held {
            return Err(Reject::TooManyHeld);
        }
        Ok(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

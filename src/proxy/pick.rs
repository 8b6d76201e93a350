//! A member for the next attempt of a request, by the newest pool.

use crate::cluster::picker::{self, Criteria, NoPick, Pick};
use crate::cluster::pool::Pool;
use crate::cluster::retry::Safety;
use crate::proxy::affinity::Affinity;
use crate::proxy::request::{Request, RetryState};
use crate::proxy::shared::Shared;

/// The result of a pick.
pub(super) enum Picked {
    Member(Pick),
    /// No route takes the request, or the one that did is gone.
    NoRoute,
    /// There is a route, and none of its members can be picked.
    None(NoPick),
}

/// Picks a member. One on trial gets only what can be sent again whatever becomes of it: it is
/// idempotent, its body is held whole, and no attempt before has failed. Nor does it get the client of
/// another.
pub(super) fn pick(shared: &Shared, request: &Request, retries: &RetryState<'_>) -> Picked {
    let pool = shared.pool();
    let Some(pool) = request.to.and_then(|to| pool.of(to)) else { return Picked::NoRoute };
    let asked = asked(shared, request, &retries.tried);
    if let Some(pick) = pick_trial(pool, request, retries, &asked) {
        return Picked::Member(pick);
    }
    match picker::choose(pool, &asked, &mut shared.rng.borrow_mut()) {
        Ok(pick) => Picked::Member(pick),
        Err(why) => Picked::None(why),
    }
}

fn pick_trial(
    pool: &Pool,
    request: &Request,
    retries: &RetryState<'_>,
    asked: &Criteria<'_>,
) -> Option<Pick> {
    let is_first = retries.count == 0;
    if pool.trials().is_empty() || !is_first || picker::sticky(pool, asked).is_some() {
        return None;
    }
    let upload = &request.upload;
    let may_die = request.safety == Safety::Idempotent && upload.is_held() && upload.has_come();
    may_die.then(|| picker::pick_trial(pool, asked.tried)).flatten()
}

/// The facts by which a member is chosen. The clock was read when the request came.
pub(super) fn asked<'a>(shared: &Shared, request: &Request, tried: &'a [u64]) -> Criteria<'a> {
    let Affinity { key, sticky, .. } = request.affinity.as_deref().copied().unwrap_or_default();
    Criteria { tried, key, sticky, came: request.came - shared.settings.started }
}

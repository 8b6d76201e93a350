//! The owners of the routes.
//!
//! A route that two services name belongs to the one that had it first, as long as a node of that
//! one names it. The other service is reported as a conflict.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::cluster::route::Route;

/// A service, by a number that is never used again.
pub(super) type ServiceKey = NonZeroU32;

/// The service that has a route, or names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteOwner {
    pub(super) key: ServiceKey,
    /// True if the path of the route is cut off before a node sees the request.
    pub(super) strip: bool,
}

/// A service names a route that another service has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The route that both name.
    pub route: Route,
    /// The service that has it: the one that had it first.
    pub kept_by: Arc<str>,
    /// The service that does not get it.
    pub service: Arc<str>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, kept_by, service } = self;
        write!(f, "{service} names the route of {kept_by}, which keeps it: {route}")
    }
}

/// Gives each named route to the service that had it before, if a node of that still names it, else
/// to the one that names it first. A route that nobody names stays with a service that is only
/// remembered.
///
/// - `before`: the owners so far.
/// - `named`: for each route the services that name it, the first one first; none is empty.
/// - `is_remembered`: returns whether a service has no node any more.
/// - `name`: returns the name of a service.
pub(super) fn assign(
    before: &BTreeMap<Route, RouteOwner>,
    named: BTreeMap<Route, Vec<RouteOwner>>,
    is_remembered: impl Fn(ServiceKey) -> bool,
    name: impl Fn(ServiceKey) -> Option<Arc<str>>,
) -> (BTreeMap<Route, RouteOwner>, Vec<Conflict>) {
    let kept = before.iter().filter(|(_, owner)| is_remembered(owner.key));
    let mut routes: BTreeMap<_, _> = kept.map(|(route, owner)| (route.clone(), *owner)).collect();
    let mut conflicts = Vec::new();
    for (route, claims) in named {
        let had = before.get(&route).map(|owner| owner.key);
        let owner = claims.iter().find(|claim| Some(claim.key) == had).unwrap_or(&claims[0]);
        let mut others: Vec<ServiceKey> = claims.iter().map(|claim| claim.key).collect();
        others.sort_unstable();
        others.dedup();
        for other in others.into_iter().filter(|key| *key != owner.key) {
            if let (Some(kept_by), Some(service)) = (name(owner.key), name(other)) {
                conflicts.push(Conflict { route: route.clone(), kept_by, service });
            }
        }
        routes.insert(route, *owner);
    }
    (routes, conflicts)
}

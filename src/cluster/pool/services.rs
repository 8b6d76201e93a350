//! The services of a cluster: which nodes stand in for each other, and which requests each takes.
//!
//! A service is all nodes that advertise its name, and it has the routes that any of them names.
//! Two services may name one route: [`ownership`] decides which has it. A service whose last node
//! has gone is remembered for a while: its requests wait for it, or get an answer that it is away,
//! and do not go to the service that takes the remaining requests.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use self::ownership::{RouteOwner, ServiceKey};
use super::member::Member;
use crate::cluster::config::NODES_MAX;
use crate::cluster::health::Health;
use crate::cluster::route::{Route, Table};

pub use self::ownership::Conflict;

mod ownership;

/// A service without a node is remembered for this long.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// Services without a node are forgotten at once while there are more services than this.
const SERVICES_MAX: usize = NODES_MAX;

/// The key of no service: requests go there while none is known.
const NONE_KNOWN: ServiceKey = ServiceKey::MIN;

/// The service to which a request goes. It stays valid while pools are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The key of its service; [`NONE_KNOWN`] while no service is known.
    service: ServiceKey,
    /// The bytes that are cut off the start of its target before a node sees it.
    pub strip: u8,
}

/// One service.
#[derive(Debug)]
pub(super) struct Service {
    /// Ascending in the order of the list.
    key: ServiceKey,
    name: Arc<str>,
    /// The number of the next turn in its rotation, which its pools share.
    pub(super) next_turn: Arc<AtomicUsize>,
    /// True if a member of it is up.
    is_usable: bool,
    /// When that last was the case, as time since the process started.
    pub(super) last_usable: Option<Duration>,
    /// Since when it has no node, as time since the process started; `None` while it has one.
    empty_since: Option<Duration>,
}

impl Service {
    fn new(key: ServiceKey, name: &str) -> Self {
        Self {
            key,
            name: name.into(),
            next_turn: Arc::default(),
            is_usable: false,
            last_usable: None,
            empty_since: None,
        }
    }

    /// The same service in the next pool, before any member of that pool is looked at. `None` if it
    /// has been without a node for too long.
    fn continued(&self, now: Duration) -> Option<Self> {
        let empty_since = self.empty_since.unwrap_or(now);
        (now < empty_since + REMEMBERED_FOR).then(|| Self {
            name: Arc::clone(&self.name),
            next_turn: Arc::clone(&self.next_turn),
            is_usable: false,
            last_usable: if self.is_usable { Some(now) } else { self.last_usable },
            empty_since: Some(empty_since),
            ..*self
        })
    }

    /// Returns whether this member belongs to it.
    pub(super) fn has(&self, member: &Member) -> bool {
        *member.node.offer.service == *self.name
    }
}

/// All services of a cluster.
#[derive(Debug)]
pub struct Services {
    /// The key of the one service that takes everything; `None` if the route of each request
    /// counts.
    only: Option<ServiceKey>,
    list: Vec<Service>,
    /// The last key that was given.
    last_key: ServiceKey,
    routes: BTreeMap<Route, RouteOwner>,
    table: Table<RouteOwner>,
    by_path: bool,
    conflicts: Vec<Conflict>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            only: Some(NONE_KNOWN),
            list: Vec::new(),
            last_key: NONE_KNOWN,
            routes: BTreeMap::new(),
            table: Table::default(),
            by_path: false,
            conflicts: Vec::new(),
        }
    }
}

impl Services {
    /// The routes and the names of the services that have them, in the order of hosts and paths.
    pub fn routes(&self) -> impl Iterator<Item = (&Route, &str)> {
        let name = |owner: &RouteOwner| self.find(owner.key).map(|service| &*service.name);
        self.routes.iter().filter_map(move |(route, owner)| Some((route, name(owner)?)))
    }

    /// The same routes as a browser asks for them, with the host apart: a path that is cut off has a slash
    /// behind it, because links relative to it would lead elsewhere without.
    pub fn links(&self) -> impl Iterator<Item = (&Route, Cow<'_, str>, &str)> {
        self.routes.iter().filter_map(|(route, owner)| {
            let path = if owner.strip {
                format!("{}/", route.path).into()
            } else {
                Cow::Borrowed(route.path.as_str())
            };
            Some((route, path, &*self.find(owner.key)?.name))
        })
    }

    /// The routes that services name and do not get, because another service has them.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Returns whether the path of a request may decide to which service it goes.
    pub fn by_path(&self) -> bool {
        self.by_path
    }

    /// The name of the service to which a request goes.
    pub fn name(&self, to: Destination) -> Option<&str> {
        self.find(to.service).map(|service| &*service.name)
    }

    /// The service for a request with this host and target; `None` if no route takes it.
    pub(super) fn route(&self, host: &str, target: &str) -> Option<Destination> {
        if let Some(service) = self.only {
            return Some(Destination { service, strip: 0 });
        }
        let (owner, len) = self.table.find(host, target)?;
        // A route's path is no longer than `route::PATH_BYTES_MAX`.
        Some(Destination { service: owner.key, strip: if owner.strip { len as u8 } else { 0 } })
    }

    /// Returns whether the whole cluster is one service, or none is known yet.
    pub(super) fn is_one(&self) -> bool {
        self.only.is_some()
    }

    /// Returns whether the whole cluster is one service, this one.
    pub(super) fn is_only(&self, to: Destination) -> bool {
        self.only == Some(to.service)
    }

    /// The services among which the members are divided; none while the whole cluster is one.
    pub(super) fn divided(&self) -> &[Service] {
        if self.is_one() { &[] } else { &self.list }
    }

    /// The index of a service in [`Self::divided`], as long as that is not empty.
    pub(super) fn index_of(&self, to: Destination) -> Option<usize> {
        self.index(to.service)
    }

    fn find(&self, key: ServiceKey) -> Option<&Service> {
        self.list.get(self.index(key)?)
    }

    fn index(&self, key: ServiceKey) -> Option<usize> {
        self.list.binary_search_by_key(&key, |service| service.key).ok()
    }

    /// The services of these members, as of `now` (time since the process started). A member that
    /// has not proved itself names nothing.
    pub(super) fn next(&self, members: &[Arc<Member>], now: Duration) -> Self {
        let is_full = self.list.len() > SERVICES_MAX;
        let stays = |service: &&Service| !is_full || service.empty_since.is_none();
        let continued = self.list.iter().filter(stays).filter_map(|service| service.continued(now));
        let list = continued.collect();
        let mut next = Self { list, last_key: self.last_key, ..Self::default() };
        let mut proven: Vec<&Member> = members.iter().map(AsRef::as_ref).collect();
        proven.retain(|member| member.health != Health::Starting);
        for member in &proven {
            next.enter(member, now);
        }
        next.assign_routes(self, &mut proven);
        next.list.retain(|service| {
            let has_routes = next.routes.values().any(|owner| owner.key == service.key);
            service.empty_since.is_none() || has_routes
        });
        next.only = next.takes_all();
        next.by_path = next.routes.keys().any(|route| route.path != "/");
        next.table = Table::new(next.routes.iter().map(|(route, owner)| (route, *owner)));
        next
    }

    /// Enters a member into its service, which may be new.
    fn enter(&mut self, member: &Member, now: Duration) {
        let at = match self.list.iter().position(|service| service.has(member)) {
            Some(at) => at,
            None => {
                self.last_key = self.last_key.saturating_add(1);
                self.list.push(Service::new(self.last_key, &member.node.offer.service));
                self.list.len() - 1
            }
        };
        let service = &mut self.list[at];
        service.empty_since = None;
        if member.health == Health::Up {
            service.is_usable = true;
            service.last_usable = Some(now);
        }
    }

    /// Decides which service has each route that these members name, or that a service has which is
    /// only remembered.
    fn assign_routes(&mut self, before: &Self, members: &mut [&Member]) {
        // The member that joined first names its routes first.
        members.sort_by_key(|member| member.epoch);
        let keys: BTreeMap<&str, ServiceKey> =
            self.list.iter().map(|service| (&*service.name, service.key)).collect();
        let mut named: BTreeMap<Route, Vec<RouteOwner>> = BTreeMap::new();
        for offer in members.iter().map(|member| &member.node.offer) {
            // Each of these members has entered its service.
            let owner = RouteOwner { key: keys[&*offer.service], strip: offer.strip };
            for route in offer.routes() {
                named.entry(route).or_default().push(owner);
            }
        }
        let find = |key| self.find(key);
        let is_remembered = |key| find(key).is_some_and(|service| service.empty_since.is_some());
        let name = |key| find(key).map(|service| Arc::clone(&service.name));
        let assigned = ownership::assign(&before.routes, named, is_remembered, name);
        (self.routes, self.conflicts) = assigned;
    }

    /// The one service that takes every request as it is.
    fn takes_all(&self) -> Option<ServiceKey> {
        match (self.list.as_slice(), self.routes.iter().next()) {
            ([], _) => Some(NONE_KNOWN),
            ([one], Some((route, owner))) => {
                let all = self.routes.len() == 1 && route.host.is_none() && route.path == "/";
                (all && !owner.strip).then_some(one.key)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::balance::Balance;
    use crate::cluster::node::Offer;
    use crate::cluster::pool::{Pool, channel};

    fn member(epoch: u64, service: &str, (hosts, path): (&[&str], &str)) -> Member {
        let mut member = Member::sample(epoch);
        member.node.offer = Arc::new(Offer {
            service: service.to_owned(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            path: path.to_owned(),
            ..Offer::default()
        });
        member
    }

    const ALL: (&[&str], &str) = (&[], "/");
    const BLOG: (&[&str], &str) = (&["blog.local"], "/");

    /// The service of the node that gets a request for this host.
    fn owner(pool: &Pool, host: &str) -> Option<String> {
        let mut epochs = pool.of(pool.route(host, "/")?)?.members().iter();
        epochs.next().map(|member| member.node.offer.service.clone())
    }

    #[test]
    fn a_service_is_balanced_as_its_first_node_or_else_the_balancer_wants() {
        let (publisher, watch) = channel();
        let publisher = publisher.balancing(Balance::First, None);
        let wants = |epoch, service, routes, words| {
            let mut member = member(epoch, service, routes);
            let offer = Offer { balance: Balance::parse(words), ..(*member.node.offer).clone() };
            member.node.offer = Arc::new(offer);
            member
        };
        let balance = |host| {
            let pool = watch.borrow();
            pool.of(pool.route(host, "/").unwrap()).unwrap().balance().clone()
        };
        let blog = |epoch, words| wants(epoch, "blog", BLOG, words);
        publisher.publish(vec![blog(3, "p2c"), blog(2, "hash"), blog(1, "")], Duration::ZERO);
        assert_eq!(balance("blog.local").to_string(), "hash");
        publisher.publish(vec![blog(2, "hash"), member(4, "default", ALL)], Duration::ZERO);
        assert_eq!(balance("blog.local").to_string(), "hash");
        assert_eq!(balance("else.local").to_string(), "first");
    }

    #[test]
    fn one_service_that_takes_everything_is_the_whole_pool() {
        let (publisher, watch) = channel();
        for service in ["default", "blog"] {
            publisher
                .publish(vec![member(1, service, ALL), member(2, service, ALL)], Duration::ZERO);
            let pool = watch.borrow();
            assert!(pool.services().is_one());
            let to = pool.route("any", "/x").expect("it takes all");
            assert!(std::ptr::eq(pool.of(to).expect("it is there"), &raw const **pool));
        }
    }

    #[test]
    fn a_route_stays_with_the_first_until_its_last_node_is_gone() {
        let (publisher, watch) = channel();
        let publish = |members| publisher.publish(members, Duration::ZERO);
        let shop = |epoch| member(epoch, "shop", BLOG);
        let blog = |epoch| member(epoch, "blog", BLOG);
        let owner_now = || owner(&watch.borrow(), "blog.local");
        // Of two that come at once, the one that proved itself first gets the route.
        let new = publish(vec![shop(2), blog(1)]);
        assert_eq!(new.len(), 1);
        assert_eq!(new[0].to_string(), "shop names the route of blog, which keeps it: blog.local");
        assert_eq!(owner_now().as_deref(), Some("blog"));
        // A conflict is reported once.
        assert_eq!(publish(vec![shop(2), blog(1), blog(3)]), []);
        assert_eq!(watch.borrow().services().conflicts().len(), 1);
        publish(vec![shop(2), blog(3)]);
        assert_eq!(owner_now().as_deref(), Some("blog"), "a younger node of it is still there");
        publish(vec![shop(2)]);
        assert_eq!(owner_now().as_deref(), Some("shop"));
        assert_eq!(publish(vec![shop(2), blog(4)]).len(), 1);
        assert_eq!(owner_now().as_deref(), Some("shop"), "and it stays");
    }

    #[test]
    fn a_service_without_a_node_keeps_its_routes_for_a_while() {
        let (publisher, watch) = channel();
        publisher.publish(vec![member(1, "default", ALL), member(2, "blog", BLOG)], Duration::ZERO);
        let to = watch.borrow().route("blog.local", "/").expect("a route");
        let later = Duration::from_secs(1);
        publisher.publish(vec![member(1, "default", ALL)], later);
        assert_eq!(watch.borrow().route("blog.local", "/"), Some(to));
        let members = watch.borrow().of(to).map(|pool| (pool.members().len(), pool.last_usable()));
        assert_eq!(members, Some((0, Some(later))));
        publisher.publish(vec![member(1, "default", ALL)], later + REMEMBERED_FOR);
        assert_eq!(owner(&watch.borrow(), "blog.local").as_deref(), Some("default"));
        assert!(watch.borrow().of(to).is_none());
    }

    #[test]
    fn a_node_that_has_not_proved_itself_names_no_route() {
        let (publisher, watch) = channel();
        let forged = Member { health: Health::Starting, ..member(2, "evil", BLOG) };
        publisher.publish(vec![member(1, "default", ALL), forged], Duration::ZERO);
        assert_eq!(owner(&watch.borrow(), "blog.local").as_deref(), Some("default"));
    }

    #[test]
    fn the_nodes_of_a_service_share_the_routes_of_all_of_them() {
        let (publisher, watch) = channel();
        let wiki = (&[][..], "/wiki");
        publisher.publish(vec![member(1, "blog", BLOG), member(2, "blog", wiki)], Duration::ZERO);
        let pool = watch.borrow();
        for (host, target) in [("blog.local", "/"), ("any", "/wiki/x")] {
            let to = pool.route(host, target).expect("a route");
            assert_eq!(pool.of(to).expect("its pool").members().len(), 2);
        }
        assert_eq!(pool.route("any", "/"), None);
        let routes: Vec<_> = pool.services().routes().map(|(r, s)| format!("{r} {s}")).collect();
        assert_eq!(routes, ["/wiki blog", "blog.local blog"]);
    }
}

//! The services of a cluster: which nodes stand in for each other, and which requests each takes.
//!
//! A service is the nodes that say its name, and has the routes that any of them names. A route that
//! two services name belongs to the one that had it first, as long as a node of that one names it; the
//! other is told as a conflict. A service whose last node has gone is remembered for a while: its
//! requests wait for it, or hear that it is away, and do not go to whoever takes what is left.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::{Member, Pool, Sharing};
use crate::cluster::config::NODES_MAX;
use crate::cluster::health::Health;
use crate::cluster::route::{Route, Table};

/// So long is a service remembered that has no node any more.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// Services without a node are forgotten at once while there are more than this.
const SERVICES_MAX: usize = NODES_MAX;

/// A service, by a number that is never used again.
type Key = NonZeroU32;

/// No service: where requests go before any is known.
const NONE_KNOWN: Key = Key::MIN;

/// Where a request goes. It stays valid while pools are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The key of its service; [`NONE_KNOWN`] while no service is known.
    service: Key,
    /// So many bytes of its target are cut off before a node sees it.
    pub strip: u8,
}

/// One service.
#[derive(Debug)]
struct Service {
    /// In the order of the list.
    key: Key,
    name: Arc<str>,
    rotation: Arc<AtomicUsize>,
    /// Whether a member takes requests, and when one last did: see [`Pool::last_usable`].
    is_usable: bool,
    last_usable: Option<Duration>,
    /// Since when it has no node.
    empty_since: Option<Duration>,
    /// Its members; unused while the whole cluster is one service.
    pool: Pool,
}

impl Service {
    /// The same in the next pool, as far as no member of that is known yet; `None` if its time is over.
    fn going_on(&self, now: Duration) -> Option<Self> {
        let empty_since = self.empty_since.unwrap_or(now);
        (now < empty_since + REMEMBERED_FOR).then(|| Self {
            name: Arc::clone(&self.name),
            rotation: Arc::clone(&self.rotation),
            is_usable: false,
            last_usable: if self.is_usable { Some(now) } else { self.last_usable },
            empty_since: Some(empty_since),
            pool: Pool::default(),
            ..*self
        })
    }
}

/// Whose a route is, and whether its path is cut off.
#[derive(Clone, Copy, Debug)]
struct Held {
    key: Key,
    strip: bool,
}

/// A service names a route that another has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// What both name.
    pub route: Route,
    /// Whose it is: who had it first.
    pub kept_by: Arc<str>,
    /// Who does not get it.
    pub service: Arc<str>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, kept_by, service } = self;
        write!(f, "{service} names the route of {kept_by}, which keeps it: {route}")
    }
}

/// All services of a cluster.
#[derive(Debug)]
pub struct Services {
    /// The key of the one service that takes everything, if nothing else is known.
    only: Option<Key>,
    list: Vec<Service>,
    /// The last key that was given.
    last_key: Key,
    routes: BTreeMap<Route, Held>,
    table: Table<Held>,
    /// Some services differ by their paths alone.
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
    /// The routes and the services they lead to, in the order of hosts and paths.
    pub fn routes(&self) -> impl Iterator<Item = (&Route, &str)> {
        let name = |held: &Held| self.find(held.key).map(|service| &*service.name);
        self.routes.iter().filter_map(move |(route, held)| Some((route, name(held)?)))
    }

    /// The routes that services name in vain.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Whether requests are told apart by their paths.
    pub fn by_path(&self) -> bool {
        self.by_path
    }

    /// Where a request for this host and target goes; `None` if no route takes it.
    pub(super) fn route(&self, host: &str, target: &str) -> Option<Destination> {
        if let Some(service) = self.only {
            return Some(Destination { service, strip: 0 });
        }
        let (held, len) = self.table.find(host, target)?;
        // A route's path is no longer than `route::PATH_BYTES_MAX`.
        Some(Destination { service: held.key, strip: if held.strip { len as u8 } else { 0 } })
    }

    /// The name of the service to which a request goes.
    pub fn name(&self, to: Destination) -> Option<&str> {
        self.find(to.service).map(|service| &*service.name)
    }

    /// Whether the whole cluster is one service, or nothing yet.
    pub(super) fn is_one(&self) -> bool {
        self.only.is_some()
    }

    /// Whether the whole cluster is one service, this one.
    pub(super) fn is_only(&self, to: Destination) -> bool {
        self.only == Some(to.service)
    }

    /// The pool of a service, if there are several.
    pub(super) fn pool(&self, to: Destination) -> Option<&Pool> {
        self.find(to.service).filter(|_| self.only.is_none()).map(|service| &service.pool)
    }

    /// The pools of all services, if there are several.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        let list = if self.only.is_some() { &[] } else { &self.list[..] };
        list.iter().map(|service| &service.pool)
    }

    fn find(&self, key: Key) -> Option<&Service> {
        let at = self.list.binary_search_by_key(&key, |service| service.key).ok()?;
        self.list.get(at)
    }

    /// The services of these members, as of `now`. A member that has not proved itself names nothing.
    pub(super) fn next(&self, members: &[Arc<Member>], sharing: &Sharing, now: Duration) -> Self {
        let proven = || members.iter().filter(|member| member.health != Health::Starting);
        let mut next = Self { last_key: self.last_key, ..Self::default() };
        let room = self.list.len() <= SERVICES_MAX;
        let stays = |service: &&Service| room || service.empty_since.is_none();
        next.list
            .extend(self.list.iter().filter(stays).filter_map(|service| service.going_on(now)));
        for member in proven() {
            next.enter(member);
        }
        let keys: BTreeMap<Arc<str>, Key> =
            next.list.iter().map(|service| (Arc::clone(&service.name), service.key)).collect();
        // Who was first comes first.
        let mut first: Vec<_> = proven().collect();
        first.sort_by_key(|member| member.epoch);
        let mut named: BTreeMap<Route, Vec<Held>> = BTreeMap::new();
        for offer in first.iter().map(|member| &member.node.offer) {
            let held = Held { key: keys[&*offer.service], strip: offer.strip };
            for route in offer.routes() {
                named.entry(route).or_default().push(held);
            }
        }
        next.give_routes(self, named);
        next.list.retain(|service| {
            let has_routes = next.routes.values().any(|held| held.key == service.key);
            service.empty_since.is_none() || has_routes
        });
        next.only = next.takes_all();
        next.by_path = next.routes.keys().any(|route| route.path != "/");
        next.table = Table::new(next.routes.iter().map(|(route, held)| (route, *held)));
        next.fill(members, sharing, now);
        next
    }

    /// The service of a member is there.
    fn enter(&mut self, member: &Member) {
        let name = &*member.node.offer.service;
        match self.list.iter_mut().find(|service| &*service.name == name) {
            Some(service) => service.empty_since = None,
            None => {
                self.last_key = self.last_key.saturating_add(1);
                self.list.push(Service {
                    key: self.last_key,
                    name: name.into(),
                    rotation: Arc::default(),
                    is_usable: false,
                    last_usable: None,
                    empty_since: None,
                    pool: Pool::default(),
                });
            }
        }
    }

    /// Gives each route to who had it before, if a node of it still names it, else to who named it
    /// first. What nobody names stays with a service that is only remembered.
    fn give_routes(&mut self, before: &Self, named: BTreeMap<Route, Vec<Held>>) {
        let remembered =
            |held: &Held| self.find(held.key).is_some_and(|service| service.empty_since.is_some());
        let kept = before.routes.iter().filter(|(_, held)| remembered(held));
        let mut routes: BTreeMap<_, _> = kept.map(|(route, held)| (route.clone(), *held)).collect();
        let mut conflicts = Vec::new();
        let name = |key| self.find(key).map(|service| Arc::clone(&service.name));
        for (route, claims) in named {
            let had = before.routes.get(&route).map(|held| held.key);
            let owner = claims.iter().find(|claim| Some(claim.key) == had).unwrap_or(&claims[0]);
            let mut others: Vec<Key> = claims.iter().map(|claim| claim.key).collect();
            others.sort_unstable();
            others.dedup();
            for other in others.into_iter().filter(|key| *key != owner.key) {
                if let (Some(kept_by), Some(service)) = (name(owner.key), name(other)) {
                    conflicts.push(Conflict { route: route.clone(), kept_by, service });
                }
            }
            routes.insert(route, *owner);
        }
        (self.routes, self.conflicts) = (routes, conflicts);
    }

    /// The one service that takes everything as it is.
    fn takes_all(&self) -> Option<Key> {
        match (self.list.as_slice(), self.routes.iter().next()) {
            ([], _) => Some(NONE_KNOWN),
            ([one], Some((route, held))) => {
                let all = self.routes.len() == 1 && route.host.is_none() && route.path == "/";
                (all && !held.strip).then_some(one.key)
            }
            _ => None,
        }
    }

    /// Gives each service its members.
    fn fill(&mut self, members: &[Arc<Member>], sharing: &Sharing, now: Duration) {
        let several = self.only.is_none();
        for service in &mut self.list {
            let of = |member: &&Arc<Member>| *member.node.offer.service == *service.name;
            let members: Vec<_> = members.iter().filter(of).cloned().collect();
            service.is_usable = members.iter().any(|member| member.health == Health::Up);
            if service.is_usable {
                service.last_usable = Some(now);
            }
            if several {
                let rotation = Arc::clone(&service.rotation);
                service.pool = Pool::new(members, rotation, service.last_usable, sharing);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::balance::Balance;
    use crate::cluster::node::Offer;
    use crate::cluster::pool::channel;

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

    /// Whose a request for this host is, in the pool of these members after those before.
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
        let who = || owner(&watch.borrow(), "blog.local");
        // Of two that come at once, the one that proved itself first.
        let new = publish(vec![shop(2), blog(1)]);
        assert_eq!(new.len(), 1);
        assert_eq!(new[0].to_string(), "shop names the route of blog, which keeps it: blog.local");
        assert_eq!(who().as_deref(), Some("blog"));
        // Told once.
        assert_eq!(publish(vec![shop(2), blog(1), blog(3)]), []);
        assert_eq!(watch.borrow().services().conflicts().len(), 1);
        publish(vec![shop(2), blog(3)]);
        assert_eq!(who().as_deref(), Some("blog"), "a younger node of it is still there");
        publish(vec![shop(2)]);
        assert_eq!(who().as_deref(), Some("shop"));
        assert_eq!(publish(vec![shop(2), blog(4)]).len(), 1);
        assert_eq!(who().as_deref(), Some("shop"), "and it stays");
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

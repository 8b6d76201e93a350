//! The published view of the cluster: nodes, health and picker input in one immutable value.
//!
//! Discovery publishes a [`Pool`], and every worker reads its own snapshot of the newest one. This
//! is the only place where the two lines meet. The live counters of a member are shared between the
//! pools in which it stands and end with the last of them. Which member gets a request is decided
//! in [`picker`](crate::cluster::picker).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::inflight_limit::InflightLimit;
use self::sharing::Sharing;
use crate::cluster::balance::Balance;
use crate::cluster::health::{ERRORS_IN_A_ROW, Health, Outcome};
use crate::cluster::node::Node;
use crate::cluster::pi::Pi;
use crate::cluster::pool::inflight_limit::InflightLimit;
use crate::cluster::pool::peak_ewma::PeakEwma;
use crate::telemetry::counters::StatusClasses;
use crate::telemetry::histogram::Histogram;

pub use self::member::{Counters, Member, Share};
pub use self::services::{Conflict, Destination, Services};
pub use self::view::Pool;

pub(crate) mod inflight_limit;
mod member;
mod peak_ewma;
mod rotation;
mod services;
mod sharing;
mod view;

/// The live numbers of one node, written by the workers, read by the API.
///
/// Relaxed atomics: each is a number of its own, none orders another.
#[derive(Debug, Default)]
pub struct Counters {
    /// Attempts under way, from the pick until the end of the answer's body.
    pub inflight: AtomicU32,
    /// Client answers begun from this node; no probes, no failed attempts.
    pub requests: AtomicU64,
    /// Those in `requests`, by the class of their status.
    pub classes: StatusClasses,
    /// Attempts that ended without a whole response head, and answers that broke off.
    pub failures: AtomicU64,
    /// When the node last answered anything, in milliseconds since the process started plus one;
    /// 0 is never.
    pub answered_ms: AtomicU64,
    /// The last requests in a row that went wrong: answered with an error of the server (5xx), not
    /// answered in time, or broken off.
    pub errors: AtomicU32,
    /// From the whole head of the request to the head of this node's answer, of those in `requests`.
    pub latency: Histogram,
    /// How long the node is expected to take until the head of its answer.
    pub expected: PeakEwma,
}

/// How much of the rotation a member takes while it is up.
#[derive(Clone, Debug)]
pub enum Share {
    /// It is back after a fall: it gets one request at a time until one was answered. The flag says
    /// that one is under way; each trial has a flag of its own.
    Trial(Arc<AtomicBool>),
    /// So many quarters of a whole share, 1 to 4.
    Quarters(u8),
}

impl Share {
    /// A whole share, which all have as a rule.
    pub const WHOLE: Self = Self::Quarters(4);

    /// As a number: 1 is a whole share, 0 a trial.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Trial(_) => 0.0,
            Self::Quarters(quarters) => f64::from(*quarters) / 4.0,
        }
    }

    /// Whether it is a trial.
    pub fn is_trial(&self) -> bool {
        matches!(self, Self::Trial(_))
    }
}

/// One node in a pool.
#[derive(Debug)]
pub struct Member {
    /// Who it is and where it takes requests.
    pub node: Node,
    /// What the table thinks of it.
    pub health: Health,
    /// Why, as a sentence for people.
    pub why: String,
    /// When this health began, since the process started.
    pub since: Duration,
    /// Whether its source still advertises it.
    pub advertised: bool,
    /// Whether it can be used when nothing better is: it answers HTTP, but with errors, it is
    /// draining, or it is only suspected ("panic" in Envoy's words).
    pub last_resort: bool,
    /// Whether it is down or suspected because it answers nothing at all, not even with a refusal: a
    /// host that vanished. What waits for its answer will wait in vain.
    pub silent: bool,
    /// The epoch it had before, if it is reached elsewhere now because that address answers nothing.
    pub left_silent: Option<u64>,
    /// How much of the rotation it takes.
    pub share: Share,
    /// The epoch of this endpoint: a number never used for another node, boot or address. Kept
    /// connections are filed under it, so that none outlives what it was opened to.
    pub epoch: u64,
    /// The live numbers, the same object in every pool in which the node stands.
    pub counters: Arc<Counters>,
    /// How its board is, as of its last health answer; `None` if it does not say. It changes with
    /// each answer and makes no new pool. Never locked on the request path.
    pub pi: Arc<Mutex<Option<Pi>>>,
}

impl Member {
    /// Its turns in a round of the rotation, as quarters: what it weighs, as far as it has its share. On
    /// trial it has turns only when nobody else has. To every other policy it is the weight.
    pub(crate) fn quarters(&self) -> u32 {
        let share = match self.share {
            Share::Trial(_) => 4,
            Share::Quarters(quarters) => quarters.clamp(1, 4),
        };
        u32::from(share) * u32::from(self.node.offer.weight)
    }

    /// What it weighs, as far as it has its share: 1 is a whole share of an ordinary node, 0 a trial.
    pub fn weight(&self) -> f64 {
        self.share.weight() * f64::from(self.node.offer.weight)
    }

    /// Takes in how long an answer took to begin for which nothing but this member was waited.
    pub(crate) fn took(&self, now: Duration, took: Duration) {
        self.counters.expected.add(now, took);
    }

    /// Counts an answer of this status that begins, at `now` (since the process started), so long
    /// after the request was there.
    pub(crate) fn answered(&self, status: u16, now: Duration, took: Duration) {
        self.counters.latency.add(took);
        self.counters.classes.add(status);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.answered_ms.store(now.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Takes in the status of an answer whose head came; says what of it is worth telling the table.
    /// Of an ordinary answer nothing is, and it writes nothing.
    pub fn heard(&self, status: u16) -> Option<Outcome> {
        if status >= 500 && self.went_wrong() {
            return Some(Outcome::Erring);
        }
        self.share.is_trial().then_some(Outcome::Answered)
    }

    /// Takes in that a request or its answer broke off here; says what is worth telling the table.
    pub fn broke(&self) -> Option<Outcome> {
        self.went_wrong().then_some(Outcome::Breaking)
    }

    /// Takes in that an answer of this status came whole.
    pub fn answered_whole(&self, status: u16) {
        let errors = &self.counters.errors;
        if status < 500 && errors.load(Ordering::Relaxed) != 0 {
            errors.store(0, Ordering::Relaxed);
        }
    }

    /// Counts one more in the row; says whether that is worth telling.
    fn went_wrong(&self) -> bool {
        let in_a_row = self.counters.errors.fetch_add(1, Ordering::Relaxed) + 1;
        in_a_row.is_multiple_of(ERRORS_IN_A_ROW)
    }

    /// Whether the node has answered a request within the last `span`.
    pub(crate) fn answered_within(&self, span: Duration, now: Duration) -> bool {
        let at = self.counters.answered_ms.load(Ordering::Relaxed);
        at != 0 && (now.as_millis() as u64 + 1).saturating_sub(at) <= span.as_millis() as u64
    }
}

#[cfg(test)]
impl Member {
    /// One that is up, for tests: `node1` for 1.
    pub(crate) fn sample(epoch: u64) -> Self {
        let name = format!("node{epoch}");
        Self {
            node: Node {
                id: crate::cluster::node::NodeId::new(&name).expect("a legal id"),
                name,
                hostname: "raspberrypi".to_owned(),
                endpoint: ([10, 0, 0, 1], 8080).into(),
                boot: None,
                source: crate::cluster::node::Source::Mdns,
                offer: Arc::default(),
            },
            health: Health::Up,
            why: String::new(),
            since: Duration::ZERO,
            advertised: true,
            last_resort: false,
            silent: false,
            left_silent: None,
            share: Share::WHOLE,
            epoch,
            counters: Arc::default(),
            pi: Arc::default(),
        }
    }
}

/// How members share the requests.
#[derive(Clone, Debug, Default)]
struct Sharing {
    balance: Balance,
    /// How many requests each may have, if that is bounded.
    room: Option<Arc<InflightLimit>>,
}

impl Sharing {
    /// As the one of these members wants it that joined first, of those that say what they want.
    fn among(&self, members: &[Arc<Member>]) -> Self {
        let proven = members.iter().filter(|member| member.health != Health::Starting);
        let wanted =
            proven.filter_map(|member| Some((member.epoch, member.node.offer.balance.as_ref()?)));
        let first = wanted.min_by_key(|(epoch, _)| *epoch);
        let balance = first.map_or(&self.balance, |(_, balance)| balance).clone();
        Self { balance, room: self.room.clone() }
    }
}

/// An immutable view of the cluster, or of the members of one service in it.
#[derive(Debug, Default)]
pub struct Pool {
    members: Vec<Arc<Member>>,
    usable: Vec<Arc<Member>>,
    trials: Vec<Arc<Member>>,
    last_resort: Vec<Arc<Member>>,
    turns: Vec<u16>,
    rotation: Arc<AtomicUsize>,
    last_usable: Option<Duration>,
    sharing: Sharing,
    services: Services,
}

impl Pool {
    /// What the picker needs of these members.
    fn new(
        members: Vec<Arc<Member>>,
        rotation: Arc<AtomicUsize>,
        last_usable: Option<Duration>,
        sharing: &Sharing,
    ) -> Self {
        let those = |test: &dyn Fn(&Member) -> bool| -> Vec<_> {
            members.iter().filter(|member| test(member)).cloned().collect()
        };
        let mut usable =
            those(&|member: &Member| member.health == Health::Up && !member.share.is_trial());
        let mut trials =
            those(&|member: &Member| member.health == Health::Up && member.share.is_trial());
        if usable.is_empty() {
            std::mem::swap(&mut usable, &mut trials);
        }
        let spare = |member: &Member| member.last_resort && member.health != Health::Up;
        let mut last_resort =
            those(&|member: &Member| spare(member) && member.health != Health::Suspect);
        if last_resort.is_empty() {
            last_resort = those(&spare);
        }
        let turns = rotation::of(&usable);
        Self {
            sharing: sharing.among(&members),
            members,
            usable,
            trials,
            last_resort,
            turns,
            rotation,
            last_usable,
            services: Services::default(),
        }
    }

    /// The services of the cluster.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Where a request goes by its host and target; `None` if no route takes it. A cluster with one
    /// service that takes everything looks at neither.
    pub fn route(&self, host: &str, target: &str) -> Option<Destination> {
        self.services.route(host, target)
    }

    /// The members for a request, as a pool of their own; `None` if its service is gone, or was not known
    /// when it came: then it has to be routed again.
    pub fn of(&self, to: Destination) -> Option<&Self> {
        if self.services.is_only(to) { Some(self) } else { self.services.pool(to) }
    }

    /// One for each service.
    fn parts(&self) -> impl Iterator<Item = &Self> {
        let whole = self.services.is_one().then_some(self);
        whole.into_iter().chain(self.services.pools())
    }

    /// All members, in the order of their names.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The members that take requests.
    pub fn usable(&self) -> &[Arc<Member>] {
        &self.usable
    }

    /// The members of which each may be given one request; empty as a rule. When nobody else is
    /// usable they are, and take all requests.
    pub fn trials(&self) -> &[Arc<Member>] {
        &self.trials
    }

    /// The members that take requests when no usable one is left: those that answer or, if there are
    /// none, those that are suspected.
    pub fn last_resort(&self) -> &[Arc<Member>] {
        &self.last_resort
    }

    /// Whether the node still stands in this pool at the same epoch and is usable.
    pub fn is_usable(&self, epoch: u64) -> bool {
        let has = |part: &Self| part.usable.iter().any(|member| member.epoch == epoch);
        self.parts().any(has)
    }

    /// Whether the member of this epoch vanished: see [`Member::silent`]. While it takes requests even
    /// so, for want of another, it is waited for.
    pub fn is_silent(&self, epoch: u64) -> bool {
        let of = |member: &Arc<Member>| member.epoch == epoch && member.silent;
        let left = self.members.iter().any(|member| member.left_silent == Some(epoch));
        left || self
            .parts()
            .any(|part| part.members.iter().any(of) && !part.eligible().iter().any(of))
    }

    /// Whether no member is of use, and one fell since then that is none of these, by epoch: nobody
    /// listens there any more.
    pub fn fell_with_others(&self, these: &[u64], since: Duration) -> bool {
        self.eligible().is_empty()
            && self.members.iter().any(|member| {
                let fell = member.health == Health::Ejected && member.since >= since;
                fell && !these.contains(&member.epoch)
            })
    }

    /// The members that take requests now.
    pub(crate) fn eligible(&self) -> &[Arc<Member>] {
        if self.usable.is_empty() { &self.last_resort } else { &self.usable }
    }

    /// One round of the rotation, as places in [`Self::eligible`]; empty when each is in it once.
    pub(crate) fn turns(&self) -> &[u16] {
        &self.turns
    }

    /// When a member was last usable, since the process started; `None` if that never was.
    /// While one is, this is the time of the publication.
    pub fn last_usable(&self) -> Option<Duration> {
        self.last_usable
    }

    /// The next turn of the rotation that all workers share: one relaxed atomic, so that
    /// sequential requests over any connections go round exactly.
    pub(crate) fn turn(&self) -> usize {
        self.rotation.fetch_add(1, Ordering::Relaxed)
    }

    /// How requests are shared among the members.
    pub fn balance(&self) -> &Balance {
        &self.sharing.balance
    }

    /// How many requests each may have, if that is bounded.
    pub(crate) fn room(&self) -> Option<&Arc<InflightLimit>> {
        self.sharing.room.as_ref()
    }
}

/// A report of traffic on a member, from the data line to the discovery line: the member's epoch and
/// the outcome of a request or connection there.
pub type Feedback = (u64, Outcome);

/// The side that publishes. The one task of the discovery line owns it.
#[derive(Debug)]
pub struct Publisher {
    sender: watch::Sender<Arc<Pool>>,
    sharing: Sharing,
}

/// The side that reads. Cheap to clone, one for each worker.
pub type Watch = watch::Receiver<Arc<Pool>>;

/// An empty pool and the two sides of its publication.
///
/// ```
/// use std::time::Duration;
///
/// use picluster::cluster::picker::{self, Criteria, NoPick};
/// use picluster::cluster::pool;
/// # use std::sync::Arc;
/// # use picluster::cluster::health::Health;
/// # use picluster::cluster::node::{Node, NodeId, Source};
/// # use picluster::cluster::pool::{Member, Share};
/// #
/// # fn member(epoch: u64, name: &str) -> Member {
/// #     let node = Node {
/// #         id: NodeId::new(name).unwrap(),
/// #         name: name.to_owned(),
/// #         hostname: name.to_owned(),
/// #         endpoint: ([10, 0, 0, 1], 8080).into(),
/// #         boot: None,
/// #         source: Source::Mdns,
/// #         offer: Arc::default(),
/// #     };
/// #     Member {
/// #         node,
/// #         health: Health::Up,
/// #         why: String::new(),
/// #         since: Duration::ZERO,
/// #         advertised: true,
/// #         last_resort: false,
/// #         silent: false,
/// #         left_silent: None,
/// #         share: Share::WHOLE,
/// #         epoch,
/// #         counters: Arc::default(),
/// #         pi: Arc::default(),
/// #     }
/// # }
///
/// // The discovery line publishes members that are up.
/// let (publisher, watch) = pool::channel();
/// publisher.publish(vec![member(1, "ada"), member(2, "bob")], Duration::ZERO);
///
/// // A worker picks from its snapshot, here in turn. The request counts until the pick is dropped.
/// let pool = watch.borrow();
/// let mut rng = fastrand::Rng::new();
/// let first = picker::choose(&pool, &Criteria::default(), &mut rng).unwrap();
/// let second = picker::choose(&pool, &Criteria::default(), &mut rng).unwrap();
/// assert_eq!((first.member().epoch, second.member().epoch), (1, 2));
///
/// // A retry names the members that were tried.
/// let tried = Criteria { tried: &[1, 2], ..Criteria::default() };
/// assert_eq!(picker::choose(&pool, &tried, &mut rng).unwrap_err(), NoPick::AllTried);
/// ```
pub fn channel() -> (Publisher, Watch) {
    let (sender, watch) = watch::channel(Arc::default());
    (Publisher { sender, sharing: Sharing::default() }, watch)
}

impl Publisher {
    /// Sets the rules by which members share the requests, from the next pool on: this policy,
    /// unless a service asks for its own, and at most `inflight_max` requests of one member at
    /// once.
    pub fn balancing(self, balance: Balance, inflight_max: Option<u32>) -> Self {
        let inflight_limit = inflight_max.map(|max| Arc::new(InflightLimit::new(max)));
        Self { sharing: Sharing { balance, inflight_limit }, ..self }
    }

    /// Publishes these members as of `now`, the time since the process started: the clock of every
    /// time in the pool. Returns the conflicts between services that the pool before did not have.
    pub fn publish(&self, members: Vec<Member>, now: Duration) -> Vec<Conflict> {
        let before = Arc::clone(&self.sender.borrow());
        let pool = before.next(members, &self.sharing, now);
        let known = before.services().conflicts();
        let new = pool.services().conflicts().iter().filter(|conflict| !known.contains(conflict));
        let conflicts = new.cloned().collect();
        self.sender.send_replace(Arc::new(pool));
        conflicts
    }
}

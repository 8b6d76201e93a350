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
use crate::cluster::health::Outcome;

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

/// A report of traffic on a member, from the data line to the discovery line: the member's epoch
/// and the outcome of a request or connection there.
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

//! Listens for balancers, and for nodes in case there is no balancer. The nodes go through the same table
//! as in a balancer, so that they are judged in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use super::balancer;
use super::document::Document;
use crate::cluster::config::DiscoveryConfig;
use crate::cluster::counts::Counts;
use crate::cluster::health::{Health, Thresholds};
use crate::cluster::node::{Change, LB_SERVICE, SERVICE, Sighting};
use crate::cluster::pool;
use crate::cluster::pool::Feedback;
use crate::commands::ask::Unanswered;
use crate::discovery::mdns::{Browser, Trust};
use crate::discovery::membership::Membership;
use crate::discovery::{Line, Order};
use crate::os::systemd::Pulses;
use crate::telemetry::journal::Journal;

/// The time to listen before giving up: mDNS answers a question within 0.2 s, as a rule.
const BROWSE: Duration = Duration::from_millis(1500);

/// The time to wait after the first balancer's answer, in which the other balancers are counted.
const COMPANY: Duration = Duration::from_millis(300);

/// The time in which nodes that were just heard of have to answer.
const ANSWERS: Duration = Duration::from_secs(1);

/// The most balancers that are asked.
const BALANCERS_MAX: usize = 16;

/// The most changes that wait in a queue.
const CHANGES_MAX: usize = 64;

/// A balancer that answered.
pub(super) struct Answered {
    /// The address of its admin port.
    pub(super) admin: SocketAddr,
    /// The number of balancers of the cluster that were heard of by then.
    pub(super) balancers: usize,
    pub(super) document: Document,
}

/// The network as it is heard from here.
pub(super) struct Outlook {
    cluster: String,
    began: Instant,
    heard: mpsc::Receiver<Change>,
    /// The addresses of each balancer of the cluster.
    balancers: BTreeMap<String, Vec<SocketAddr>>,
    /// The clusters that other balancers serve.
    others: BTreeSet<String>,
    /// The balancers that did not answer, with the reason of each.
    unanswered: BTreeMap<SocketAddr, Unanswered>,
    pool: pool::Watch,
    _browsers: [Browser; 2],
    /// The table's task, which ends with this.
    _table: JoinSet<()>,
    /// No traffic and no orders come here, but the table waits for both.
    _senders: (mpsc::Sender<Feedback>, mpsc::Sender<Order>),
}

impl Outlook {
    pub(super) fn start(discovery: &DiscoveryConfig) -> Self {
        let trust =
            Trust { loopback: discovery.loopback, ipv6: discovery.ipv6, ..Trust::default() };
        let (to_us, heard) = mpsc::channel(CHANGES_MAX);
        let (to_table, changes) = mpsc::channel(CHANGES_MAX);
        let counts = Arc::new(Counts::default());
        let browse = |service, to| {
            let (trust, counts) = (trust.clone(), Arc::clone(&counts));
            Browser::start(discovery, service, trust, |_, _| false, to, counts)
        };
        let browsers = [browse(LB_SERVICE, to_us), browse(SERVICE, to_table)];
        let (no_traffic, feedback) = mpsc::channel(1);
        let (no_orders, orders) = mpsc::channel(1);
        let (publisher, pool) = pool::channel();
        let line = Line {
            table: Membership::new(discovery.cluster.clone(), Thresholds::default()),
            changes,
            feedback,
            orders,
            publisher,
            started: Instant::now(),
            counts,
            journal: Journal::default(),
            // No watchdog asks for it: the table ends with the command.
            pulse: Pulses::default().part("discovery"),
        };
        let mut table = JoinSet::new();
        table.spawn(line.run());
        Self {
            cluster: discovery.cluster.clone(),
            began: Instant::now(),
            heard,
            balancers: BTreeMap::new(),
            others: BTreeSet::new(),
            unanswered: BTreeMap::new(),
            pool,
            _browsers: browsers,
            _table: table,
            _senders: (no_traffic, no_orders),
        }
    }

    /// The first balancer that answers. New balancers are asked until [`BROWSE`] is over; in a later
    /// call only those that are known by then.
    pub(super) async fn balancer(&mut self) -> Option<Answered> {
        let mut asking = JoinSet::new();
        for endpoint in self.balancers.values().flatten() {
            asking.spawn(ask(*endpoint));
        }
        let mut until = self.began + BROWSE;
        let mut first = None;
        loop {
            tokio::select! {
                biased;
                Some(change) = self.heard.recv() => {
                    for endpoint in self.hear(change) {
                        asking.spawn(ask(endpoint));
                    }
                }
                Some(Ok((admin, answer))) = asking.join_next() => match answer {
                    Ok(document) if document.view.cluster == self.cluster => {
                        first.get_or_insert((admin, document));
                        until = until.min(Instant::now() + COMPANY);
                    }
                    Ok(_) => {}
                    Err(why) => drop(self.unanswered.insert(admin, why)),
                },
                // Each question has an answer or an error within a second.
                () = sleep_until(until.into()), if first.is_some() || asking.is_empty() => break,
            }
        }
        let (admin, document) = first?;
        Some(Answered { admin, balancers: self.balancers.len(), document })
    }

    /// Takes in a change of a balancer; returns its addresses if they are new.
    fn hear(&mut self, change: Change) -> Vec<SocketAddr> {
        let (instance, endpoints, cluster) = match change {
            Change::Seen(_, Sighting { instance, endpoints, advertisement, .. }) => {
                (instance, endpoints, advertisement.cluster)
            }
            Change::Left(_, instance) => {
                self.balancers.remove(&instance);
                return Vec::new();
            }
            Change::Disturbed(_) => return Vec::new(),
        };
        let room = self.balancers.len().max(self.others.len()) < BALANCERS_MAX;
        if cluster != self.cluster {
            self.others.extend(room.then_some(cluster));
            return Vec::new();
        }
        match self.balancers.get(&instance) {
            Some(known) if *known == endpoints => return Vec::new(),
            None if !room => return Vec::new(),
            _ => {}
        }
        self.balancers.insert(instance, endpoints.clone());
        endpoints
    }

    /// The nodes that were heard of, as soon as each has answered, or once the time to answer is over.
    pub(super) async fn nodes(&mut self) -> Document {
        let all_settled = |pool: &Arc<pool::Pool>| {
            pool.members().iter().all(|member| member.health != Health::Starting)
        };
        let until = self.began + BROWSE + ANSWERS;
        let _ = timeout_at(until.into(), self.pool.wait_for(all_settled)).await;
        Document::from_pool(&self.cluster, &self.pool.borrow())
    }

    pub(super) fn balancers(&self) -> usize {
        self.balancers.len()
    }

    /// True if no balancer was heard, of this cluster or of another.
    pub(super) fn heard_nothing(&self) -> bool {
        self.balancers.is_empty() && self.others.is_empty()
    }

    /// The reasons why no balancer answered, a sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let cluster = &self.cluster;
        let silent = self
            .unanswered
            .iter()
            .map(|(admin, why)| format!("the balancer at {admin} does not answer: {why}"));
        let none = format!("no balancer of the cluster {cluster} was found");
        let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
        let elsewhere = (!others.is_empty()).then(|| {
            let others = others.join(", ");
            format!("there are balancers of other clusters: {others}; look there with --cluster")
        });
        silent.chain([none]).chain(elsewhere).collect()
    }
}

async fn ask(admin: SocketAddr) -> (SocketAddr, Result<Document, Unanswered>) {
    (admin, balancer::nodes(admin).await)
}

//! Listening for balancers, and for nodes in case there is none. The nodes go through the same
//! table as in a balancer, so that what is said of them is the same too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use super::{BROWSE, Document, Said, nodes};
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

/// After the first balancer's answer: how many there are is known by then.
const COMPANY: Duration = Duration::from_millis(300);

/// How long nodes that were just heard of may take to answer.
const ANSWERS: Duration = Duration::from_secs(1);

/// The most balancers that are asked.
const BALANCERS_MAX: usize = 16;

/// Words that wait.
const CHANGES_MAX: usize = 64;

pub(super) struct Outlook {
    cluster: String,
    began: Instant,
    heard: mpsc::Receiver<Change>,
    /// Where each balancer of the cluster is.
    balancers: BTreeMap<String, Vec<SocketAddr>>,
    /// The clusters that other balancers serve.
    others: BTreeSet<String>,
    /// Why the balancers did not answer.
    silence: BTreeMap<SocketAddr, Unanswered>,
    pool: pool::Watch,
    _browsers: [Browser; 2],
    /// The table's task, which ends with this.
    _table: JoinSet<()>,
    /// There is no traffic and nobody drains here, but the table waits for both.
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
        let (traffic, feedback) = mpsc::channel(1);
        let (people, orders) = mpsc::channel(1);
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
            // Nobody asks whether it lives: it is gone with the command.
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
            silence: BTreeMap::new(),
            pool,
            _browsers: browsers,
            _table: table,
            _senders: (traffic, people),
        }
    }

    /// The first balancer that answers, of how many, and what it says. Until [`BROWSE`] is over;
    /// later only those that are known by then are asked.
    pub(super) async fn balancer(&mut self) -> Option<(SocketAddr, usize, Said)> {
        let mut asking = JoinSet::new();
        for endpoint in self.balancers.values().flatten() {
            asking.spawn(asked(*endpoint));
        }
        let mut until = self.began + BROWSE;
        let mut first = None;
        loop {
            tokio::select! {
                biased;
                Some(change) = self.heard.recv() => {
                    for endpoint in self.hear(change) {
                        asking.spawn(asked(endpoint));
                    }
                }
                Some(Ok((admin, answer))) = asking.join_next() => match answer {
                    Ok(said) if said.0.cluster == self.cluster => {
                        first.get_or_insert((admin, said));
                        until = until.min(Instant::now() + COMPANY);
                    }
                    Ok(_) => {}
                    Err(why) => drop(self.silence.insert(admin, why)),
                },
                // Who is asked has an answer or an error within a second.
                () = sleep_until(until.into()), if first.is_some() || asking.is_empty() => break,
            }
        }
        let (admin, said) = first?;
        Some((admin, self.balancers.len(), said))
    }

    /// Takes in a word about a balancer; gives its addresses if they are news.
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

    /// The nodes that were heard of, once each has answered or was silent for a while.
    pub(super) async fn nodes(&mut self) -> Document {
        let asked = |pool: &Arc<pool::Pool>| {
            pool.members().iter().all(|member| member.health != Health::Starting)
        };
        let until = self.began + BROWSE + ANSWERS;
        let _ = timeout_at(until.into(), self.pool.wait_for(asked)).await;
        Document::of(&self.cluster, &self.pool.borrow())
    }

    pub(super) fn balancers(&self) -> usize {
        self.balancers.len()
    }

    /// Whether nothing at all came.
    pub(super) fn heard_nothing(&self) -> bool {
        self.balancers.is_empty() && self.others.is_empty()
    }

    /// Why there is no balancer.
    pub(super) fn notes(&self) -> Vec<String> {
        let cluster = &self.cluster;
        let silent = self
            .silence
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

async fn asked(admin: SocketAddr) -> (SocketAddr, Result<Said, Unanswered>) {
    (admin, nodes(admin).await)
}

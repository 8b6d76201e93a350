//! Browses for one service, that of nodes or that of balancers, and proposes the instances that
//! pass the filter. It does not decide which of them are used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{DaemonEvent, Metrics, Receiver, ServiceDaemon, ServiceEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};
use tracing::{debug, info, warn};

use super::cache::{CacheMeter, is_full, records};
use super::daemon::{Daemon, recv, wait_for_port, warn_unheard};
use super::filter::Trust;
use super::hearing::{Hearing, instance_label};
use super::interfaces::{Interfaces, Purpose, Rule};
use super::outbox::Outbox;
use super::timers::{Delays, Repeats};
use crate::cluster::config::DiscoveryConfig;
use crate::cluster::counts::Counts;
use crate::cluster::node::{Change, NodeId, Source};

/// The seconds from one browse to the next; the last interval repeats. mdns-sd stops asking for a
/// node that was silent for over two minutes; browsing again finds it within 0.2 s.
const BROWSE_AGAIN_S: [u64; 4] = [5, 10, 20, 30];

/// The pause before a daemon with a full cache is replaced, so that a flood cannot make us start
/// daemons without a pause.
const RECYCLE_AFTER: Duration = Duration::from_millis(250);

/// Browses in a task of its own, which ends when this is dropped or when nobody receives the
/// changes.
pub struct Browser {
    task: JoinHandle<()>,
}

impl Browser {
    /// Starts to browse for `service`. `is_own` returns whether an id at a port belongs to a node
    /// of this machine (see [`Hardware::node_id`](crate::os::identity::Hardware::node_id)); such a
    /// node may be at a loopback address. A full `changes` blocks nothing: the newest change of
    /// each instance waits.
    ///
    /// Nodes of all clusters are reported;
    /// [`cluster`](crate::cluster::node::Advertisement::cluster) distinguishes them.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(
        config: &DiscoveryConfig,
        service: &'static str,
        trust: Trust,
        is_own: impl Fn(&NodeId, u16) -> bool + Send + 'static,
        changes: mpsc::Sender<Change>,
        counts: Arc<Counts>,
    ) -> Self {
        let interfaces = Interfaces::new(Rule::new(config, Purpose::Hear));
        let hearing =
            Hearing::new(service, Arc::clone(&interfaces), trust, is_own, Arc::clone(&counts));
        let browsing = Browsing {
            service,
            interfaces,
            hearing,
            outbox: Outbox::default(),
            cache: CacheMeter::new(),
            deaf: false,
            counts,
        };
        Self { task: tokio::spawn(browsing.run(changes)) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The reason why a session with one daemon ended.
enum BrowseEnd {
    /// Nobody receives the changes any more.
    Closed,
    /// The daemon's cache outgrew its bound.
    Full,
    /// The daemon does not listen on any interface although there is one.
    Deaf,
    /// The daemon is gone or could not be started.
    Failed(mdns_sd::Error),
}

/// The state of the task, kept from one daemon to the next.
struct Browsing {
    service: &'static str,
    interfaces: Arc<Interfaces>,
    hearing: Hearing,
    outbox: Outbox,
    /// Measures the cache of the session's daemon.
    cache: CacheMeter,
    /// True if the daemon reported last that it listens on no interface.
    deaf: bool,
    counts: Arc<Counts>,
}

impl Browsing {
    async fn run(mut self, changes: mpsc::Sender<Change>) {
        let mut delays = Delays::new();
        loop {
            let began = Instant::now();
            let end = self.session(&changes).await.unwrap_or_else(BrowseEnd::Failed);
            if began.elapsed() > Delays::LONGEST {
                delays = Delays::new();
            }
            match end {
                BrowseEnd::Closed => return,
                BrowseEnd::Full => {
                    self.counts.mdns.restarts.add("cache_full");
                    debug!("mdns cache full, starting over");
                    sleep(RECYCLE_AFTER).await;
                }
                BrowseEnd::Deaf => {
                    self.counts.mdns.restarts.add("no_interface");
                    let wait = delays.next();
                    warn_unheard(wait);
                    sleep(wait).await;
                }
                BrowseEnd::Failed(error) => {
                    self.counts.mdns.restarts.add("failed");
                    let wait = delays.next();
                    warn!(
                        %error, retry_in = ?wait,
                        "mdns failed, new nodes are not found until it works again; \
                         check the limits of threads and open files of this process"
                    );
                    sleep(wait).await;
                }
            }
        }
    }

    /// Works with one daemon until it must be replaced. The changes that it reported stay in the
    /// outbox.
    async fn session(&mut self, changes: &mpsc::Sender<Change>) -> mdns_sd::Result<BrowseEnd> {
        // The balancer's advertiser finds the same obstacle, and it warns.
        wait_for_port(false).await;
        let (daemon, daemon_events) = Daemon::start(&self.interfaces)?;
        let mut subscription = Subscription::new(&daemon, self.service)?;
        let mut rounds = Repeats::new(&BROWSE_AGAIN_S);
        let mut was_deaf = false;
        self.cache = CacheMeter::new();
        loop {
            tokio::select! {
                // The network comes last, or a flood of packets would keep everything else waiting.
                biased;
                permit = room_for_next(&self.outbox, changes) => {
                    let Ok(permit) = permit else { return Ok(BrowseEnd::Closed) };
                    if let Some(change) = self.outbox.pop() {
                        permit.send(change);
                    }
                }
                metrics = self.cache.measured(&daemon) => if self.is_full(&metrics?) {
                    return Ok(BrowseEnd::Full);
                },
                () = rounds.due() => {
                    if self.deaf && was_deaf && !self.interfaces.used().is_empty() {
                        return Ok(BrowseEnd::Deaf);
                    }
                    was_deaf = self.deaf;
                    subscription.renew(&daemon)?;
                }
                event = daemon_events.recv_async() => {
                    self.on_daemon(&event.map_err(|_| mdns_sd::Error::DaemonShutdown)?);
                }
                event = subscription.next(&daemon) => self.on_service(event?),
            }
            // The channels of mdns-sd never make a task yield.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Records the size of the daemon's cache. Returns whether it has outgrown its bound.
    fn is_full(&self, metrics: &Metrics) -> bool {
        self.counts.mdns.records.set(records(metrics).max(0) as u64);
        is_full(metrics)
    }

    fn on_daemon(&mut self, event: &DaemonEvent) {
        match event {
            DaemonEvent::IpDel(ip) if !ip.is_loopback() => {
                self.interfaces.refresh();
                info!(%ip, "own address lost");
                self.outbox.push(Change::Disturbed(Source::Mdns), Instant::now());
            }
            DaemonEvent::IpDel(_) | DaemonEvent::IpAdd(_) => self.interfaces.refresh(),
            _ => {}
        }
    }

    fn on_service(&mut self, event: ServiceEvent) {
        let now = Instant::now();
        let events = &self.counts.mdns.events;
        match event {
            ServiceEvent::ServiceResolved(service) => {
                events.add("resolved");
                if let Some(sighting) = self.hearing.sighting(&service, now) {
                    self.outbox.push(Change::Seen(Source::Mdns, sighting), now);
                }
            }
            ServiceEvent::ServiceRemoved(_, fullname) => {
                events.add("removed");
                if let Some(instance) = instance_label(&fullname, self.service) {
                    self.outbox.push(Change::Left(Source::Mdns, instance.to_owned()), now);
                }
            }
            ServiceEvent::ServiceFound(..) => {
                events.add("found");
                self.cache.found();
            }
            // The daemon reports the number of interfaces it listens on nowhere else.
            ServiceEvent::SearchStarted(text) => self.deaf = text.contains(" on 0 interfaces"),
            _ => {}
        }
    }
}

/// The subscription to one service at one daemon.
struct Subscription {
    service: &'static str,
    events: Receiver<ServiceEvent>,
    /// The receiver before the current one, until the daemon has dropped its end: a departure may
    /// still be in it.
    before: Option<Receiver<ServiceEvent>>,
}

impl Subscription {
    fn new(daemon: &ServiceDaemon, service: &'static str) -> mdns_sd::Result<Self> {
        Ok(Self { service, events: daemon.browse(service)?, before: None })
    }

    /// Browses again: the daemon asks the network anew and repeats the instances it knows.
    fn renew(&mut self, daemon: &ServiceDaemon) -> mdns_sd::Result<()> {
        let events = daemon.browse(self.service)?;
        self.before = Some(std::mem::replace(&mut self.events, events));
        Ok(())
    }

    /// Waits for the next event.
    ///
    /// ## Cancel safety
    ///
    /// No event is lost when the future is dropped midway.
    async fn next(&mut self, daemon: &ServiceDaemon) -> mdns_sd::Result<ServiceEvent> {
        loop {
            tokio::select! {
                biased;
                event = recv(self.before.as_ref()) => match event {
                    Some(event) => return Ok(event),
                    None => self.before = None,
                },
                event = self.events.recv_async() => match event {
                    Ok(event) => return Ok(event),
                    Err(_) => self.restart(daemon)?,
                },
            }
        }
    }

    /// Subscribes anew after the subscription died, because its channel was full. The daemon first
    /// forgets the service, or the replay of its cache would fill the channel again.
    fn restart(&mut self, daemon: &ServiceDaemon) -> mdns_sd::Result<()> {
        debug!("mdns subscription lost, browsing anew");
        daemon.stop_browse(self.service)?;
        self.events = daemon.browse(self.service)?;
        Ok(())
    }
}

/// Waits until the head of the outbox may go and `changes` has room for it. An empty outbox waits
/// for ever, or until nobody receives the changes any more.
async fn room_for_next<'a>(
    outbox: &Outbox,
    changes: &'a mpsc::Sender<Change>,
) -> Result<mpsc::Permit<'a, Change>, mpsc::error::SendError<()>> {
    match outbox.due(Instant::now()) {
        Some(due) => sleep_until(due.into()).await,
        // There is nothing to send, but the task must end when nobody receives the changes any
        // more.
        None => {
            changes.closed().await;
        }
    }
    changes.reserve().await
}

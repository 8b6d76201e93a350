//! Hears of nodes, or of balancers: browses for their service and proposes what passes the filter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{DaemonEvent, Metrics, Receiver, ServiceEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};
use tracing::{debug, info, warn};

use super::daemon::{
    Daemon, Delays, MEASURE_EVERY, is_full, jittered, port_is_free, records, recv, warn_unheard,
};
use super::filter::Trust;
use super::hearing::{Hearing, instance_label};
use super::interfaces::{Interfaces, Purpose, Rule};
use super::outbox::Outbox;
use crate::cluster::config::DiscoveryConfig;
use crate::cluster::counts::Counts;
use crate::cluster::node::{Change, NodeId, Source};

/// When to browse again; the last repeats. A node that fell silent for over two minutes is not asked
/// for by itself any more, browsing again heals that within 0.2 s.
const BROWSE_AGAIN_S: [u64; 4] = [5, 10, 20, 30];

/// Looked at earlier when this many instances were found since.
const FOUND_MAX: u32 = 512;

/// How long the cache is rebuilt before the next is thrown away.
const RECYCLE_AFTER: Duration = Duration::from_millis(250);

/// Browsing for nodes in a task of its own, which ends when this is dropped or nobody listens.
pub struct Browser {
    task: JoinHandle<()>,
}

impl Browser {
    /// Starts to browse for this service. `own` says whether an id at a port is that of a node of this machine (see
    /// [`Hardware::node_id`](crate::os::identity::Hardware::node_id)); such a node may be at a loopback
    /// address. A full `changes` never blocks: the newest word of each instance waits.
    ///
    /// All clusters are reported; [`cluster`](crate::cluster::node::Advertisement::cluster) tells them apart.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(
        config: &DiscoveryConfig,
        service: &'static str,
        trust: Trust,
        own: impl Fn(&NodeId, u16) -> bool + Send + 'static,
        changes: mpsc::Sender<Change>,
        counts: Arc<Counts>,
    ) -> Self {
        let interfaces = Interfaces::new(Rule::new(config, Purpose::Hear));
        let hearing =
            Hearing::new(service, Arc::clone(&interfaces), trust, own, Arc::clone(&counts));
        let browsing = Browsing {
            service,
            interfaces,
            hearing,
            outbox: Outbox::default(),
            found: 0,
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

/// Why a session with one daemon ended.
enum End {
    /// Nobody listens any more.
    Closed,
    /// Its cache grew past the bound.
    Full,
    /// It does not listen on any interface although there is one.
    Deaf,
    /// It is gone or could not be started.
    Failed(mdns_sd::Error),
}

struct Browsing {
    service: &'static str,
    interfaces: Arc<Interfaces>,
    hearing: Hearing,
    outbox: Outbox,
    /// Instances found since the cache was last measured.
    found: u32,
    /// The daemon said that it listens on no interface.
    deaf: bool,
    counts: Arc<Counts>,
}

impl Browsing {
    async fn run(mut self, changes: mpsc::Sender<Change>) {
        let mut delays = Delays::new();
        loop {
            let began = Instant::now();
            let end = self.session(&changes).await.unwrap_or_else(End::Failed);
            if began.elapsed() > Delays::LONGEST {
                delays = Delays::new();
            }
            match end {
                End::Closed => return,
                End::Full => {
                    self.counts.mdns.restarts.add("cache_full");
                    debug!("mdns cache full, starting over");
                    sleep(RECYCLE_AFTER).await;
                }
                End::Deaf => {
                    self.counts.mdns.restarts.add("no_interface");
                    let wait = delays.next();
                    warn_unheard(wait);
                    sleep(wait).await;
                }
                End::Failed(error) => {
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

    /// Lives with one daemon until it must be replaced. What it reported stays in the outbox.
    async fn session(&mut self, changes: &mpsc::Sender<Change>) -> mdns_sd::Result<End> {
        // The balancer's advertiser finds the same, and tells.
        port_is_free(false).await;
        let (daemon, monitor) = Daemon::start(&self.interfaces)?;
        let mut events = daemon.browse(self.service)?;
        // The receiver before the current one, until the daemon has dropped its end: a departure may
        // still be in it.
        let mut before: Option<Receiver<ServiceEvent>> = None;
        let mut measured: Option<Receiver<Metrics>> = None;
        let mut browsed = 0;
        let mut browse_at = browse_again_at(browsed);
        let mut measure_at = Instant::now() + MEASURE_EVERY;
        let mut deaf_before = false;
        self.found = 0;
        loop {
            tokio::select! {
                // What comes in from the network comes last, or a flood would keep all else waiting.
                biased;
                permit = next(&self.outbox, changes) => match (permit, self.outbox.pop()) {
                    (Ok(permit), Some(change)) => permit.send(change),
                    (Ok(_), None) => {}
                    (Err(_), _) => return Ok(End::Closed),
                },
                () = sleep_until(measure_at.into()) => {
                    measure_at = Instant::now() + MEASURE_EVERY;
                    self.found = 0;
                    measured = Some(daemon.get_metrics()?);
                },
                metrics = recv(measured.as_ref()) => {
                    measured = None;
                    let Some(metrics) = metrics else { continue };
                    self.counts.mdns.records.set(records(&metrics).max(0) as u64);
                    if is_full(&metrics) {
                        return Ok(End::Full);
                    }
                },
                () = sleep_until(browse_at.into()) => {
                    browsed += 1;
                    browse_at = browse_again_at(browsed);
                    if self.deaf && deaf_before && !self.interfaces.used().is_empty() {
                        return Ok(End::Deaf);
                    }
                    deaf_before = self.deaf;
                    before = Some(std::mem::replace(&mut events, daemon.browse(self.service)?));
                },
                event = monitor.recv_async() => match event {
                    Ok(event) => self.on_daemon(&event),
                    Err(_) => return Err(mdns_sd::Error::DaemonShutdown),
                },
                event = recv(before.as_ref()) => match event {
                    Some(event) => self.on_service(event),
                    None => before = None,
                },
                event = events.recv_async() => match event {
                    Ok(event) => self.on_service(event),
                    Err(_) => {
                        // The subscription died: its channel was full. Asking anew from an empty
                        // cache, or the replay would fill it again.
                        debug!("mdns subscription lost, browsing anew");
                        daemon.stop_browse(self.service)?;
                        events = daemon.browse(self.service)?;
                    }
                },
            }
            // The channels of mdns-sd never make a task yield.
            tokio::task::coop::consume_budget().await;
            if self.found >= FOUND_MAX {
                measure_at = Instant::now();
            }
        }
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
                self.found += 1;
            }
            // The only place where the daemon tells how many interfaces it listens on.
            ServiceEvent::SearchStarted(text) => self.deaf = text.contains(" on 0 interfaces"),
            _ => {}
        }
    }
}

/// When to browse again, having done so `browsed` times before.
fn browse_again_at(browsed: usize) -> Instant {
    let last = BROWSE_AGAIN_S.len() - 1;
    Instant::now() + jittered(Duration::from_secs(BROWSE_AGAIN_S[browsed.min(last)]))
}

/// Room for the head of the outbox once it may go; waits for ever when there is none.
async fn next<'a>(
    outbox: &Outbox,
    changes: &'a mpsc::Sender<Change>,
) -> Result<mpsc::Permit<'a, Change>, mpsc::error::SendError<()>> {
    match outbox.due(Instant::now()) {
        Some(due) => sleep_until(due.into()).await,
        // Nothing to send, but if nobody listens any more this must still end.
        None => {
            changes.closed().await;
        }
    }
    changes.reserve().await
}

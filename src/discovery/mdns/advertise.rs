//! Says who we are: registers our services, repeats itself, and says goodbye.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{DaemonEvent, DnsNameChange, Metrics, Receiver, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::advert::{Advert, Service};
use super::announced::{Announced, CHECK_EVERY, Verdict};
use super::daemon::{
    Daemon, Delays, MEASURE_EVERY, is_full, jittered, port_is_free, recv, warn_unheard,
};
use super::interfaces::{Interfaces, Purpose, Rule};
use super::names::{Names, Wanted};
use crate::cluster::config::DiscoveryConfig;

/// When everything is announced again, in seconds after the last time; the last one repeats. Soon at
/// first, because both announcements of RFC 6762 section 8.3 are lost once in eleven times where a
/// third of the packets is; then for those who missed it, and for those who were cut off for longer
/// than a record lives.
const ANNOUNCE_AGAIN_S: [u64; 5] = [3, 3, 6, 12, 60];

/// mdns-sd repeats a goodbye once after 120 ms, if it still runs then.
const GOODBYE_REPEAT: Duration = Duration::from_millis(150);

/// The most a goodbye takes.
const GOODBYE_MAX: Duration = Duration::from_millis(1500);

/// Advertising in a task of its own.
///
/// It works without a network and starts when an address comes. Dropping it says goodbye in the
/// background; [`Advertiser::goodbye`] waits until it was said.
pub struct Advertiser {
    goodbye: mpsc::Sender<oneshot::Sender<()>>,
}

impl Advertiser {
    /// Starts to advertise what listens on the address `bound`: an unspecified one is published with
    /// the addresses of all chosen interfaces, any other with itself alone.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(config: &DiscoveryConfig, bound: IpAddr, adverts: Vec<Advert>) -> Self {
        Self::with_names(config, bound, adverts, None)
    }

    /// The same, and claims names that lead here.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn with_names(
        config: &DiscoveryConfig,
        bound: IpAddr,
        adverts: Vec<Advert>,
        names: Option<Names>,
    ) -> Self {
        let bound = bound.to_canonical();
        let (goodbye, goodbyes) = mpsc::channel(1);
        let interfaces = Interfaces::new(Rule::new(config, Purpose::BeFound(bound)));
        let services = adverts.into_iter().map(|advert| Service::new(advert, bound)).collect();
        let advertising = Advertising {
            interfaces,
            services,
            names: Wanted::new(names, bound),
            heard: Announced::No { since: None },
            probe: true,
            told: None,
        };
        tokio::spawn(advertising.run(goodbyes));
        Self { goodbye }
    }

    /// Withdraws everything and waits until that was said, about 0.2 s and at most 1.5 s. Others remove us
    /// a second later.
    pub async fn goodbye(self) {
        let (said, wait) = oneshot::channel();
        if self.goodbye.send(said).await.is_ok() {
            // An error means that the task is gone, and with it its daemon.
            let _ = timeout(GOODBYE_MAX, wait).await;
        }
    }
}

/// Why a session with one daemon ended.
enum End {
    /// We are asked to leave.
    Goodbye(Option<oneshot::Sender<()>>),
    /// Nothing could be announced.
    Unheard,
    /// It was ended: its cache outgrew its bound, or the cluster's host name is free and it would
    /// register another. Its goodbyes are undone at once, before anybody has acted on them.
    Replaced,
}

struct Advertising {
    interfaces: Arc<Interfaces>,
    services: Vec<Service>,
    names: Wanted,
    heard: Announced,
    /// Whether the names of the services must be probed for; not after a daemon that held them.
    probe: bool,
    /// What was last said of the interfaces.
    told: Option<String>,
}

impl Advertising {
    async fn run(mut self, mut goodbyes: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut delays = Delays::new();
        loop {
            let began = Instant::now();
            let end = self.session(&mut goodbyes).await;
            if began.elapsed() > Delays::LONGEST {
                delays = Delays::new();
            }
            let wait = match end {
                Ok(End::Goodbye(said)) => {
                    // An error means that nobody waits.
                    let _ = said.map(|said| said.send(()));
                    return;
                }
                Ok(End::Replaced) => {
                    self.probe = self.heard != Announced::Yes;
                    continue;
                }
                Ok(End::Unheard) => {
                    let wait = delays.next();
                    warn_unheard(wait);
                    wait
                }
                Err(error) => {
                    let wait = delays.next();
                    warn!(
                        %error, retry_in = ?wait,
                        "mdns failed, nobody finds this machine until it works again; \
                         check the limits of threads and open files of this process"
                    );
                    wait
                }
            };
            self.probe = true;
            tokio::select! {
                said = goodbyes.recv() => {
                    let _ = said.map(|said| said.send(()));
                    return;
                }
                () = sleep(wait) => {}
            }
        }
    }

    /// Lives with one daemon until it must be replaced or all is over.
    async fn session(&mut self, goodbyes: &mut mpsc::Receiver<oneshot::Sender<()>>) -> Result<End> {
        self.tell_obstacle();
        tokio::select! {
            said = goodbyes.recv() => return Ok(End::Goodbye(said)),
            () = port_is_free(true) => {}
        }
        let (daemon, monitor) = Daemon::start(&self.interfaces)?;
        self.names.start(&daemon)?;
        self.heard = Announced::not_yet(&self.interfaces.used(), Instant::now());
        self.register(&daemon)?;
        let mut announced = 0;
        let mut announce_at = announce_again_at(announced);
        let mut check_at = Instant::now() + CHECK_EVERY;
        let mut measure_at = Instant::now() + MEASURE_EVERY;
        let mut measured: Option<Receiver<Metrics>> = None;
        loop {
            let own: Vec<IpAddr> = self.interfaces.links().iter().map(|link| link.ip).collect();
            tokio::select! {
                biased;
                said = goodbyes.recv() => {
                    self.withdraw(daemon).await;
                    return Ok(End::Goodbye(said));
                }
                event = monitor.recv_async() => {
                    let event = event.map_err(|_| mdns_sd::Error::DaemonShutdown)?;
                    self.on_daemon(&daemon, event)?;
                }
                news = self.names.news(&daemon, &own) => if self.names.act(&news?, &daemon)? {
                    self.names.keep();
                    daemon.end().await;
                    return Ok(End::Replaced);
                },
                () = sleep_until(measure_at.into()) => {
                    measure_at = Instant::now() + MEASURE_EVERY;
                    measured = Some(daemon.get_metrics()?);
                }
                metrics = recv(measured.as_ref()) => {
                    measured = None;
                    if metrics.is_some_and(|metrics| is_full(&metrics)) {
                        debug!("mdns cache full, starting over");
                        self.names.keep();
                        daemon.end().await;
                        return Ok(End::Replaced);
                    }
                }
                () = sleep_until(announce_at.into()) => {
                    announced += 1;
                    announce_at = announce_again_at(announced);
                    self.register(&daemon)?;
                    for name in self.names.ours() {
                        daemon.register(name.info(true)?)?;
                    }
                }
                () = sleep_until(check_at.into()), if !self.services.is_empty() && self.heard != Announced::Yes => {
                    check_at = Instant::now() + CHECK_EVERY;
                    self.tell_obstacle();
                    match self.heard.check(&self.interfaces.used(), Instant::now()) {
                        Verdict::Fine => {}
                        Verdict::AskAgain => self.register(&daemon)?,
                        Verdict::Unheard => return Ok(End::Unheard),
                    }
                }
            }
        }
    }

    /// Says, once each time it changes, why nobody on the network can hear us.
    fn tell_obstacle(&mut self) {
        let obstacle = self.interfaces.obstacle();
        if obstacle != self.told {
            match &obstacle {
                Some(obstacle) => warn!("{obstacle}"),
                None => debug!("there is a network"),
            }
            self.told = obstacle;
        }
    }

    /// Registers all services, or announces them again: to mdns-sd that is the same.
    fn register(&self, daemon: &Daemon) -> Result<()> {
        self.services.iter().try_for_each(|service| daemon.register(service.info(self.probe)?))
    }

    fn on_daemon(&mut self, daemon: &Daemon, event: DaemonEvent) -> Result<()> {
        match event {
            DaemonEvent::Announce(fullname, place) => {
                self.names.announced(&fullname);
                let ours = self.services.iter().any(|service| service.owns(&fullname));
                if ours && self.heard.announced(&place, &self.interfaces.used()) {
                    info!(service = fullname, place, "announced");
                }
            }
            DaemonEvent::IpAdd(_) | DaemonEvent::IpDel(_) => {
                self.interfaces.refresh();
                self.tell_obstacle();
                let added = if let DaemonEvent::IpAdd(ip) = event { Some(ip) } else { None };
                self.heard.changed(added, &self.interfaces.used(), Instant::now());
                self.names.disturbed(daemon)?;
            }
            DaemonEvent::NameChange(change) => self.on_conflict(daemon, &change)?,
            DaemonEvent::Error(error) => debug!(%error, "mdns error"),
            _ => {}
        }
        Ok(())
    }

    fn on_conflict(&mut self, daemon: &Daemon, change: &DnsNameChange) -> Result<()> {
        if self.names.conflict(change, daemon)? {
            return Ok(());
        }
        let lost = self.services.iter_mut().find(|service| service.owns(&change.original));
        let Some(service) = lost else {
            return Ok(());
        };
        let _ = daemon.unregister(&service.fullname())?;
        service.rename();
        error!(
            lost = change.original,
            interface = change.intf_name,
            now = service.label(),
            "another machine answers for our mdns name, taking another; two machines have one id: \
             look for a copied PICLUSTER_ID or network card address"
        );
        daemon.register(service.info(true)?)
    }

    /// Says goodbye for everything and ends the daemon.
    async fn withdraw(&self, daemon: Daemon) {
        let all = async {
            for service in self.services.iter().chain(self.names.ours()) {
                if let Ok(done) = daemon.unregister(&service.fullname()) {
                    let _ = done.recv_async().await;
                }
            }
            sleep(GOODBYE_REPEAT).await;
        };
        if timeout(GOODBYE_MAX / 2, all).await.is_err() {
            debug!("mdns goodbye not confirmed");
        }
        daemon.end().await;
    }
}

/// When to announce again, having done so `announced` times before.
fn announce_again_at(announced: usize) -> Instant {
    let last = ANNOUNCE_AGAIN_S.len() - 1;
    Instant::now() + jittered(Duration::from_secs(ANNOUNCE_AGAIN_S[announced.min(last)]))
}

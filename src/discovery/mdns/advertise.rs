//! Advertises us: registers our services and names, announces them again and again, and withdraws
//! them at the end. It does not define the services (`advert`), and does not decide which names are
//! ours (`names`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{DaemonEvent, DnsNameChange, Receiver, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::advert::{Advert, Service};
use super::announced::{Announced, CHECK_EVERY, Verdict};
use super::cache::{CacheMeter, is_full};
use super::daemon::{Daemon, wait_for_port, warn_unheard};
use super::interfaces::{Interfaces, Purpose, Rule};
use super::names::{NameClaims, WantedNames};
use super::timers::{Delays, Repeats};
use crate::cluster::config::DiscoveryConfig;

/// The seconds from one announcement of everything to the next; the last interval repeats. The
/// first ones are short, because both announcements of RFC 6762 section 8.3 get lost once in eleven
/// times where a third of the packets gets lost. The later ones are for machines that missed those,
/// or that were cut off for longer than a record lives.
const ANNOUNCE_AGAIN_S: [u64; 5] = [3, 3, 6, 12, 60];

/// mdns-sd repeats a goodbye once after 120 ms, if it still runs then.
const GOODBYE_REPEAT: Duration = Duration::from_millis(150);

/// The longest time a goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_millis(1500);

/// Advertises in a task of its own.
///
/// The task starts without a network too, and advertises as soon as an address comes. Dropping the
/// advertiser sends the goodbye in the background; [`Advertiser::goodbye`] waits until it was sent.
pub struct Advertiser {
    goodbye: mpsc::Sender<oneshot::Sender<()>>,
}

impl Advertiser {
    /// Starts to advertise services that listen on the address `bound`. An unspecified address is
    /// published as the addresses of all chosen interfaces, any other one as itself alone.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(config: &DiscoveryConfig, bound: IpAddr, adverts: Vec<Advert>) -> Self {
        Self::with_names(config, bound, adverts, None)
    }

    /// Does the same, and claims the `names` that lead here.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn with_names(
        config: &DiscoveryConfig,
        bound: IpAddr,
        adverts: Vec<Advert>,
        names: Option<WantedNames>,
    ) -> Self {
        let bound = bound.to_canonical();
        let (goodbye, goodbyes) = mpsc::channel(1);
        let interfaces = Interfaces::new(Rule::new(config, Purpose::BeFound(bound)));
        let services = adverts.into_iter().map(|advert| Service::new(advert, bound)).collect();
        let advertising = Advertising {
            interfaces,
            services,
            names: NameClaims::new(names, bound),
            announced: Announced::No { since: None },
            probe: true,
            last_obstacle: None,
        };
        tokio::spawn(advertising.run(goodbyes));
        Self { goodbye }
    }

    /// Withdraws everything and waits until the goodbye was sent, about 0.2 s and at most 1.5 s.
    /// Others remove us a second later.
    pub async fn goodbye(self) {
        let (reply, done) = oneshot::channel();
        if self.goodbye.send(reply).await.is_ok() {
            // An error means that the task is gone, and with it its daemon.
            let _ = timeout(GOODBYE_MAX, done).await;
        }
    }
}

/// The reason why a session with one daemon ended.
enum AdvertiseEnd {
    /// The owner asked for a goodbye, and waits for the reply; without a reply channel the owner is
    /// gone.
    Goodbye(Option<oneshot::Sender<()>>),
    /// Nothing could be announced on any interface.
    Unheard,
    /// The daemon was ended to be replaced: its cache outgrew its bound, or a name is free and this
    /// daemon would register another one instead. The next daemon announces everything at once,
    /// before anybody has acted on the goodbyes of this one.
    Replaced,
}

/// The state of the task, kept from one daemon to the next.
struct Advertising {
    interfaces: Arc<Interfaces>,
    services: Vec<Service>,
    names: NameClaims,
    /// The state of the self-check at the present daemon.
    announced: Announced,
    /// True if the daemon must probe for the names of the services. A daemon that replaces one
    /// which held them need not.
    probe: bool,
    /// The obstacle that was logged last.
    last_obstacle: Option<String>,
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
                Ok(AdvertiseEnd::Goodbye(reply)) => {
                    // An error means that nobody waits.
                    let _ = reply.map(|reply| reply.send(()));
                    return;
                }
                Ok(AdvertiseEnd::Replaced) => {
                    self.probe = self.announced != Announced::Yes;
                    continue;
                }
                Ok(AdvertiseEnd::Unheard) => {
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
                reply = goodbyes.recv() => {
                    let _ = reply.map(|reply| reply.send(()));
                    return;
                }
                () = sleep(wait) => {}
            }
        }
    }

    /// Starts a daemon, works with it until it must be replaced or all is over, and ends it.
    async fn session(
        &mut self,
        goodbyes: &mut mpsc::Receiver<oneshot::Sender<()>>,
    ) -> Result<AdvertiseEnd> {
        self.log_obstacle();
        tokio::select! {
            reply = goodbyes.recv() => return Ok(AdvertiseEnd::Goodbye(reply)),
            () = wait_for_port(true) => {}
        }
        let (daemon, events) = Daemon::start(&self.interfaces)?;
        self.names.start(&daemon)?;
        self.announced = Announced::not_yet(&self.interfaces.used(), Instant::now());
        self.register(&daemon)?;
        let end = self.advertise(&daemon, &events, goodbyes).await?;
        match end {
            AdvertiseEnd::Goodbye(_) => self.withdraw(daemon).await,
            AdvertiseEnd::Replaced => {
                self.names.remember_ours();
                daemon.end().await;
            }
            AdvertiseEnd::Unheard => {}
        }
        Ok(end)
    }

    /// Keeps our names and services announced. It returns when this daemon has to end.
    async fn advertise(
        &mut self,
        daemon: &Daemon,
        events: &Receiver<DaemonEvent>,
        goodbyes: &mut mpsc::Receiver<oneshot::Sender<()>>,
    ) -> Result<AdvertiseEnd> {
        let mut announcements = Repeats::new(&ANNOUNCE_AGAIN_S);
        let mut cache = CacheMeter::new();
        let mut check_at = Instant::now() + CHECK_EVERY;
        loop {
            let own: Vec<IpAddr> = self.interfaces.links().iter().map(|link| link.ip).collect();
            let unannounced = !self.services.is_empty() && self.announced != Announced::Yes;
            tokio::select! {
                biased;
                reply = goodbyes.recv() => return Ok(AdvertiseEnd::Goodbye(reply)),
                event = events.recv_async() => {
                    self.on_daemon(daemon, event.map_err(|_| mdns_sd::Error::DaemonShutdown)?)?;
                }
                news = self.names.news(daemon, &own) => if self.names.act(&news?, daemon)? {
                    return Ok(AdvertiseEnd::Replaced);
                },
                metrics = cache.measured(daemon) => if is_full(&metrics?) {
                    debug!("mdns cache full, starting over");
                    return Ok(AdvertiseEnd::Replaced);
                },
                () = announcements.due() => self.announce_again(daemon)?,
                () = sleep_until(check_at.into()), if unannounced => {
                    check_at = Instant::now() + CHECK_EVERY;
                    self.log_obstacle();
                    match self.announced.check(&self.interfaces.used(), Instant::now()) {
                        Verdict::Fine => {}
                        Verdict::AskAgain => self.register(daemon)?,
                        Verdict::Unheard => return Ok(AdvertiseEnd::Unheard),
                    }
                }
            }
        }
    }

    /// Logs the reason why nobody on the network can hear us, once each time it changes.
    fn log_obstacle(&mut self) {
        let obstacle = self.interfaces.obstacle();
        if obstacle != self.last_obstacle {
            match &obstacle {
                Some(obstacle) => warn!("{obstacle}"),
                None => debug!("there is a network"),
            }
            self.last_obstacle = obstacle;
        }
    }

    /// Registers all services, or announces them again: for mdns-sd that is the same.
    fn register(&self, daemon: &Daemon) -> Result<()> {
        self.services.iter().try_for_each(|service| daemon.register(service.info(self.probe)?))
    }

    /// Announces everything again: the services, and the names that are ours.
    fn announce_again(&self, daemon: &Daemon) -> Result<()> {
        self.register(daemon)?;
        self.names.ours().try_for_each(|name| daemon.register(name.info(true)?))
    }

    fn on_daemon(&mut self, daemon: &Daemon, event: DaemonEvent) -> Result<()> {
        match event {
            DaemonEvent::Announce(fullname, place) => {
                self.names.on_announced(&fullname);
                let ours = self.services.iter().any(|service| service.owns(&fullname));
                if ours && self.announced.on_announcement(&place, &self.interfaces.used()) {
                    info!(service = fullname, place, "announced");
                }
            }
            DaemonEvent::IpAdd(_) | DaemonEvent::IpDel(_) => {
                self.interfaces.refresh();
                self.log_obstacle();
                let added = if let DaemonEvent::IpAdd(ip) = event { Some(ip) } else { None };
                self.announced.on_address_change(added, &self.interfaces.used(), Instant::now());
                self.names.on_address_change(daemon)?;
            }
            DaemonEvent::NameChange(change) => self.on_conflict(daemon, &change)?,
            DaemonEvent::Error(error) => debug!(%error, "mdns error"),
            _ => {}
        }
        Ok(())
    }

    fn on_conflict(&mut self, daemon: &Daemon, change: &DnsNameChange) -> Result<()> {
        if self.names.on_conflict(change, daemon)? {
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

    /// Sends a goodbye for everything and ends the daemon.
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

//! Says who we are: registers our services, repeats itself, and says goodbye.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{DaemonEvent, DnsNameChange, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::advert::{Advert, Service};
use super::claim::{Claim, Step};
use super::daemon::{Daemon, Delays, jittered, warn_unheard};
use super::interfaces::{Interfaces, Ipv6, Link, Rule};
use crate::config::DiscoveryConfig;

/// How often everything is announced again: for those who missed it, and for those who were cut off
/// for longer than a record lives.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(60);

/// How often the self-check looks until the first announcement went out.
const CHECK_EVERY: Duration = Duration::from_millis(1500);

/// An announcement goes out about 1 s after there is an address; later than this something is wrong.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);

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
    /// Starts to advertise.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(config: &DiscoveryConfig, adverts: Vec<Advert>) -> Self {
        let (goodbye, goodbyes) = mpsc::channel(1);
        let interfaces = Interfaces::new(Rule::new(config, Ipv6::WithoutIpv4));
        let (hosts, services): (Vec<_>, Vec<_>) =
            adverts.into_iter().partition(|advert| matches!(advert, Advert::ClusterHost { .. }));
        let services = services.into_iter().map(Service::new).collect();
        let host = hosts.into_iter().next().map(Service::new);
        let advertising =
            Advertising { interfaces, services, host, heard: Announced::No { since: None } };
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

/// Whether the network has heard of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    Yes,
    /// Not yet; `since` is when there was an address to do so from.
    No {
        since: Option<Instant>,
    },
}

/// Why a session with one daemon ended.
enum End {
    /// We are asked to leave.
    Goodbye(Option<oneshot::Sender<()>>),
    /// Nothing could be announced.
    Unheard,
    /// The cluster's host name is free, and this daemon cannot register it any more.
    Renamed,
}

struct Advertising {
    interfaces: Arc<Interfaces>,
    services: Vec<Service>,
    host: Option<Service>,
    heard: Announced,
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
                Ok(End::Renamed) => continue,
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
        let (daemon, monitor) = Daemon::start(&self.interfaces)?;
        let mut claim = self.host.is_some().then(|| Claim::start(&daemon)).transpose()?;
        let since = (!self.interfaces.used().is_empty()).then(Instant::now);
        self.heard = Announced::No { since };
        self.register(&daemon, false)?;
        let mut announce_at = Instant::now() + jittered(ANNOUNCE_EVERY);
        let mut check_at = Instant::now() + CHECK_EVERY;
        loop {
            let own: Vec<IpAddr> = self.interfaces.links().iter().map(|link| link.ip).collect();
            let step = async {
                match &mut claim {
                    Some(claim) => claim.step(&daemon, &own).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                said = goodbyes.recv() => {
                    self.withdraw(daemon).await;
                    return Ok(End::Goodbye(said));
                }
                event = monitor.recv_async() => {
                    let event = event.map_err(|_| mdns_sd::Error::DaemonShutdown)?;
                    self.on_daemon(&daemon, event, claim.as_mut())?;
                }
                step = step => if let Step::Take { renamed } = step? {
                    if renamed {
                        // Before the fresh one starts, or its goodbye would undo what that announces.
                        daemon.end().await;
                        return Ok(End::Renamed);
                    }
                    if let (Some(host), Some(claim)) = (&self.host, &mut claim) {
                        daemon.register(host.info()?)?;
                        claim.taken(&daemon)?;
                        info!("claiming picluster.local");
                    }
                },
                () = sleep_until(announce_at.into()) => {
                    announce_at = Instant::now() + jittered(ANNOUNCE_EVERY);
                    let ours = claim.as_ref().is_some_and(Claim::is_ours);
                    self.register(&daemon, ours)?;
                }
                () = sleep_until(check_at.into()), if self.heard != Announced::Yes => {
                    check_at = Instant::now() + CHECK_EVERY;
                    if self.check(&daemon)? {
                        return Ok(End::Unheard);
                    }
                }
            }
        }
    }

    /// Registers everything, or announces it again: to mdns-sd that is the same.
    fn register(&self, daemon: &Daemon, with_host: bool) -> Result<()> {
        let host = self.host.iter().filter(|_| with_host);
        self.services.iter().chain(host).try_for_each(|service| daemon.register(service.info()?))
    }

    fn on_daemon(
        &mut self,
        daemon: &Daemon,
        event: DaemonEvent,
        claim: Option<&mut Claim>,
    ) -> Result<()> {
        match event {
            DaemonEvent::Announce(fullname, place) => {
                let ours = self.services.iter().any(|service| service.owns(&fullname));
                if ours && self.heard != Announced::Yes && counts(&place, &self.interfaces.used()) {
                    info!(service = fullname, place, "announced");
                    self.heard = Announced::Yes;
                }
            }
            DaemonEvent::IpAdd(_) | DaemonEvent::IpDel(_) => {
                self.interfaces.refresh();
                // On loopback alone nobody else has heard of us yet; without an address, not any more.
                if self.interfaces.used().iter().all(|link| link.ip.is_loopback())
                    || matches!(event, DaemonEvent::IpAdd(ip) if self.is_first(ip))
                {
                    self.heard = Announced::No { since: None };
                }
                if let Some(claim) = claim {
                    claim.disturbed(daemon)?;
                }
            }
            DaemonEvent::NameChange(change) => self.on_conflict(daemon, &change, claim)?,
            DaemonEvent::Error(error) => debug!(%error, "mdns error"),
            _ => {}
        }
        Ok(())
    }

    /// Whether `ip` is the only address in use.
    fn is_first(&self, ip: IpAddr) -> bool {
        self.interfaces.used().iter().all(|link| link.ip == ip)
    }

    fn on_conflict(
        &mut self,
        daemon: &Daemon,
        change: &DnsNameChange,
        claim: Option<&mut Claim>,
    ) -> Result<()> {
        if let (Some(host), Some(claim)) = (&self.host, claim)
            && host.owns(&change.original)
        {
            // What is withdrawn is the new name, so the winner's records stay.
            let _ = daemon.unregister(&host.fullname())?;
            return claim.lost(daemon);
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
        daemon.register(service.info()?)
    }

    /// Looks whether we should have been heard by now; says whether all hope is lost with this daemon.
    fn check(&mut self, daemon: &Daemon) -> Result<bool> {
        let Announced::No { since } = self.heard else {
            return Ok(false);
        };
        if self.services.is_empty() || self.interfaces.used().is_empty() {
            self.heard = Announced::No { since: None };
            return Ok(false);
        }
        let since = since.unwrap_or_else(Instant::now);
        self.heard = Announced::No { since: Some(since) };
        if since.elapsed() >= ANNOUNCED_WITHIN {
            return Ok(true);
        }
        // An address that was there before is announced without a word; asked again, it is reported.
        self.register(daemon, false)?;
        Ok(false)
    }

    /// Says goodbye for everything and ends the daemon.
    async fn withdraw(&self, daemon: Daemon) {
        let all = async {
            for service in self.services.iter().chain(&self.host) {
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

/// Whether an announcement at `place` is worth the name. mdns-sd writes either `host:interface` or a
/// list of addresses. One on loopback counts only if loopback is all we use.
fn counts(place: &str, used: &[Link]) -> bool {
    let on_loopback = match place.strip_prefix('[') {
        Some(list) => list
            .trim_end_matches(']')
            .split(", ")
            .all(|ip| ip.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())),
        None => place.rsplit(':').next() == Some("lo"),
    };
    !on_loopback || used.iter().all(|link| link.ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::interfaces::link;
    use super::*;

    #[test]
    fn an_announcement_on_loopback_counts_only_when_there_is_nothing_else() {
        let (lo, eth) = (link("lo", 1, "127.0.0.1/8"), link("eth0", 2, "10.0.0.1/24"));
        for (place, alone, with_eth) in [
            ("[127.0.0.1, ::1]", true, false),
            ("pc-a.local.:lo", true, false),
            ("[127.0.0.1, 10.0.0.1]", true, true),
            ("pc-a.local.:eth0", true, true),
        ] {
            assert_eq!(counts(place, std::slice::from_ref(&lo)), alone, "{place}");
            assert_eq!(counts(place, &[lo.clone(), eth.clone()]), with_eth, "{place}");
        }
    }
}

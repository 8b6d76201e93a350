//! The claim on a name, `picluster.local` or that of an application: one balancer holds it, the others
//! stand by.
//!
//! mdns-sd would rename the loser of a conflict to `picluster-2.local`, which helps nobody, and never
//! gives the old name back. So a balancer listens first, registers only a name that nobody answers
//! for, and withdraws at once if it loses all the same (two asked at the same time).

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mdns_sd::{HostnameResolutionEvent, Receiver, Result, ScopedIp, ServiceDaemon};
use tracing::info;

use super::daemon::recv;
use super::timers::jittered;
use crate::cluster::route::CLUSTER_HOST;

/// How long nobody must answer before the name is taken: two queries, at 0 and 1 s.
const SILENCE: Duration = Duration::from_millis(1500);

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The name is free: register it. `renamed` says that this daemon has lost it once and would
    /// register another name, so a fresh one is needed.
    Take { renamed: bool },
    /// Somebody else has the name; nothing to do.
    Wait,
}

/// What this balancer knows of the name.
pub(super) struct Claim {
    /// With the dot at its end.
    name: String,
    /// Answers for the name; `None` while it is ours.
    answers: Option<Receiver<HostnameResolutionEvent>>,
    rival: Rival,
    renamed: bool,
    /// The name is ours and was announced: nobody objected.
    confirmed: bool,
}

impl Claim {
    /// The name was ours with the daemon before, and is registered again.
    pub(super) fn resumed(name: String) -> Self {
        Self { name, answers: None, rival: Rival::default(), renamed: false, confirmed: true }
    }

    /// Begins to listen.
    pub(super) fn start(name: String, daemon: &ServiceDaemon) -> Result<Self> {
        let mut claim = Self { confirmed: false, ..Self::resumed(name) };
        claim.listen(daemon, None)?;
        Ok(claim)
    }

    /// Waits for news and says what follows. Waits for ever while the name is ours.
    ///
    /// ## Cancel safety
    ///
    /// Nothing is lost when it is dropped midway.
    pub(super) async fn step(&mut self, daemon: &ServiceDaemon, own: &[IpAddr]) -> Result<Step> {
        let name = self.name.trim_end_matches('.');
        let Some(answers) = &self.answers else {
            return std::future::pending().await;
        };
        let free_at = self.rival.gone_at.map(|at| at + SILENCE);
        let event = tokio::select! {
            biased;
            event = recv(Some(answers)) => event,
            () = until(free_at) => return Ok(Step::Take { renamed: self.renamed }),
        };
        match event {
            Some(HostnameResolutionEvent::AddressesFound(_, found)) => {
                if self.rival.found(&found, own) {
                    let holder = self.rival.addresses.iter().next().map(tracing::field::display);
                    let who = if self.name == CLUSTER_HOST { "balancer" } else { "machine" };
                    info!(holder, "another {who} holds {name}, standing by");
                }
            }
            Some(HostnameResolutionEvent::AddressesRemoved(_, removed)) => {
                if self.rival.removed(&removed) {
                    info!("{name} was given up by its holder");
                    if self.renamed {
                        // The fresh daemon listens for itself.
                        return Ok(Step::Take { renamed: true });
                    }
                    // Asks anew, or a lost answer to one refresh would pass for its absence.
                    self.listen(daemon, None)?;
                }
            }
            Some(_) => {}
            // The subscription died.
            None => self.listen(daemon, None)?,
        }
        Ok(Step::Wait)
    }

    /// Whether the name is ours.
    pub(super) fn is_ours(&self) -> bool {
        self.answers.is_none()
    }

    /// The name was announced as ours.
    pub(super) fn confirm(&mut self) {
        self.confirmed = self.is_ours();
    }

    /// Whether the name is ours beyond doubt.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// The name was registered: stop listening.
    pub(super) fn on_registered(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        self.answers = None;
        info!("claiming {}", self.name.trim_end_matches('.'));
        daemon.stop_resolve_hostname(&self.name)
    }

    /// Nothing more is wanted of the name, which is not ours.
    pub(super) fn stop(&self, daemon: &ServiceDaemon) -> Result<()> {
        if self.answers.is_some() { daemon.stop_resolve_hostname(&self.name) } else { Ok(()) }
    }

    /// The name was lost to another who asked at the same time.
    pub(super) fn on_lost(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        self.renamed = true;
        self.confirmed = false;
        // The winner announces itself within a second.
        self.listen(daemon, Some(Instant::now() + jittered(Duration::from_secs(2))))
    }

    /// An address of ours came or went: what was heard before says little.
    pub(super) fn on_address_change(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        if self.answers.is_some() { self.listen(daemon, None) } else { Ok(()) }
    }

    fn listen(&mut self, daemon: &ServiceDaemon, gone_at: Option<Instant>) -> Result<()> {
        self.answers = Some(daemon.resolve_hostname(&self.name, None)?);
        // A little apart, so that of several who stand by one is first.
        let jitter = Duration::from_millis(fastrand::u64(0..500));
        self.rival = Rival::default();
        self.rival.gone_at = Some(gone_at.unwrap_or_else(|| Instant::now() + jitter));
        Ok(())
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Who else answers for the name.
#[derive(Default)]
struct Rival {
    addresses: HashSet<IpAddr>,
    /// Since when nobody does; `None` while somebody does.
    gone_at: Option<Instant>,
}

impl Rival {
    /// Takes the whole set of addresses that answer now. Says whether a rival has just appeared.
    /// Our own addresses are no rival: they are our own words from before, come back.
    fn found(&mut self, found: &HashSet<ScopedIp>, own: &[IpAddr]) -> bool {
        let ips = found.iter().map(ScopedIp::to_ip_addr);
        self.addresses = ips.filter(|ip| !own.contains(ip)).collect();
        !self.addresses.is_empty() && self.gone_at.take().is_some()
    }

    /// Takes the addresses that answer no more. Says whether the last has just gone.
    fn removed(&mut self, removed: &HashSet<ScopedIp>) -> bool {
        for ip in removed {
            self.addresses.remove(&ip.to_ip_addr());
        }
        self.addresses.is_empty() && self.gone_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> HashSet<ScopedIp> {
        texts.iter().map(|text| text.parse::<IpAddr>().unwrap().into()).collect()
    }

    #[test]
    fn a_rival_is_noticed_once_and_gone_with_its_last_address() {
        let own = ["10.0.0.1".parse().unwrap()];
        let mut rival = Rival { addresses: HashSet::new(), gone_at: Some(Instant::now()) };
        assert!(!rival.found(&ips(&["10.0.0.1"]), &own));
        assert!(rival.found(&ips(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]), &own));
        assert!(!rival.found(&ips(&["10.0.0.2", "10.0.0.3"]), &own));
        assert!(!rival.removed(&ips(&["10.0.0.2"])));
        assert!(rival.removed(&ips(&["10.0.0.3"])));
    }
}

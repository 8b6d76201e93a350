//! The claim on one name, `picluster.local` or the name of an application: one balancer holds the
//! name, the others stand by.
//!
//! mdns-sd would rename the loser of a conflict to `picluster-2.local`, which helps nobody, and it
//! never gives the old name back. So a balancer listens first, registers a name only if nobody
//! answers for it, and withdraws at once if it still loses (when two balancers claim the name at
//! the same time).

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mdns_sd::{HostnameResolutionEvent, Receiver, Result, ScopedIp, ServiceDaemon};
use tracing::info;

use super::daemon::recv;
use super::timers::jittered;
use crate::cluster::route::CLUSTER_HOST;

/// The silence after which the name is taken: long enough for two queries, at 0 and 1 s.
const SILENCE: Duration = Duration::from_millis(1500);

/// The next step after some news of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The name is free: register it. With `renamed` this daemon has lost the name once and would
    /// register another one, so a fresh daemon is needed.
    Take { renamed: bool },
    /// There is nothing to do.
    Wait,
}

/// This balancer's claim on one name.
pub(super) struct Claim {
    /// The name, with the dot at its end.
    name: String,
    /// Answers for the name; `None` while it is ours.
    answers: Option<Receiver<HostnameResolutionEvent>>,
    rival: Rival,
    /// True if the present daemon has lost the name once.
    renamed: bool,
    /// True if the name is ours and was announced, which means that nobody objected.
    confirmed: bool,
}

impl Claim {
    /// Resumes the claim on a name that was ours at the daemon before. The caller registers it
    /// again.
    pub(super) fn resumed(name: String) -> Self {
        Self { name, answers: None, rival: Rival::default(), renamed: false, confirmed: true }
    }

    /// Starts a claim: listens for others who answer for the name.
    pub(super) fn start(name: String, daemon: &ServiceDaemon) -> Result<Self> {
        let mut claim = Self { confirmed: false, ..Self::resumed(name) };
        claim.listen(daemon, None)?;
        Ok(claim)
    }

    /// Waits for news and returns the next step. Waits for ever while the name is ours. `own` are
    /// the addresses of this machine.
    ///
    /// ## Cancel safety
    ///
    /// No news is lost when the future is dropped midway.
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
                        // The fresh daemon listens again.
                        return Ok(Step::Take { renamed: true });
                    }
                    // Ask anew, or one lost answer to a refresh would count as the absence of the
                    // rival.
                    self.listen(daemon, None)?;
                }
            }
            Some(_) => {}
            // The subscription died.
            None => self.listen(daemon, None)?,
        }
        Ok(Step::Wait)
    }

    /// Returns whether the name is ours.
    pub(super) fn is_ours(&self) -> bool {
        self.answers.is_none()
    }

    /// Takes note that the name was announced as ours.
    pub(super) fn confirm(&mut self) {
        self.confirmed = self.is_ours();
    }

    /// Returns whether the name is ours beyond doubt.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Stops listening, because the name was registered.
    pub(super) fn on_registered(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        self.answers = None;
        info!("claiming {}", self.name.trim_end_matches('.'));
        daemon.stop_resolve_hostname(&self.name)
    }

    /// Stops listening for a name that is not wanted any more; does nothing while the name is ours.
    pub(super) fn stop(&self, daemon: &ServiceDaemon) -> Result<()> {
        if self.answers.is_some() { daemon.stop_resolve_hostname(&self.name) } else { Ok(()) }
    }

    /// Listens again, because the name was lost to a balancer that claimed it at the same time.
    pub(super) fn on_lost(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        self.renamed = true;
        self.confirmed = false;
        // The winner announces itself within a second.
        self.listen(daemon, Some(Instant::now() + jittered(Duration::from_secs(2))))
    }

    /// Listens anew while the name is not ours: an address of ours came or went, so the answers
    /// before it prove little.
    pub(super) fn on_address_change(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        if self.answers.is_some() { self.listen(daemon, None) } else { Ok(()) }
    }

    fn listen(&mut self, daemon: &ServiceDaemon, gone_at: Option<Instant>) -> Result<()> {
        self.answers = Some(daemon.resolve_hostname(&self.name, None)?);
        // The jitter makes one of several balancers that stand by the first.
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

/// The others that answer for the name.
#[derive(Default)]
struct Rival {
    addresses: HashSet<IpAddr>,
    /// The time since which nobody answers; `None` while somebody does.
    gone_at: Option<Instant>,
}

impl Rival {
    /// Takes the whole set of addresses that answer now. Returns whether a rival has just appeared.
    /// Our own addresses are no rival: they come from our own earlier announcements.
    fn found(&mut self, found: &HashSet<ScopedIp>, own: &[IpAddr]) -> bool {
        let ips = found.iter().map(ScopedIp::to_ip_addr);
        self.addresses = ips.filter(|ip| !own.contains(ip)).collect();
        !self.addresses.is_empty() && self.gone_at.take().is_some()
    }

    /// Takes the addresses that do not answer any more. Returns whether the last one has just gone.
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

//! The names that lead to a balancer: the wanted ones, and the claim on each. The rules of one
//! claim stand in `claim`.

use std::collections::BTreeSet;
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::task::Poll;

use mdns_sd::{DnsNameChange, Result, ServiceDaemon};
use tokio::sync::watch;
use tracing::info;

use super::advert::{Advert, Service};
use super::claim::{Claim, Step};
use crate::cluster::node::NodeId;

/// The most names that one balancer claims: each one costs a query of its own to the network.
const NAMES_MAX: usize = 32;

/// The names that shall lead to a balancer.
pub struct WantedNames {
    /// The balancer's own id.
    pub id: NodeId,
    /// The port that clients connect to.
    pub port: u16,
    /// The names, each with the dot at its end; they may change at any time. At most 32 are
    /// claimed.
    pub names: watch::Receiver<BTreeSet<String>>,
}

/// A name and the state of its claim.
struct HostName {
    name: String,
    service: Service,
    /// The claim at the present daemon.
    claim: Option<Claim>,
    /// True if the name was ours at the daemon before.
    was_ours: bool,
}

/// The claims on all names of a balancer; a node has none.
pub(super) struct NameClaims {
    wanted: Option<WantedNames>,
    bound: IpAddr,
    list: Vec<HostName>,
}

impl NameClaims {
    pub(super) fn new(wanted: Option<WantedNames>, bound: IpAddr) -> Self {
        Self { wanted, bound, list: Vec::new() }
    }

    /// Claims all names at a daemon that has just started.
    pub(super) fn start(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        for name in &mut self.list {
            name.claim = None;
        }
        self.reconcile(daemon)
    }

    /// Brings the claims in line with the wanted names.
    pub(super) fn reconcile(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        let Some(WantedNames { id, port, names }) = &mut self.wanted else { return Ok(()) };
        let wanted = names.borrow_and_update().clone();
        for gone in self.list.extract_if(.., |name| !wanted.contains(&name.name)) {
            gone.withdraw(daemon)?;
        }
        for name in wanted {
            if self.list.len() < NAMES_MAX && !self.list.iter().any(|known| known.name == name) {
                let advert = Advert::Host { name: name.clone(), id: id.clone(), port: *port };
                let service = Service::new(advert, self.bound);
                self.list.push(HostName { name, service, claim: None, was_ours: false });
            }
        }
        self.list.iter_mut().try_for_each(|name| name.ensure_claim(daemon))
    }

    /// Waits for news of any name, or until other names are wanted. `own` are the addresses of this
    /// machine.
    ///
    /// ## Cancel safety
    ///
    /// No news is lost when the future is dropped midway.
    pub(super) async fn news(&mut self, daemon: &ServiceDaemon, own: &[IpAddr]) -> Result<News> {
        tokio::select! {
            () = changed(&mut self.wanted) => Ok(News::WantedChanged),
            (at, step) = first_step(&mut self.list, daemon, own) => Ok(News::Of(at, step?)),
        }
    }

    /// Acts on the news. Returns whether a fresh daemon is needed.
    pub(super) fn act(&mut self, news: &News, daemon: &ServiceDaemon) -> Result<bool> {
        match news {
            News::WantedChanged => self.reconcile(daemon)?,
            News::Of(_, Step::Take { renamed: true }) => return Ok(true),
            News::Of(at, Step::Take { renamed: false }) => self.list[*at].register(daemon)?,
            News::Of(_, Step::Wait) => {}
        }
        Ok(false)
    }

    /// Remembers the names that are ours, because another daemon replaces this one: it keeps them.
    pub(super) fn remember_ours(&mut self) {
        for name in &mut self.list {
            name.was_ours = name.claim.as_ref().is_some_and(Claim::is_confirmed);
        }
    }

    /// Returns the services of the names that are ours: those that are registered.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Service> {
        let ours = |name: &&HostName| name.claim.as_ref().is_some_and(Claim::is_ours);
        self.list.iter().filter(ours).map(|name| &name.service)
    }

    /// Takes note that the service `fullname` was announced.
    pub(super) fn on_announced(&mut self, fullname: &str) {
        for name in &mut self.list {
            if let Some(claim) = &mut name.claim
                && name.service.fullname().eq_ignore_ascii_case(fullname)
            {
                claim.confirm();
            }
        }
    }

    /// Takes note that an address of ours came or went.
    pub(super) fn on_address_change(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        let mut claims = self.list.iter_mut().filter_map(|name| name.claim.as_mut());
        claims.try_for_each(|claim| claim.on_address_change(daemon))
    }

    /// Withdraws and listens again if another machine answers for a name of ours. Returns `false`
    /// if the conflict is not about such a name.
    pub(super) fn on_conflict(
        &mut self,
        change: &DnsNameChange,
        daemon: &ServiceDaemon,
    ) -> Result<bool> {
        let lost = self.list.iter_mut().find(|name| name.service.owns(&change.original));
        let Some(HostName { service, claim: Some(claim), .. }) = lost else { return Ok(false) };
        // This withdraws the new name that the daemon took, so the winner's records stay.
        let _ = daemon.unregister(&service.fullname())?;
        claim.on_lost(daemon)?;
        Ok(true)
    }
}

/// News of the names.
pub(super) enum News {
    /// Other names are wanted.
    WantedChanged,
    /// The next step for the name at this index.
    Of(usize, Step),
}

impl HostName {
    /// Starts the claim unless there is one, or resumes it if the name was ours at the daemon
    /// before.
    fn ensure_claim(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        if self.claim.is_none() {
            let name = self.name.clone();
            self.claim = Some(if std::mem::take(&mut self.was_ours) {
                daemon.register(self.service.info(false)?)?;
                Claim::resumed(name)
            } else {
                Claim::start(name, daemon)?
            });
        }
        Ok(())
    }

    /// Registers the name, because it is free.
    fn register(&mut self, daemon: &ServiceDaemon) -> Result<()> {
        daemon.register(self.service.info(true)?)?;
        self.claim.as_mut().map_or(Ok(()), |claim| claim.on_registered(daemon))
    }

    /// Gives up the claim, and withdraws the name if it is ours.
    fn withdraw(&self, daemon: &ServiceDaemon) -> Result<()> {
        match &self.claim {
            Some(claim) if claim.is_ours() => {
                info!("giving up {}", self.name.trim_end_matches('.'));
                daemon.unregister(&self.service.fullname()).map(drop)
            }
            Some(claim) => claim.stop(daemon),
            None => Ok(()),
        }
    }
}

/// Waits until other names are wanted; for ever if they never change.
async fn changed(wanted: &mut Option<WantedNames>) {
    if let Some(wanted) = wanted
        && wanted.names.changed().await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}

/// Waits for the first name with news; for ever if there is no claim.
async fn first_step(
    list: &mut [HostName],
    daemon: &ServiceDaemon,
    own: &[IpAddr],
) -> (usize, Result<Step>) {
    let claims =
        list.iter_mut().enumerate().filter_map(|(at, name)| Some((at, name.claim.as_mut()?)));
    let mut steps: Vec<_> =
        claims.map(|(at, claim)| (at, Box::pin(claim.step(daemon, own)))).collect();
    poll_fn(|cx| {
        let ready = steps.iter_mut().find_map(|(at, step)| match step.as_mut().poll(cx) {
            Poll::Ready(step) => Some((*at, step)),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

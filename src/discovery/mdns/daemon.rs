//! One mdns-sd daemon: a thread and its two sockets on UDP 5353, set up our way and ended when
//! dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{
    DaemonEvent, Error, IfKind, IfPredicate, MDNS_PORT, Metrics, Receiver, Result, ServiceDaemon,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::interfaces::Interfaces;
use crate::os::listen::udp_owner;

/// How often the daemon looks for addresses that came or went. One second is the least it takes, and
/// costs about 0.1 ms each time; the default of five would miss "joins within 4 s of the address".
const ADDRESS_CHECK_S: u32 = 1;

/// How long a daemon may take to say its goodbyes and end.
const END_MAX: Duration = Duration::from_secs(1);

/// How often a command is offered to a daemon whose queue is full before it is given up.
const OFFERS_MAX: u32 = 50;

/// How often the size of a daemon's cache is looked at: one command, some microseconds. It caches what
/// nobody asked for and never forgets it; a flood of 2,000 packets a second fills about 5 MB in that
/// time. The daemon wakes as often by itself, to look at the addresses.
pub(super) const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// The most records a daemon may cache; 256 nodes need about 1,500. Past it the daemon is replaced.
const RECORDS_MAX: i64 = 4096;

/// How often a port that is not free is looked at: soon after it is, mDNS works.
const PORT_CHECK_EVERY: Duration = Duration::from_secs(1);

/// The most timers a daemon may hold, 16 bytes each.
const TIMERS_MAX: i64 = 131_072;

/// A running daemon.
///
/// Dropping it ends the thread, after goodbyes for what is still registered. It would not end by
/// itself when the last handle goes: it holds a sender to its own queue.
pub(super) struct Daemon {
    inner: ServiceDaemon,
    ended: bool,
}

impl Daemon {
    /// Starts a daemon on the interfaces that `interfaces` uses, and listens to what it reports.
    pub(super) fn start(interfaces: &Arc<Interfaces>) -> Result<(Self, Receiver<DaemonEvent>)> {
        let daemon = Self { inner: ServiceDaemon::new()?, ended: false };
        daemon.set_ip_check_interval(ADDRESS_CHECK_S)?;
        let interfaces = Arc::clone(interfaces);
        let unused = move |interface: &if_addrs::Interface| {
            !interfaces.uses(&interface.name, interface.index.unwrap_or(0), interface.ip())
        };
        daemon.disable_interface(IfKind::Predicate(IfPredicate::new(unused)))?;
        // After the selection, or dropping the unused interfaces would look like losing addresses.
        let events = daemon.monitor()?;
        Ok((daemon, events))
    }

    /// Ends the thread and waits for it, [`END_MAX`] at most: the goodbyes of its cleanup are sent
    /// before it answers.
    pub(super) async fn end(mut self) {
        self.ended = true;
        end(&self.inner).await;
    }
}

impl Deref for Daemon {
    type Target = ServiceDaemon;

    fn deref(&self) -> &ServiceDaemon {
        &self.inner
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended || !matches!(self.inner.shutdown(), Err(Error::Again)) {
            return;
        }
        // Its queue is full, which a flood can cause: the thread would never end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let inner = self.inner.clone();
            runtime.spawn(async move { end(&inner).await });
        }
    }
}

async fn end(daemon: &ServiceDaemon) {
    for _ in 0..OFFERS_MAX {
        match daemon.shutdown() {
            Ok(ended) => {
                let _ = timeout(END_MAX, ended.recv_async()).await;
                return;
            }
            Err(Error::Again) => sleep(Duration::from_millis(100)).await,
            Err(_) => return,
        }
    }
}

/// Waits that double, so that a fault that lasts neither fills the log nor costs CPU.
pub(super) struct Delays {
    next: Duration,
}

impl Delays {
    const FIRST: Duration = Duration::from_secs(1);
    /// The longest wait; what worked for longer than this starts over from the first.
    pub(super) const LONGEST: Duration = Duration::from_secs(60);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The next wait; [`Delays::new`] starts over.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(Self::LONGEST);
        wait
    }
}

/// Whether a daemon's cache has outgrown its bound.
pub(super) fn is_full(metrics: &Metrics) -> bool {
    records(metrics) > RECORDS_MAX || count(metrics, "timer") > TIMERS_MAX
}

/// How many records a daemon has cached.
pub(super) fn records(metrics: &Metrics) -> i64 {
    let kinds = ["cached-ptr", "cached-srv", "cached-addr", "cached-txt", "cached-nsec"];
    kinds.into_iter().map(|kind| count(metrics, kind)).fold(0, i64::saturating_add)
}

fn count(metrics: &Metrics, key: &str) -> i64 {
    metrics.get(key).copied().unwrap_or(0)
}

/// The next of a receiver that may not be there, then waits for ever; `None` when its sender is gone.
///
/// ## Cancel safety
///
/// Nothing is lost when it is dropped midway.
pub(super) async fn recv<T>(receiver: Option<&Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv_async().await.ok(),
        None => std::future::pending().await,
    }
}

/// `base` and up to an eighth more or less, so that machines that started together do not speak
/// together.
pub(super) fn jittered(base: Duration) -> Duration {
    base.mul_f64(0.875 + 0.25 * fastrand::f64())
}

/// Says that mDNS does not work although there is a network. The caller's growing delays limit the
/// rate.
pub(super) fn warn_unheard(retry_in: Duration) {
    warn!(
        ?retry_in,
        "no mdns: nothing could be announced on any interface, so nodes and balancers do not find \
         each other; check that the interface does multicast (`ip link`) and that no firewall \
         drops udp port 5353"
    );
}

/// Waits until UDP 5353 can be bound. A daemon that could not bind it when it started never does, and
/// says nothing; one without its IPv4 socket would go on half deaf. With `aloud` the log hears of it: at
/// once, then more and more rarely.
pub(super) async fn port_is_free(aloud: bool) {
    let mut delays = Delays::new();
    let mut say_at = Instant::now();
    while let Err(error) = bind_5353() {
        if aloud && Instant::now() >= say_at {
            say_at += delays.next();
            warn!(%error, "no mdns: {}; no restart is needed here", held());
        }
        sleep(PORT_CHECK_EVERY).await;
    }
}

/// Why no daemon could start here, if none could.
pub(super) fn obstacle() -> Option<String> {
    bind_5353().is_err().then(held)
}

fn held() -> String {
    let owner = udp_owner(MDNS_PORT).map_or("another program".to_owned(), |o| o.to_string());
    format!(
        "udp port 5353 is held by {owner}, which does not share it, so nodes and balancers do not \
         find each other; stop it (`sudo ss -ulpn sport = 5353` shows whose it is)"
    )
}

/// Binds the port the way mdns-sd does, to learn the error that it keeps to itself.
fn bind_5353() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, MDNS_PORT)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_full_past_its_bound_whatever_the_kind_of_record() {
        let metrics = |entries: &[(&str, i64)]| -> Metrics {
            entries.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
        };
        assert!(!is_full(&metrics(&[("cached-ptr", 256), ("cached-srv", 256), ("browse", 9999)])));
        assert!(is_full(&metrics(&[("cached-srv", RECORDS_MAX), ("cached-nsec", 1)])));
        assert!(is_full(&metrics(&[("timer", TIMERS_MAX + 1)])));
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut delays = Delays::new();
        let waits: Vec<u64> = (0..8).map(|_| delays.next().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}

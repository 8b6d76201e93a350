//! One mdns-sd daemon: a thread and its two sockets on UDP 5353, set up our way and ended when
//! dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{
    DaemonEvent, Error, IfKind, IfPredicate, MDNS_PORT, Receiver, Result, ServiceDaemon,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::interfaces::Interfaces;
use super::timers::Delays;
use crate::os::listen::udp_owner;

/// How often the daemon looks for addresses that came or went. One second is the least it takes, and
/// costs about 0.1 ms each time; the default of five would miss "joins within 4 s of the address".
const ADDRESS_CHECK_S: u32 = 1;

/// How long a daemon may take to say its goodbyes and end.
const END_MAX: Duration = Duration::from_secs(1);

/// How often a command is offered to a daemon whose queue is full before it is given up.
const SHUTDOWN_TRIES_MAX: u32 = 50;

/// How often a port that is not free is looked at: soon after it is, mDNS works.
const PORT_CHECK_EVERY: Duration = Duration::from_secs(1);

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
    for _ in 0..SHUTDOWN_TRIES_MAX {
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
/// says nothing; one without its IPv4 socket would go on half deaf. With `warn` the log hears of it: at
/// once, then more and more rarely.
pub(super) async fn wait_for_port(warn: bool) {
    let mut delays = Delays::new();
    let mut warn_at = Instant::now();
    while let Err(error) = bind_5353() {
        if warn && Instant::now() >= warn_at {
            warn_at += delays.next();
            warn!(%error, "no mdns: {}; no restart is needed here", port_held());
        }
        sleep(PORT_CHECK_EVERY).await;
    }
}

/// Why no daemon could start here, if none could.
pub(super) fn obstacle() -> Option<String> {
    bind_5353().is_err().then(port_held)
}

fn port_held() -> String {
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

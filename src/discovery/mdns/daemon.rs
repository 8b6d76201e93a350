//! One mdns-sd daemon: a thread and its two sockets on UDP 5353. This file sets it up our way, ends
//! it when it is dropped, and finds out whether the port is free for it.

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

/// The time between two looks of the daemon for addresses that came or went. One second is the
/// least it accepts, and a look costs about 0.1 ms; the default of five would miss "joins within 4
/// s of the address".
const ADDRESS_CHECK_S: u32 = 1;

/// The longest time a daemon may take to send its goodbyes and end.
const END_MAX: Duration = Duration::from_secs(1);

/// The number of attempts to put the shutdown command into the queue of a daemon, a tenth of a
/// second apart, before we give up.
const SHUTDOWN_TRIES_MAX: u32 = 50;

/// The time between two looks at a port that is not free: mDNS works soon after it is.
const PORT_CHECK_EVERY: Duration = Duration::from_secs(1);

/// A running daemon.
///
/// Dropping it ends the thread, after goodbyes for everything that is still registered. The thread
/// would not end by itself with the last handle, because it holds a sender to its own queue.
pub(super) struct Daemon {
    inner: ServiceDaemon,
    ended: bool,
}

impl Daemon {
    /// Starts a daemon on the interfaces that `interfaces` uses. Returns the receiver of its
    /// reports too.
    ///
    /// # Errors
    ///
    /// The thread or its sockets could not be made.
    pub(super) fn start(interfaces: &Arc<Interfaces>) -> Result<(Self, Receiver<DaemonEvent>)> {
        let daemon = Self { inner: ServiceDaemon::new()?, ended: false };
        daemon.set_ip_check_interval(ADDRESS_CHECK_S)?;
        let interfaces = Arc::clone(interfaces);
        let unused = move |interface: &if_addrs::Interface| {
            !interfaces.uses(&interface.name, interface.index.unwrap_or(0), interface.ip())
        };
        daemon.disable_interface(IfKind::Predicate(IfPredicate::new(unused)))?;
        // Monitor only after the selection, or the dropped interfaces would be reported as lost
        // addresses.
        let events = daemon.monitor()?;
        Ok((daemon, events))
    }

    /// Ends the thread and waits for it, [`END_MAX`] at most. The daemon answers after it has sent
    /// its goodbyes.
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
        // Its queue is full, which a flood can cause. Without another attempt the thread would
        // never end.
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

/// Returns the next message, or `None` when the sender is gone. Without a receiver it waits for
/// ever.
///
/// ## Cancel safety
///
/// No message is lost when the future is dropped midway.
pub(super) async fn recv<T>(receiver: Option<&Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv_async().await.ok(),
        None => std::future::pending().await,
    }
}

/// Logs that mDNS does not work although there is a network. The caller's growing delays limit the
/// rate.
pub(super) fn warn_unheard(retry_in: Duration) {
    warn!(
        ?retry_in,
        "no mdns: nothing could be announced on any interface, so nodes and balancers do not find \
         each other; check that the interface does multicast (`ip link`) and that no firewall \
         drops udp port 5353"
    );
}

/// Waits until UDP 5353 can be bound. A daemon that cannot bind the port at its start never tries
/// again and reports nothing, and a daemon without its IPv4 socket would go on half deaf. With
/// `warn` this logs a warning, at once and then more and more rarely.
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

/// Returns the reason why no daemon could start here, as a sentence with the fix; `None` if one
/// could.
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

/// Binds the port the way mdns-sd does, to get the error that mdns-sd does not report.
fn bind_5353() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, MDNS_PORT)).into())
}

//! Admission: the number of connections that may exist, all together and of one address. All workers
//! share it. A connection asks once, a request never.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

/// The limits on connections.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// The most of all clients together.
    pub connections: usize,
    /// The most of one client: of an IPv4 address, or an IPv6 network of 64 bits.
    pub per_client: usize,
    /// The longest wait of a newcomer for a place while no connection can be ended.
    pub wait: Duration,
    /// The most connections beyond these that have no place, for each of three kinds: those of one worker
    /// whose client is not identified yet, those of one worker that were refused and are about to leave,
    /// and those of all workers that wait while no connection can be ended.
    pub spare: usize,
    /// The advice in the log when there are not enough.
    pub advice: &'static str,
}

/// The reason why a connection gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverLimit {
    /// Its client has as many as one client may have.
    Client,
    /// All clients together have as many as may be.
    All,
}

/// The places, and the clients that have them.
pub(super) struct Admission {
    pub(super) limits: ConnectionLimits,
    places: Arc<Semaphore>,
    /// The connections of each client that has any. Never longer than there are connections.
    clients: Mutex<HashMap<Client, usize>>,
    /// The number of newcomers for which their own worker could end no connection.
    waiting: AtomicUsize,
    /// Wakes all workers when one of those waits.
    pub(super) short: Notify,
    /// Whether the log has reported that all places are taken.
    full_logged: AtomicBool,
    /// The minute in which the log last reported a client with too many.
    client_logged_minute: AtomicU64,
    began: Instant,
}

impl Admission {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            limits,
            clients: Mutex::default(),
            waiting: AtomicUsize::new(0),
            short: Notify::new(),
            full_logged: AtomicBool::new(false),
            client_logged_minute: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Counts one more connection of a client.
    pub(super) fn enter(&self, addr: IpAddr) -> Result<Client, OverLimit> {
        let client = Client::of(addr);
        let mut clients = self.clients();
        let count = clients.entry(client).or_default();
        if *count < self.limits.per_client {
            *count += 1;
            return Ok(client);
        }
        drop(clients);
        let minute = 1 + self.began.elapsed().as_secs() / 60;
        if self.client_logged_minute.swap(minute, Ordering::Relaxed) != minute {
            warn!(
                client = %addr,
                connections = self.limits.per_client,
                "a client has as many connections as one may have and is refused more; \
                 --max-connections-per-client allows it more"
            );
        }
        Err(OverLimit::Client)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Client, usize>> {
        // Nothing panics while it is held, and a count would be as good after a panic.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if one is free.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Takes the next free place, in the order of arrival.
    pub(super) async fn next_place(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// Logs that all places are taken: once, until there is room again.
    pub(super) fn log_full(&self) {
        if !self.full_logged.swap(true, Ordering::Relaxed) {
            warn!(
                connections = self.limits.connections,
                "as many clients are connected as may be: idle ones make room for new ones, else \
                 new ones wait; {}",
                self.limits.advice
            );
        }
    }

    /// Gives back the count and the place of a connection that has ended.
    pub(super) fn leave(&self, client: Option<Client>, place: Option<OwnedSemaphorePermit>) {
        if let Some(client) = client
            && let Entry::Occupied(mut count) = self.clients().entry(client)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        drop(place);
        let roomy = || self.places.available_permits() > self.limits.connections / 8;
        if self.full_logged.load(Ordering::Relaxed)
            && roomy()
            && self.full_logged.swap(false, Ordering::Relaxed)
        {
            info!("there is room for more clients again");
        }
    }

    /// Joins the newcomers that wait while their worker can end no connection.
    pub(super) fn wait(&self) -> Result<Waiting<'_>, OverLimit> {
        let waiting = Waiting(self);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.limits.spare {
            Ok(waiting)
        } else {
            Err(OverLimit::All)
        }
    }

    pub(super) fn somebody_waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 && self.places.available_permits() == 0
    }
}

/// A newcomer that waits; counted until it is dropped.
pub(super) struct Waiting<'a>(&'a Admission);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client: an IPv4 address, or an IPv6 network of 64 bits, which one customer or one machine has for
/// itself (RFC 6177, RFC 7217).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    V4(u32),
    V6(u64),
}

impl Client {
    fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self::V4(addr.to_bits()),
            IpAddr::V6(addr) => Self::V6((addr.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(per_client: usize) -> Admission {
        Admission::new(ConnectionLimits {
            connections: 100,
            per_client,
            wait: Duration::ZERO,
            spare: 5,
            advice: "",
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_client_has_its_limit_of_connections_and_others_have_theirs() {
        let admission = admission(3);
        let places: Vec<_> = (0..3).map(|_| admission.enter(ip("10.0.0.1"))).collect();
        assert!(places.iter().all(Result::is_ok));
        assert_eq!(admission.enter(ip("10.0.0.1")), Err(OverLimit::Client));
        assert!(admission.enter(ip("10.0.0.2")).is_ok());
        admission.leave(places[0].ok(), None);
        assert!(admission.enter(ip("10.0.0.1")).is_ok());
        assert_eq!(admission.enter(ip("10.0.0.1")), Err(OverLimit::Client));
    }

    #[test]
    fn a_client_is_an_ipv4_address_in_any_form_or_a_64_bit_ipv6_network() {
        let same = |a, b| Client::of(ip(a)) == Client::of(ip(b));
        assert!(same("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("0.0.0.1", "0:0:0:1::"));
    }

    #[test]
    fn a_client_that_left_leaves_no_count_behind() {
        let admission = admission(8);
        let entered: Vec<_> =
            [1, 1, 2, 3].map(|ip| admission.enter(IpAddr::from([10, 0, 0, ip]))).into();
        assert_eq!(admission.clients().len(), 3);
        for client in entered {
            admission.leave(client.ok(), None);
        }
        assert!(admission.clients().is_empty());
    }

    #[test]
    fn a_limited_number_of_clients_waits_for_a_place() {
        let admission = admission(8);
        let waiting: Vec<_> = (0..5).map(|_| admission.wait()).collect();
        assert!(waiting.iter().all(Result::is_ok));
        assert!(admission.wait().is_err());
        drop(waiting);
        assert!(admission.wait().is_ok());
    }
}

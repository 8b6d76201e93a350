//! How many clients there may be: all together, and of one address. Shared by the workers. It is
//! asked once a connection, never by a request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

/// How many connections there may be.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// All clients together.
    pub connections: usize,
    /// Those of one address.
    pub per_client: usize,
    /// How long a newcomer waits for a place while nobody can be asked to leave.
    pub wait: Duration,
    /// How many more there may be that have no place: so many of each worker that do not say whose
    /// they are, so many of each worker that were refused a place and are about to leave, and so
    /// many of all together that wait for one while nobody can be asked to leave.
    pub spare: usize,
    /// What to do when there are not enough, for the log.
    pub advice: &'static str,
}

/// Why a connection gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverLimit {
    /// Its client has as many as one may have.
    Client,
    /// All clients together have.
    All,
}

/// The places, and who has them.
pub(super) struct Crowd {
    pub(super) bounds: Bounds,
    places: Arc<Semaphore>,
    /// The connections of each client that has any. Never longer than there are connections.
    clients: Mutex<HashMap<Client, usize>>,
    /// Newcomers for whom no connection of their own worker could be ended.
    waiting: AtomicUsize,
    /// Rings for all workers when one of those waits.
    pub(super) short: Notify,
    /// Whether the log says that all places are taken.
    told: AtomicBool,
    /// In which minute the log last said that a client has too many.
    told_of_client: AtomicU64,
    began: Instant,
}

impl Crowd {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            places: Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS))),
            bounds,
            clients: Mutex::default(),
            waiting: AtomicUsize::new(0),
            short: Notify::new(),
            told: AtomicBool::new(false),
            told_of_client: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Counts one more connection of a client.
    pub(super) fn enter(&self, addr: IpAddr) -> Result<Client, OverLimit> {
        let client = Client::of(addr);
        let mut clients = self.clients();
        let count = clients.entry(client).or_default();
        if *count < self.bounds.per_client {
            *count += 1;
            return Ok(client);
        }
        drop(clients);
        let minute = 1 + self.began.elapsed().as_secs() / 60;
        if self.told_of_client.swap(minute, Ordering::Relaxed) != minute {
            warn!(
                client = %addr,
                connections = self.bounds.per_client,
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

    /// A place, if there is one.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// The next place that is free, in turn.
    pub(super) async fn next_place(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// All places are taken: says so once, until there is room again.
    pub(super) fn tell_full(&self) {
        if !self.told.swap(true, Ordering::Relaxed) {
            warn!(
                connections = self.bounds.connections,
                "as many clients are connected as may be: idle ones make room for new ones, else \
                 new ones wait; {}",
                self.bounds.advice
            );
        }
    }

    /// A connection has ended.
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
        let roomy = || self.places.available_permits() > self.bounds.connections / 8;
        if self.told.load(Ordering::Relaxed) && roomy() && self.told.swap(false, Ordering::Relaxed)
        {
            info!("there is room for more clients again");
        }
    }

    /// Joins those who wait though nobody of their worker can be asked to leave.
    pub(super) fn wait(&self) -> Result<Waiting<'_>, OverLimit> {
        let waiting = Waiting(self);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.bounds.spare {
            Ok(waiting)
        } else {
            Err(OverLimit::All)
        }
    }

    pub(super) fn somebody_waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 && self.places.available_permits() == 0
    }
}

/// One who waits; counted until it is dropped.
pub(super) struct Waiting<'a>(&'a Crowd);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who counts as one: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer
/// or one machine has for itself (RFC 6177, RFC 7217).
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

    fn crowd(per_client: usize) -> Crowd {
        Crowd::new(Bounds {
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
        let crowd = crowd(3);
        let places: Vec<_> = (0..3).map(|_| crowd.enter(ip("10.0.0.1"))).collect();
        assert!(places.iter().all(Result::is_ok));
        assert_eq!(crowd.enter(ip("10.0.0.1")), Err(OverLimit::Client));
        assert!(crowd.enter(ip("10.0.0.2")).is_ok());
        crowd.leave(places[0].ok(), None);
        assert!(crowd.enter(ip("10.0.0.1")).is_ok());
        assert_eq!(crowd.enter(ip("10.0.0.1")), Err(OverLimit::Client));
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
        let crowd = crowd(8);
        let entered: Vec<_> =
            [1, 1, 2, 3].map(|ip| crowd.enter(IpAddr::from([10, 0, 0, ip]))).into();
        assert_eq!(crowd.clients().len(), 3);
        for client in entered {
            crowd.leave(client.ok(), None);
        }
        assert!(crowd.clients().is_empty());
    }

    #[test]
    fn a_limited_number_of_clients_waits_for_a_place() {
        let crowd = crowd(8);
        let waiting: Vec<_> = (0..5).map(|_| crowd.wait()).collect();
        assert!(waiting.iter().all(Result::is_ok));
        assert!(crowd.wait().is_err());
        drop(waiting);
        assert!(crowd.wait().is_ok());
    }
}

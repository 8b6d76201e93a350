//! The bound on how many candidates the table takes in a second.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::cluster::config::CANDIDATES_PER_SECOND;
use crate::cluster::node::Sighting;

/// The most candidates of one address in the second half of what a second may take.
const LATE_PER_ADDRESS: u32 = 2;

/// The candidates taken in the present second.
///
/// The second half of them is kept for addresses that have not taken much of the first: a flood under
/// many names mostly comes from few addresses, and a new node has one of its own.
#[derive(Debug, Default)]
pub(super) struct Intake {
    second: u64,
    taken: u32,
    /// Of those, by address. Never longer than `taken`.
    by_address: BTreeMap<IpAddr, u32>,
}

impl Intake {
    /// True if one more candidate may be taken now; if so, counts it.
    pub(super) fn takes(&mut self, sighting: &Sighting, now: Duration) -> bool {
        if self.second != now.as_secs() {
            *self = Self { second: now.as_secs(), ..Self::default() };
        }
        let late = self.taken >= CANDIDATES_PER_SECOND / 2;
        let address = sighting.endpoints.first().map(SocketAddr::ip);
        let before = address.and_then(|address| self.by_address.get(&address)).copied();
        let has_had_its_share = late && before.unwrap_or_default() >= LATE_PER_ADDRESS;
        if self.taken >= CANDIDATES_PER_SECOND || has_had_its_share {
            return false;
        }
        self.taken += 1;
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
        true
    }
}

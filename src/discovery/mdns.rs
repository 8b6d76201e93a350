//! Multicast DNS: advertises us, and finds the others. No other files name `mdns_sd`.
//!
//! mDNS is **a lossy source of hints**. Nothing here decides which node gets requests; [`Browser`]
//! proposes [`Change`](crate::cluster::node::Change)s, and [`Advertiser`] repeats itself for
//! machines that missed an announcement.
//!
//! A web node runs one daemon (a thread) for [`Advertiser`]; a balancer runs a second for
//! [`Browser`], so that a flood of packets cannot delay a goodbye.

mod advert;
mod advertise;
mod announced;
mod browse;
mod cache;
mod claim;
mod daemon;
mod filter;
mod hearing;
mod interfaces;
mod names;
mod outbox;
mod timers;

pub use advert::Advert;
pub use advertise::Advertiser;
pub use browse::Browser;
pub use filter::Trust;
use interfaces::{Interfaces, Purpose, Rule};
pub use names::WantedNames;

use crate::cluster::config::DiscoveryConfig;

/// Returns the reason why nothing is heard on this machine, as a sentence with the fix; `None` if
/// no obstacle to mDNS can be seen from here.
pub fn obstacle(config: &DiscoveryConfig) -> Option<String> {
    let port_held = daemon::obstacle();
    port_held.or_else(|| Interfaces::new(Rule::new(config, Purpose::Hear)).obstacle())
}

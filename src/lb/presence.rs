//! The presence of a balancer on the network: the advertisement of its page, and the names that lead to
//! it.

use std::sync::Arc;

use super::names;
use super::shared::Shared;
use crate::cluster::node::Advertisement;
use crate::discovery::mdns::{Advert, Advertiser, WantedNames};
use crate::os::identity;

/// Starts to advertise the page, and to claim names where that is asked for. Both share one advertiser; if the
/// two ports are bound to different addresses, the wider one decides where it is advertised.
pub(super) fn advertise(shared: &Shared) -> Advertiser {
    let (addr, admin) = (shared.addr.ip(), shared.admin_addr.ip());
    let bound = if admin.is_unspecified() { admin } else { addr };
    // A name that leads to this machine alone is of no use to the others, and would be in their way.
    let claims_names = shared.config.claim_name && !addr.is_loopback();
    let names = claims_names.then(|| WantedNames {
        id: shared.id.clone(),
        port: shared.addr.port(),
        names: names::follow(shared.pool.clone(), &shared.hostname),
    });
    Advertiser::with_names(&shared.config.discovery, bound, vec![advert(shared)], names)
}

/// The advertisement of the balancer: the port of its page.
fn advert(shared: &Shared) -> Advert {
    let txt = Advertisement {
        id: Some(shared.id.clone()),
        hostname: Some(shared.hostname.clone()),
        boot: Some(identity::boot()),
        cluster: shared.config.discovery.cluster.clone(),
        health: None,
        ctl: None,
        offer: Arc::default(),
    };
    Advert::Balancer { id: shared.id.clone(), port: shared.admin_addr.port(), txt }
}

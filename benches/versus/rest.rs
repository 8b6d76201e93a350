//! Memory: after the start, and with thousands of clients that keep their connections and send
//! nothing.

use serde::Serialize;

use crate::asks::{Asks, Size};
use crate::client::{Clients, Does};
use crate::ground::{Ground, Rival};
use crate::product::Product;

pub(crate) const CLIENTS: usize = 5_000;

/// The memory of one balancer.
#[derive(Serialize)]
pub(crate) struct Kept {
    pub(crate) product: &'static str,
    pub(crate) idle_mib: f64,
    pub(crate) with_clients_mib: f64,
}

impl Kept {
    /// The memory that one client adds.
    pub(crate) fn client_kib(&self) -> f64 {
        (self.with_clients_mib - self.idle_mib) * 1024.0 / CLIENTS as f64
    }
}

pub(crate) fn look(ground: &Ground) -> Vec<Kept> {
    let of = |rival: &Rival| {
        let idle_mib = rival.resident_mib();
        let (server, asks) = (rival.server.clone(), Asks::Get(Size::Bytes13));
        let clients = Clients { server, asks, clients: CLIENTS, does: Does::Stay };
        let silent = clients.stay(&ground.pi);
        let with_clients_mib = rival.resident_mib();
        silent.kill9();
        Kept { product: rival.product.name(), idle_mib, with_clients_mib }
    };
    let rivals = ground.rivals.iter().filter(|rival| rival.product != Product::Control);
    rivals.map(of).collect()
}

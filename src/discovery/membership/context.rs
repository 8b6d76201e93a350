//! The state that one call of the table lends to the parts that work for it.

use std::sync::Arc;
use std::time::Duration;

use super::event_log::EventLog;
use crate::cluster::health::Thresholds;
use crate::cluster::node::Offer;

/// Numbers of which none is drawn twice. They identify addresses, machines and epochs.
#[derive(Debug, Default)]
pub(super) struct Numbers(u64);

impl Numbers {
    /// A number never drawn before; at least 1.
    pub(super) fn draw(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The parts of the table that an entry needs while it takes something in.
pub(super) struct Context<'a> {
    /// The list of events.
    pub(super) log: &'a mut EventLog,
    /// The source of the numbers of addresses, machines and epochs.
    pub(super) numbers: &'a mut Numbers,
    /// When an address counts as up or down, and how often it is asked.
    pub(super) limits: &'a Thresholds,
    /// The table has room for one more node.
    pub(super) has_room: bool,
    /// The offers of the nodes that had a share of the requests when this call began.
    pub(super) usable: &'a [Arc<Offer>],
    /// Set by each part that changes something that routes or is shown; the table then makes a new
    /// view.
    pub(super) changed: bool,
    /// Time since the process started.
    pub(super) now: Duration,
}

impl Context<'_> {
    /// The number of nodes of this offer's service that had a share of the requests.
    pub(super) fn usable(&self, offer: &Offer) -> usize {
        self.usable.iter().filter(|other| other.service == offer.service).count()
    }
}

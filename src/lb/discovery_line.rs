//! The discovery line of a balancer: its channels, its source of nodes and its table.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::shared::Shared;
use crate::cluster::node::{Change, NodeId, SERVICE};
use crate::cluster::pool::{Feedback, Publisher};
use crate::discovery::mdns::{Browser, Trust};
use crate::discovery::membership::Membership;
use crate::discovery::{Line, Order};
use crate::os::identity::{Hardware, Role};

/// Changes that wait for the discovery task. A full channel holds the source back, which keeps the
/// newest word of each instance.
const CHANGES_MAX: usize = 256;

/// Outcomes that wait for the discovery task. Beyond that the reports of traffic are lost, and probes find
/// out.
const FEEDBACK_MAX: usize = 1024;

/// Orders to drain that wait for the discovery task. The next one waits with its sender.
const ORDERS_MAX: usize = 16;

/// The ends from which the discovery line hears.
pub(super) struct Senders {
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) feedback: mpsc::Sender<Feedback>,
    pub(super) orders: mpsc::Sender<Order>,
}

/// The ends that the discovery line reads.
pub(super) struct Receivers {
    changes: mpsc::Receiver<Change>,
    feedback: mpsc::Receiver<Feedback>,
    orders: mpsc::Receiver<Order>,
}

/// The channels to the discovery line.
pub(super) fn channels() -> (Senders, Receivers) {
    let (changes, from_sources) = mpsc::channel(CHANGES_MAX);
    let (feedback, from_traffic) = mpsc::channel(FEEDBACK_MAX);
    let (orders, from_people) = mpsc::channel(ORDERS_MAX);
    let receivers =
        Receivers { changes: from_sources, feedback: from_traffic, orders: from_people };
    (Senders { changes, feedback, orders }, receivers)
}

/// The line with an empty table. It runs when the caller polls it.
pub(super) fn assemble(shared: &Shared, receivers: Receivers, publisher: Publisher) -> Line {
    let Receivers { changes, feedback, orders } = receivers;
    Line {
        table: Membership::new(shared.config.discovery.cluster.clone(), shared.config.thresholds),
        changes,
        feedback,
        orders,
        publisher,
        started: shared.started,
        counts: Arc::clone(&shared.counts),
        journal: shared.journal.clone(),
        pulse: shared.pulses.part("discovery"),
    }
}

/// Starts to browse for nodes. It ends when the browser is dropped.
pub(super) fn browse(
    shared: &Shared,
    hardware: Hardware,
    changes: mpsc::Sender<Change>,
) -> Browser {
    let config = &shared.config;
    let trust = Trust {
        allow_off_link: config.allow_off_link,
        loopback: config.discovery.loopback,
        ipv6: config.discovery.ipv6,
        listeners: vec![shared.addr, shared.admin_addr],
    };
    let is_own = move |node: &NodeId, port| hardware.node_id(Role::Web, port) == *node;
    let counts = Arc::clone(&shared.counts);
    Browser::start(&config.discovery, SERVICE, trust, is_own, changes, counts)
}

//! The state of the node that its handlers share: what it serves, whether it drains, and how it is.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::time::Instant;

use super::identity::Identity;
use super::requests::Requests;
use super::serving::Serving;
use crate::cluster::protocol::ReportedState;
use crate::os::board::Board;

/// A web node that serves.
#[derive(Debug)]
pub(super) struct WebNode {
    pub(super) identity: Identity,
    /// The cluster. The health answer names it, so that a balancer of another cluster lets go of the node
    /// even if an mDNS packet was lost.
    pub(super) cluster: String,
    pub(super) board: Board,
    pub(super) serving: Serving,
    pub(super) requests: Requests,
    pub(super) started: Instant,
    /// Set once by the stop, read by every answer.
    draining: AtomicBool,
    /// Set and cleared by a person on this machine, through the route `drain`; read by every answer.
    drained: AtomicBool,
}

impl WebNode {
    pub(super) fn new(identity: Identity, cluster: String, serving: Serving) -> Self {
        Self {
            identity,
            cluster,
            board: Board::new("/"),
            serving,
            requests: Requests::default(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            drained: AtomicBool::new(false),
        }
    }

    /// Asks for no new requests from now on, because the node stops.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
        tracing::info!("draining");
    }

    /// Drains the node by hand, or ends that. Returns whether it was drained by hand before the call.
    pub(super) fn drain_by_hand(&self, drain: bool) -> bool {
        self.drained.swap(drain, Relaxed)
    }

    /// Returns whether the node asks for no new requests, because it stops or by hand.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed) || self.drained.load(Relaxed)
    }

    /// The state that its health reports, and the reason of an application that is down.
    pub(super) fn state(&self) -> (ReportedState, Option<String>) {
        if self.is_draining() {
            return (ReportedState::Draining, None);
        }
        let why = self.serving.app().and_then(|app| app.down());
        (if why.is_some() { ReportedState::AppDown } else { ReportedState::Up }, why)
    }

    /// The state of the node in one line, for `systemctl status`. `control` is the port of the node
    /// itself.
    pub(super) fn status(&self, control: u16) -> String {
        let name = &self.identity.name;
        let does = match (&self.serving, self.state().1) {
            (_, Some(why)) => format!("not serving as {name}: {why}"),
            (Serving::Direct(app), None) => {
                format!("serving the application on :{} as {name}; asked on :{control}", app.port)
            }
            (Serving::Name | Serving::Files(_) | Serving::Front(_), None) => {
                let requests = self.requests.begun();
                format!("serving as {name} on :{control}; {requests} requests")
            }
        };
        does + if self.is_draining() { "; draining" } else { "" }
    }
}

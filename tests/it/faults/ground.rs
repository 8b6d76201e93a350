//! The ground of all trials: three nodes called ada, bob and eve, a balancer in front of them, and
//! a recorder on each node's cable. The faults hit ada.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::lab::{Arrival, Balancer, Fickle, Lab, Mood, Process, Recorder, wait_until};

/// The nodes. Each serves its name.
pub(crate) const NAMES: [&str; 3] = ["ada", "bob", "eve"];

/// Requests by method and id, with the arrivals of each.
pub(crate) type Arrivals = BTreeMap<(String, String), Vec<String>>;

pub(crate) struct Ground<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) nodes: Vec<Node>,
    /// The URL for the clients.
    pub(crate) url: String,
    /// `None` if another program balances.
    pub(crate) lb: Option<Balancer>,
    recorders: Vec<Recorder>,
}

pub(crate) enum Node {
    /// `picluster web`.
    Web(Process),
    /// A node with moods.
    Fickle(Fickle),
}

impl Node {
    pub(crate) fn process(&self) -> Process {
        match self {
            Self::Web(process) => process.clone(),
            Self::Fickle(fickle) => fickle.process.clone(),
        }
    }

    pub(crate) fn turns(&mut self, mood: Mood, wholly: bool) {
        match self {
            Self::Fickle(fickle) if wholly => fickle.turns_wholly(mood),
            Self::Fickle(fickle) => fickle.turns(mood),
            Self::Web(_) => unreachable!("a picluster node has no moods"),
        }
    }
}

impl<'a> Ground<'a> {
    /// `picluster lb` in front of three nodes that it has found.
    pub(crate) fn of_picluster(lab: &'a Lab, fickle: bool) -> Self {
        let lb = lab.lb();
        let nodes = nodes(lab, fickle);
        lb.wait_for_nodes(NAMES.len());
        Self { lab, nodes, url: lb.url(), lb: Some(lb), recorders: recorders(lab) }
    }

    /// Another balancer. `start` gets the addresses of three nodes and returns the balancer's
    /// address.
    pub(crate) fn of_another(
        lab: &'a Lab,
        start: impl FnOnce(&Lab, &[SocketAddr]) -> SocketAddr,
    ) -> Self {
        let nodes = nodes(lab, false);
        let endpoints: Vec<_> = nodes.iter().map(|node| node.process().endpoint()).collect();
        let url = format!("http://{}/", start(lab, &endpoints));
        wait_until("an answer of it", || lab.get(&url).is_ok_and(|answer| answer.status == 200));
        Self { lab, nodes, url, lb: None, recorders: recorders(lab) }
    }

    /// Returns whether the balancer would send a request to this endpoint; `None` for other programs.
    pub(crate) fn is_in_rotation(&self, endpoint: SocketAddr) -> Option<bool> {
        let nodes = self.lb.as_ref()?.nodes();
        let endpoint = endpoint.to_string();
        // The API itself may answer late.
        (!nodes.is_empty()).then(|| nodes.iter().any(|n| n.endpoint == endpoint && n.is_up()))
    }

    /// Ends the recording. Returns the arrivals since the start, by method and id.
    pub(crate) fn stop_recording(&mut self) -> Arrivals {
        let mut arrivals = Arrivals::new();
        for (name, recorder) in NAMES.into_iter().zip(self.recorders.drain(..)) {
            for Arrival { method, id, at_ms, place } in recorder.stop() {
                let line = format!("at {name} {at_ms} {place:?}");
                arrivals.entry((method, id)).or_default().push(line);
            }
        }
        arrivals
    }
}

fn nodes(lab: &Lab, fickle: bool) -> Vec<Node> {
    let node = |name: &str| {
        let pi = lab.pi(name);
        if fickle { Node::Fickle(pi.fickle()) } else { Node::Web(pi.web().named().start()) }
    };
    NAMES.map(node).into()
}

fn recorders(lab: &Lab) -> Vec<Recorder> {
    NAMES.iter().map(|name| Recorder::start(&lab.pi(name))).collect()
}

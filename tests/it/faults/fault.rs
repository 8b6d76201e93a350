//! The faults of a node: how each strikes and how it is mended.

use std::time::Duration;

use super::ground::{Ground, Node};
use crate::lab::Mood;

/// A way to fail. It hits one of three nodes, unless its description says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed: the kernel resets its connections and refuses new ones.
    Kill,
    /// The cable is pulled: no carrier, and nothing comes from this node any more.
    Cable,
    /// A switch forwards nothing to the node; the carrier stays.
    Drop,
    /// The process is stopped: the kernel still acknowledges incoming data.
    Freeze,
    /// The process is asked to end, and comes back later.
    Term,
    /// The process is asked to end and is started again at once.
    Restart,
    /// The node resets each connection after the head of a request; its health answers are good.
    Resets,
    /// The node resets each connection after the head, also of health requests.
    ResetsWholly,
    /// The node resets the connection in the middle of an answer's body; its health answers are
    /// good.
    ResetsInBody,
    /// The node sends half of an answer's head and closes; its health answers are good.
    HalfHead,
    /// The node accepts and sends nothing, also no health answer.
    Mute,
    /// The node answers everything with a 500; its health answers are good.
    Storm,
    /// All three nodes answer everything with a 500.
    StormOfAll,
    /// The node answers after 2 s; its health answers come at once.
    Slow,
    /// The node moves to another address from one moment to the next.
    Moved,
    /// UDP port 5353 is dropped on the whole LAN.
    NoMulticast,
}

impl Fault {
    /// The name in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Cable => "cable pulled",
            Self::Drop => "silent drop",
            Self::Freeze => "SIGSTOP",
            Self::Term => "SIGTERM",
            Self::Restart => "restart",
            Self::Resets => "resets after the head",
            Self::ResetsWholly => "resets, health too",
            Self::ResetsInBody => "resets in the body",
            Self::HalfHead => "half a head, then closes",
            Self::Mute => "says nothing",
            Self::Storm => "5xx of one node",
            Self::StormOfAll => "5xx of all nodes",
            Self::Slow => "slow, 2 s",
            Self::Moved => "new address",
            Self::NoMulticast => "multicast dead",
        }
    }

    /// The mood of the fault, if the node misbehaves and not its machine or its process.
    fn mood(self) -> Option<Mood> {
        match self {
            Self::Resets | Self::ResetsWholly => Some(Mood::Resets),
            Self::ResetsInBody => Some(Mood::ResetsInBody),
            Self::HalfHead => Some(Mood::HalfHead),
            Self::Mute => Some(Mood::Mute),
            Self::Storm | Self::StormOfAll => Some(Mood::Status(500)),
            Self::Slow => Some(Mood::Slow(2_000)),
            _ => None,
        }
    }

    /// Returns whether the fault needs nodes with moods instead of `picluster web`.
    pub(crate) fn is_a_mood(self) -> bool {
        self.mood().is_some()
    }

    /// The time from the fault to its mending, which is zero if the fault mends itself.
    pub(crate) fn lasts(self, span: Duration) -> Duration {
        match self {
            Self::Restart | Self::Moved => Duration::ZERO,
            _ => span,
        }
    }

    /// Makes the fault strike.
    pub(crate) fn strike(self, ground: &mut Ground<'_>) {
        if let Some(mood) = self.mood() {
            let hit = if self == Self::StormOfAll { 3 } else { 1 };
            let wholly = matches!(self, Self::ResetsWholly | Self::Mute);
            return ground.nodes.iter_mut().take(hit).for_each(|node| node.turns(mood, wholly));
        }
        let ada = ground.nodes[0].process();
        match self {
            Self::Kill => ada.kill9(),
            Self::Cable => ada.pi().unplug(),
            Self::Drop => ada.pi().partition(),
            Self::Freeze => ada.freeze(),
            Self::Term | Self::Restart => ada.signal("TERM"),
            Self::Moved => ada.pi().move_to_new_address(),
            _ => ground.lab.kill_mdns(),
        }
    }

    /// Mends the fault.
    pub(crate) fn mend(self, ground: &mut Ground<'_>) {
        if self.is_a_mood() {
            return ground.nodes.iter_mut().for_each(|node| node.turns(Mood::Well, false));
        }
        let ada = ground.nodes[0].process();
        match self {
            Self::Kill | Self::Term | Self::Restart => ground.nodes[0] = Node::Web(ada.restart()),
            Self::Cable => ada.pi().plug(),
            Self::Drop => ada.pi().heal(),
            Self::Freeze => ada.thaw(),
            Self::NoMulticast => ground.lab.lose_nothing(),
            _ => {}
        }
    }
}

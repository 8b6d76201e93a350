//! What can go wrong with a node, and how it is made to go wrong and to be well again.

use std::time::Duration;

use super::ground::{Ground, Node};
use crate::lab::Mood;

/// A way to fail. It hits one of three nodes, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed: the kernel resets its connections and refuses new ones.
    Kill,
    /// The cable is pulled: no carrier, and nothing comes from there any more.
    Cable,
    /// A switch forwards nothing to the node; the carrier stays.
    Drop,
    /// The process is stopped: the kernel still acknowledges what it is sent.
    Freeze,
    /// It is asked to end, and comes back later.
    Term,
    /// It is asked to end and started again at once.
    Restart,
    /// It resets each connection once it has read the head of a request; its health is good.
    Resets,
    /// The same, and its health answers are reset as well.
    ResetsWholly,
    /// It resets the connection in the middle of an answer's body; its health is good.
    ResetsInBody,
    /// It sends half of an answer's head and closes; its health is good.
    HalfHead,
    /// It accepts and says nothing, to requests for its health neither.
    Mute,
    /// It answers everything with a 500; its health is good.
    Storm,
    /// All three do.
    StormOfAll,
    /// It answers after 2 s; its health answers come at once.
    Slow,
    /// It has another address from one moment to the next.
    Moved,
    /// UDP port 5353 is dropped on the whole LAN.
    NoMulticast,
}

impl Fault {
    /// What the report calls it.
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

    /// What a node must be told to do, where it is not the machine or the process that fails.
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

    /// Whether it takes nodes that can be told what to do, in place of `picluster web`.
    pub(crate) fn is_a_mood(self) -> bool {
        self.mood().is_some()
    }

    /// How long it lasts, if it ends by being mended.
    pub(crate) fn lasts(self, span: Duration) -> Duration {
        match self {
            Self::Restart | Self::Moved => Duration::ZERO,
            _ => span,
        }
    }

    /// Makes it so.
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

    /// Makes all well again.
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

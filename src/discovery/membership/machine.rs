//! A machine that holds an id, in one of its starts, reached at one active address.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::address::Address;
use super::context::Context;
use super::event::EventKind;
use super::event_log::Subject;
use super::outlier::Outlier;
use crate::cluster::health::Health;
use crate::cluster::node::{Boot, Offer};
use crate::cluster::pi::Pi;
use crate::cluster::pool::Counters;

/// The reason that is shown of a node that somebody on this machine has drained.
const DRAINED_HERE: &str = "drained here";

/// The least time between two events about the trouble of one board: a supply at its limit fails and
/// recovers every few seconds.
const BOARD_EVENT_EVERY: Duration = Duration::from_secs(60);

/// A goodbye that was heard and has not been contradicted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goodbye {
    pub(super) at: Duration,
    /// It came with many others, or after a disturbance of our own link: it is not believed unless the
    /// node itself reported that it is draining.
    pub(super) doubted: bool,
}

/// The trouble of a board, as it was last recorded as an event.
#[derive(Debug, Default)]
struct BoardTrouble {
    /// The last event was that a trouble began.
    active: bool,
    /// When the last event was recorded.
    recorded: Option<Duration>,
}

/// One machine. Times count from the start of this process.
#[derive(Debug)]
pub(super) struct Machine {
    /// It has proved to be there. It stays so until it is dropped.
    pub(super) proven: bool,
    /// `None` for a foreign device.
    pub(super) boot: Option<Boot>,
    /// The key of the address in use.
    pub(super) active: u64,
    /// Drawn anew with each boot and each address.
    pub(super) epoch: u64,
    /// A number never used again, drawn anew when it proves itself. The one that did so first keeps
    /// the name that two would have.
    pub(super) born: u64,
    /// The name it gives itself.
    pub(super) wanted: String,
    /// The name it is shown under, once it has proved itself and was given one; written where names
    /// are given.
    pub(super) name: Option<String>,
    pub(super) counters: Arc<Counters>,
    /// The state of its board, as it last reported it.
    pub(super) pi: Arc<Mutex<Option<Pi>>>,
    /// The offer of this start; written by [`settle`](super::ownership::settle).
    pub(super) offer: Arc<Offer>,
    trouble: BoardTrouble,
    /// The health of which the last event was recorded, and since when it has it.
    pub(super) shown: Health,
    pub(super) since: Duration,
    pub(super) advertised: bool,
    /// Since when it is not advertised, if it is not.
    pub(super) absent_since: Duration,
    pub(super) goodbye: Option<Goodbye>,
    /// Its last report was that it is draining.
    pub(super) drained: bool,
    /// Somebody on this machine has drained it; written where names are given, and by a drain.
    pub(super) drained_here: bool,
    /// The epoch it had at an address that answered nothing when it was left.
    pub(super) left_silent: Option<u64>,
    /// The part of its state that requests decide.
    pub(super) outlier: Outlier,
}

impl Machine {
    /// A machine that has not proved itself.
    pub(super) fn new(wanted: String, active: u64, cx: &mut Context<'_>) -> Self {
        cx.changed = true;
        Self {
            proven: false,
            boot: None,
            active,
            epoch: cx.numbers.draw(),
            born: cx.numbers.draw(),
            wanted,
            name: None,
            counters: Arc::default(),
            pi: Arc::default(),
            offer: Arc::default(),
            trouble: BoardTrouble::default(),
            shown: Health::Starting,
            since: cx.now,
            advertised: true,
            absent_since: cx.now,
            goodbye: None,
            drained: false,
            drained_here: false,
            left_silent: None,
            outlier: Outlier::default(),
        }
    }

    /// The name it is shown under, or will be unless another machine has it.
    pub(super) fn known_as(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.wanted)
    }

    /// This machine, as an event refers to it.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { born: self.born, name: self.known_as() }
    }

    /// True if it reported itself that it was about to stop, and its source has withdrawn it.
    pub(super) fn has_taken_leave(&self) -> bool {
        self.drained && !self.advertised
    }

    /// True if an address leads here: it is the active one, or has answered as this boot.
    pub(super) fn is_reached_by(&self, address: &Address) -> bool {
        self.active == address.key || (self.proven && address.is_of(self.boot))
    }

    /// It has proved itself, in this start, at this address. All that was kept for the start before
    /// ends here.
    pub(super) fn renew(&mut self, boot: Option<Boot>, active: u64, cx: &mut Context<'_>) {
        if !self.proven {
            self.proven = true;
            self.born = cx.numbers.draw();
        }
        if self.boot != boot {
            self.outlier.restarted(self.drained);
            self.counters.errors.store(0, Ordering::Relaxed);
            self.drained = false;
            // It was the goodbye of the start before.
            self.goodbye = None;
        }
        self.boot = boot;
        self.active = active;
        self.epoch = cx.numbers.draw();
        cx.changed = true;
    }

    /// Takes over the state of its address, and records a change. `unclaimed`: an advertised address
    /// leads to no machine yet, so it may be this one's. False if no address is left.
    pub(super) fn refresh(
        &mut self,
        addresses: &[Address],
        unclaimed: bool,
        foreign: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(address) = addresses.iter().find(|address| address.key == self.active) else {
            cx.changed = true;
            let Some(first) = addresses.first().filter(|_| !self.proven) else { return false };
            self.active = first.key;
            self.epoch = cx.numbers.draw();
            return true;
        };
        let leads_here = |a: &Address| a.instance.is_some() && self.is_reached_by(a);
        let advertised = unclaimed || addresses.iter().any(leads_here);
        if advertised != self.advertised {
            self.advertised = advertised;
            self.absent_since = cx.now;
            cx.changed = true;
        }
        let health = self.outlier.over(address.health());
        if self.proven && health != self.shown {
            self.change_health(health, address, foreign, cx);
        }
        true
    }

    fn change_health(
        &mut self,
        health: Health,
        address: &Address,
        foreign: bool,
        cx: &mut Context<'_>,
    ) {
        let usable = cx.usable(&self.offer);
        self.outlier.health_changed(self.shown, health, usable, cx.now);
        self.record_health(health, address, foreign, cx);
        self.shown = health;
        self.since = cx.now;
        cx.changed = true;
        if !health.answers() {
            // Nobody knows the board of a node that reports nothing.
            *self.pi.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn record_health(
        &self,
        health: Health,
        address: &Address,
        foreign: bool,
        cx: &mut Context<'_>,
    ) {
        let kind = match (self.shown, health) {
            // It leaves as it announced.
            (_, Health::Down) if self.has_taken_leave() => return,
            (Health::Starting, _) => EventKind::Joined,
            (_, Health::Up) => EventKind::Back,
            (_, Health::Draining) => EventKind::Draining,
            (_, Health::Ejected) => EventKind::Ejected(self.outlier.ejection(address.health())),
            (_, Health::Suspect) => EventKind::Suspected,
            (_, Health::Starting | Health::Down) => EventKind::Lost,
        };
        let why = self.why(address);
        let detail = match (kind, health) {
            (EventKind::Joined, Health::Up) if foreign => "without picluster",
            (EventKind::Joined | EventKind::Back, Health::Up) => "",
            _ => &why,
        };
        cx.log.record(kind, self.subject(), Some(address.target.endpoint), detail);
    }

    /// Takes in the state of its board. A board that is held back gets a smaller share at once, because
    /// its clients would wait for it. An event is recorded when a trouble begins and when it ends, at
    /// most one every [`BOARD_EVENT_EVERY`].
    pub(super) fn take_in_board(&mut self, pi: Option<&Pi>, cx: &mut Context<'_>) {
        cx.changed |= self.outlier.set_speed(pi.map_or(4, Pi::quarters));
        let trouble = pi.and_then(Pi::trouble);
        let BoardTrouble { active, recorded } = self.trouble;
        let may_record = recorded.is_none_or(|at| cx.now >= at + BOARD_EVENT_EVERY);
        if active != trouble.is_some() && may_record {
            self.trouble = BoardTrouble { active: !active, recorded: Some(cx.now) };
            let kind = if active { EventKind::BoardWell } else { EventKind::BoardTrouble };
            cx.log.record(kind, self.subject(), None, trouble.unwrap_or_default());
        }
        *self.pi.lock().unwrap_or_else(PoisonError::into_inner) = pi.cloned();
    }

    /// Somebody on this machine drains it, or ends that.
    pub(super) fn drain_here(
        &mut self,
        drain: bool,
        endpoint: Option<SocketAddr>,
        cx: &mut Context<'_>,
    ) {
        self.drained_here = drain;
        cx.changed = true;
        // Nothing else changes for a node that would not serve anyway.
        if self.shown == Health::Up {
            self.since = cx.now;
            let (kind, detail) = if drain {
                (EventKind::Draining, DRAINED_HERE)
            } else {
                (EventKind::Back, "no longer drained here")
            };
            cx.log.record(kind, self.subject(), endpoint, detail);
        }
    }

    /// The reason for its health, as a sentence for people.
    fn why(&self, address: &Address) -> String {
        let health = self.outlier.over(address.health());
        self.outlier.why(health).unwrap_or_else(|| address.why.clone())
    }

    /// The health that is shown of it, and the reason. A node that is drained here but would serve is
    /// shown as draining.
    pub(super) fn shown_health(&self, address: &Address) -> (Health, String) {
        let why = match (self.shown, self.goodbye) {
            (Health::Up, _) if self.drained_here => {
                return (Health::Draining, DRAINED_HERE.to_owned());
            }
            (Health::Draining, Some(_)) => "said goodbye and is draining".to_owned(),
            _ => self.why(address),
        };
        let why = if self.drained_here { format!("{why}; {DRAINED_HERE}") } else { why };
        (self.shown, why)
    }

    /// True if it is used only when no other node is usable.
    pub(super) fn is_last_resort(&self, address: &Address) -> bool {
        let drained_here = self.drained_here && self.shown == Health::Up;
        let suspect = self.shown == Health::Suspect;
        self.proven
            && (address.last_resort || suspect || drained_here || self.outlier.is_out(self.shown))
    }

    /// True if it has a share of the requests.
    pub(super) fn has_share(&self) -> bool {
        !self.drained_here && self.outlier.has_share(self.shown)
    }

    /// When time alone changes what it gets.
    pub(super) fn next_step(&self) -> Option<Duration> {
        self.outlier.next_step(self.shown)
    }
}

//! Who holds an id: one machine in one of its starts, reached by one active way.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::address::Address;
use super::entry::Context;
use super::event::EventKind;
use super::outlier::Outlier;
use crate::cluster::health::Health;
use crate::cluster::node::{Boot, Offer};
use crate::cluster::pi::Pi;
use crate::cluster::pool::Counters;

/// Why a node is not used that somebody on this machine has drained.
pub(super) const DRAINED_HERE: &str = "drained here";

/// A goodbye that was heard and has not been contradicted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goodbye {
    pub(super) at: Duration,
    /// It came with many others, or after a disturbance of our own link: not believed unless the
    /// node itself said that it is draining.
    pub(super) doubted: bool,
}

/// Between two words about the trouble of one board: a supply at its limit fails and recovers every few
/// seconds.
const TROUBLE_TOLD_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Machine {
    /// Whether it has proved to be there. It stays so until it is dropped.
    pub(super) proven: bool,
    /// `None` for a foreign device.
    pub(super) boot: Option<Boot>,
    /// The key of the way in use.
    pub(super) active: u64,
    /// Drawn anew with each boot and each way.
    pub(super) epoch: u64,
    /// A number never used again, drawn anew when it proves itself: who did so first keeps the
    /// name that two would have.
    pub(super) born: u64,
    /// The name it gives itself.
    pub(super) wanted: String,
    /// The name it is shown under, once it has proved itself and was given one; written where names
    /// are given.
    pub(super) name: Option<String>,
    pub(super) counters: Arc<Counters>,
    /// How its board is, as it said last.
    pub(super) pi: Arc<Mutex<Option<Pi>>>,
    /// What this start of it offers; written by [`Entry::settle`](super::entry::Entry::settle).
    pub(super) offer: Arc<Offer>,
    /// Its board's trouble as it was last told, and when that was.
    trouble: (bool, Option<Duration>),
    /// The health as it was last told, and since when it is that.
    pub(super) shown: Health,
    pub(super) since: Duration,
    pub(super) advertised: bool,
    /// Since when it is not advertised, if it is not.
    pub(super) absent_since: Duration,
    pub(super) goodbye: Option<Goodbye>,
    /// Its last word was that it is draining.
    pub(super) drained: bool,
    /// Somebody on this machine has drained it; written where ids are given.
    pub(super) drained_here: bool,
    /// The epoch it had by a way that answered nothing when it was left.
    pub(super) left_silent: Option<u64>,
    /// What requests have shown of it.
    pub(super) outlier: Outlier,
}

impl Machine {
    /// A machine that has not proved itself.
    pub(super) fn new(wanted: String, active: u64, cx: &mut Context<'_>) -> Self {
        cx.log.changed = true;
        Self {
            proven: false,
            boot: None,
            active,
            epoch: cx.log.number(),
            born: cx.log.number(),
            wanted,
            name: None,
            counters: Arc::default(),
            pi: Arc::default(),
            offer: Arc::default(),
            trouble: (false, None),
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

    /// The name it is shown under, or will be unless somebody has it.
    pub(super) fn known_as(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.wanted)
    }

    /// Whether it said itself that it was about to stop, and its source has withdrawn it.
    pub(super) fn has_taken_leave(&self) -> bool {
        self.drained && !self.advertised
    }

    /// Whether a way with this key, that answered as this boot (if it did), leads here.
    pub(super) fn is_reached_by(&self, key: u64, boot: Option<Option<Boot>>) -> bool {
        self.active == key || (self.proven && boot == Some(self.boot))
    }

    /// Proved, in this start, by this way: everything kept for the one before ends here.
    pub(super) fn renew(&mut self, boot: Option<Boot>, active: u64, cx: &mut Context<'_>) {
        if !self.proven {
            self.proven = true;
            self.born = cx.log.number();
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
        self.epoch = cx.log.number();
        cx.log.changed = true;
    }

    /// Takes over what its way says, and tells of a change. False if it has no way left.
    pub(super) fn refresh(
        &mut self,
        addresses: &[Address],
        free: bool,
        foreign: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(address) = addresses.iter().find(|address| address.key == self.active) else {
            cx.log.changed = true;
            let Some(first) = addresses.first().filter(|_| !self.proven) else { return false };
            self.active = first.key;
            self.epoch = cx.log.number();
            return true;
        };
        let leads_here =
            |address: &Address| self.is_reached_by(address.key, address.answer.map(|a| a.boot));
        let advertised = free
            || addresses.iter().any(|address| address.instance.is_some() && leads_here(address));
        if advertised != self.advertised {
            self.advertised = advertised;
            self.absent_since = cx.now;
            cx.log.changed = true;
        }
        let health = self.outlier.over(address.health());
        if self.proven && health != self.shown {
            let usable = cx.usable(&self.offer);
            self.outlier.turned(self.shown, health, usable, cx.now);
            self.tell(health, address, foreign, cx);
            self.shown = health;
            self.since = cx.now;
            cx.log.changed = true;
            if !health.answers() {
                // Nobody knows how the board of a node is that says nothing.
                *self.pi.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
        true
    }

    /// Takes in how its board is. A board that is held back gets a smaller share, at once: its clients
    /// would wait for it. A trouble is told when it begins and when it ends, a flickering one seldom.
    pub(super) fn hear_of_its_board(&mut self, pi: Option<&Pi>, cx: &mut Context<'_>) {
        cx.log.changed |= self.outlier.runs_at(pi.map_or(4, Pi::quarters));
        let trouble = pi.and_then(Pi::trouble);
        let (told, at) = self.trouble;
        if told != trouble.is_some() && at.is_none_or(|at| cx.now >= at + TROUBLE_TOLD_EVERY) {
            self.trouble = (!told, Some(cx.now));
            let what = if told { EventKind::BoardWell } else { EventKind::BoardTrouble };
            cx.log.tell(what, self, None, trouble.unwrap_or_default());
        }
        *self.pi.lock().unwrap_or_else(PoisonError::into_inner) = pi.cloned();
    }

    /// Why it is what it is, as a sentence for people.
    pub(super) fn why(&self, address: &Address) -> String {
        self.outlier.why(self.outlier.over(address.health())).unwrap_or_else(|| address.why.clone())
    }

    /// What is shown of it: its health, and why. Who is drained here but would serve is draining.
    pub(super) fn said(&self, address: &Address) -> (Health, String) {
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

    /// Whether it has a share of the requests.
    pub(super) fn has_share(&self) -> bool {
        !self.drained_here && self.outlier.has_share(self.shown)
    }

    fn tell(&self, health: Health, address: &Address, foreign: bool, cx: &mut Context<'_>) {
        let what = match (self.shown, health) {
            // It leaves as it said it would.
            (_, Health::Down) if self.has_taken_leave() => return,
            (Health::Starting, _) => EventKind::Joined,
            (_, Health::Up) => EventKind::Back,
            (_, Health::Draining) => EventKind::Draining,
            (_, Health::Ejected) => EventKind::Ejected(self.outlier.ejection(address.health())),
            (_, Health::Suspect) => EventKind::Suspected,
            (_, Health::Starting | Health::Down) => EventKind::Lost,
        };
        let why = self.why(address);
        let detail = match (what, health) {
            (EventKind::Joined, Health::Up) if foreign => "without picluster",
            (EventKind::Joined | EventKind::Back, Health::Up) => "",
            _ => &why,
        };
        cx.log.tell(what, self, Some(address.target.endpoint), detail);
    }
}

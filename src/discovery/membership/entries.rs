//! All entries of the table, by id, and the questions that need a look at all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::entry::Entry;
use super::machine::{Goodbye, Machine};
use crate::cluster::node::{NodeId, Offer};

/// Candidates are shown as `starting` while there are no more than these: a few are news, a flood of
/// them must not fill the page.
const STARTING_SHOWN_MAX: usize = 16;

/// All entries of the table.
#[derive(Debug, Default)]
pub(super) struct Entries(BTreeMap<NodeId, Entry>);

impl Entries {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.0.values()
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Entry> {
        self.0.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Entry> {
        self.0.get_mut(id)
    }

    /// Enters an id, in place of the entry it had.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.0.insert(entry.id.clone(), entry);
    }

    /// The ids that no machine has proved to hold yet.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Entry> {
        self.iter().filter(|entry| entry.is_candidate())
    }

    /// Drops the candidate that was proposed first.
    pub(super) fn drop_oldest_candidate(&mut self) {
        let oldest = self.candidates().min_by_key(|entry| entry.added);
        if let Some(id) = oldest.map(|entry| entry.id.clone()) {
            self.0.remove(&id);
        }
    }

    /// The entries that are shown.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Entry> {
        let few = self.candidates().count() <= STARTING_SHOWN_MAX;
        self.iter().filter(move |entry| few || !entry.is_candidate())
    }

    /// True if there are too many candidates to show any, even with one more or one less. Then a
    /// change of one of them changes no view: a flood would cost a view for each of its packets.
    fn hides_candidates(&self) -> bool {
        self.candidates().count() > STARTING_SHOWN_MAX + 1
    }

    /// The machines that have proved themselves.
    pub(super) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.iter().flat_map(|entry| &entry.machines).filter(|machine| machine.proven)
    }

    /// The goodbyes that were heard and have not been contradicted.
    pub(super) fn goodbyes_mut(&mut self) -> impl Iterator<Item = &mut Goodbye> {
        let machines = self.0.values_mut().flat_map(|entry| &mut entry.machines);
        machines.filter_map(|machine| machine.goodbye.as_mut())
    }

    /// The proven machine of this epoch, with its entry and its position there.
    pub(super) fn find_epoch(&self, epoch: u64) -> Option<(&Entry, usize)> {
        self.iter().find_map(|entry| {
            let at = entry.machines.iter().position(|machine| machine.epoch == epoch)?;
            entry.machines[at].proven.then_some((entry, at))
        })
    }

    /// The ids of which this instance advertises an address.
    pub(super) fn advertised_by(&self, instance: &str) -> Vec<NodeId> {
        let is_advertised = |entry: &&Entry| {
            entry.addresses.iter().any(|address| address.instance.as_deref() == Some(instance))
        };
        self.iter().filter(is_advertised).map(|entry| entry.id.clone()).collect()
    }

    /// The offers of the nodes that have a share of the requests.
    pub(super) fn usable(&self) -> Vec<Arc<Offer>> {
        let usable = self.machines().filter(|machine| machine.has_share());
        usable.map(|machine| Arc::clone(&machine.offer)).collect()
    }

    /// When time alone changes what a node gets.
    pub(super) fn next_step(&self) -> Option<Duration> {
        self.machines().filter_map(Machine::next_step).min()
    }

    /// The ids of the nodes for which time alone changes something by now.
    pub(super) fn due_steps(&self, now: Duration) -> Vec<NodeId> {
        let is_due = |entry: &&Entry| {
            let proven = entry.machines.iter().filter(|machine| machine.proven);
            proven.filter_map(Machine::next_step).any(|at| at <= now)
        };
        self.iter().filter(is_due).map(|entry| entry.id.clone()).collect()
    }

    /// Lets `act` change one entry, and drops the entry if no machine is left. Returns the result of
    /// `act`; `None` if there is no such entry.
    pub(super) fn change_one<T>(
        &mut self,
        id: &NodeId,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Entry, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let hidden = self.hides_candidates();
        let (done, kept) = change(self.0.get_mut(id)?, hidden, cx, act);
        if !kept {
            self.0.remove(id);
        }
        Some(done)
    }

    /// Lets `act` change each entry, and drops those of which no machine is left.
    pub(super) fn change_all(
        &mut self,
        cx: &mut Context<'_>,
        mut act: impl FnMut(&mut Entry, &mut Context<'_>),
    ) {
        let hidden = self.hides_candidates();
        self.0.retain(|_, entry| change(entry, hidden, cx, &mut act).1);
        cx.changed |= hidden && !self.hides_candidates();
    }
}

/// Lets `act` change an entry. Returns its result, and whether a machine is left. A change of a
/// candidate that was hidden and still is changes no view.
fn change<T>(
    entry: &mut Entry,
    hidden: bool,
    cx: &mut Context<'_>,
    act: impl FnOnce(&mut Entry, &mut Context<'_>) -> T,
) -> (T, bool) {
    let (unseen, changed) = (hidden && entry.is_candidate(), cx.changed);
    let done = act(entry, cx);
    let kept = !entry.machines.is_empty();
    cx.changed |= !kept;
    if unseen && entry.is_candidate() {
        cx.changed = changed;
    }
    (done, kept)
}

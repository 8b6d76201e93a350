//! The changes that wait for the discovery task: the newest one of each instance, and a bounded
//! number of them. mDNS repeats itself, so nobody misses an older change of an instance.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::node::{Change, Source};

/// The most instances that wait. The table takes 64 new ones a second, so more than this is a
/// flood, and the next browse brings back those that did not fit.
pub(super) const WAITING_MAX: usize = 512;

/// A departure waits this long for the news that the fault is our own: when we lose an address,
/// mdns-sd reports the nodes that went with it a few microseconds before it reports the address.
const LEFT_HELD: Duration = Duration::from_millis(20);

/// The queue. [`Outbox::due`] returns the time when its head may go, [`Outbox::pop`] takes the
/// head.
#[derive(Default)]
pub(super) struct Outbox {
    /// True while [`Change::Disturbed`] waits.
    disturbed: bool,
    order: VecDeque<String>,
    /// The waiting change of each instance in `order`, and the time from which it may go.
    newest: HashMap<String, (Instant, Change)>,
}

impl Outbox {
    /// Adds a change. [`Change::Disturbed`] overtakes everything. Any other change replaces the
    /// waiting one of its instance; it is dropped if the instance is new and the box is full.
    pub(super) fn push(&mut self, change: Change, now: Instant) {
        let (instance, due) = match &change {
            Change::Disturbed(_) => {
                self.disturbed = true;
                return;
            }
            Change::Seen(_, sighting) => (sighting.instance.clone(), now),
            Change::Left(_, instance) => (instance.clone(), now + LEFT_HELD),
        };
        if let Some(slot) = self.newest.get_mut(&instance) {
            *slot = (due, change);
        } else if self.newest.len() < WAITING_MAX {
            self.order.push_back(instance.clone());
            self.newest.insert(instance, (due, change));
        }
    }

    /// Returns the time when the head may go; `None` if there is no head.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.disturbed {
            return Some(now);
        }
        self.order.front().and_then(|instance| self.newest.get(instance)).map(|(due, _)| *due)
    }

    /// Takes the head.
    pub(super) fn pop(&mut self) -> Option<Change> {
        if std::mem::take(&mut self.disturbed) {
            return Some(Change::Disturbed(Source::Mdns));
        }
        let instance = self.order.pop_front()?;
        self.newest.remove(&instance).map(|(_, change)| change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::{Advertisement, Sighting};

    fn seen(instance: &str, target: &str) -> Change {
        let advertisement = Advertisement::parse(|key| (key == "v").then_some("1")).unwrap();
        Change::Seen(
            Source::Mdns,
            Sighting {
                instance: instance.to_owned(),
                target: target.to_owned(),
                endpoints: Vec::new(),
                advertisement,
            },
        )
    }

    fn left(instance: &str) -> Change {
        Change::Left(Source::Mdns, instance.to_owned())
    }

    #[test]
    fn the_newest_change_of_an_instance_replaces_the_older_in_its_place() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for change in [seen("a", "1"), seen("b", "1"), left("a"), seen("a", "2")] {
            outbox.push(change, now);
        }
        assert_eq!(outbox.pop(), Some(seen("a", "2")));
        assert_eq!(outbox.pop(), Some(seen("b", "1")));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn our_own_disturbance_overtakes_the_departures_it_caused() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.push(left("a"), now);
        assert_eq!(outbox.due(now), Some(now + LEFT_HELD));
        outbox.push(Change::Disturbed(Source::Mdns), now);
        assert_eq!(outbox.due(now), Some(now));
        assert_eq!(outbox.pop(), Some(Change::Disturbed(Source::Mdns)));
        assert_eq!(outbox.pop(), Some(left("a")));
    }

    #[test]
    fn a_flood_of_new_instances_fills_the_box_and_no_more() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.push(seen("known", "1"), now);
        for n in 0..WAITING_MAX * 2 {
            outbox.push(seen(&n.to_string(), "1"), now);
        }
        assert_eq!(outbox.newest.len(), WAITING_MAX);
        outbox.push(left("known"), now);
        assert_eq!(outbox.pop(), Some(left("known")));
    }
}

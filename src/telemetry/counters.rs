//! Numbers that change while the program runs: one that only grows, one as of the last look, and
//! one for each of a few causes or statuses. They are relaxed atomics, so that counting never
//! waits.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

/// A number that goes up and down, as of the last look at it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the number.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns the number that was set last; 0 if none was.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Gauge {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.get())
    }
}

/// A counter of responses for each class of their status.
#[derive(Debug, Default)]
pub struct StatusClasses([Counter; 5]);

impl StatusClasses {
    const WORDS: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

    /// Counts one response of this status. A status above 599 has no class of its own and counts as
    /// a 5xx, because it is an error too.
    pub fn add(&self, status: u16) {
        self.0[usize::from(status / 100).clamp(1, 5) - 1].add();
    }

    /// Returns each class with its count.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::WORDS.into_iter().zip(self.0.iter().map(Counter::get))
    }
}

/// A number that only grows, from 0.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// Adds `more`.
    pub fn add_many(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Returns the present number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.get())
    }
}

/// The most causes of one table, which is more than any of them has.
const CAUSES_MAX: usize = 32;

/// A counter for each of a few causes. A cause takes a slot when it is first counted. So each cause
/// is written once in the code, in the place that also logs it. From then on, counting costs a look
/// at some slots and one addition.
#[derive(Debug, Default)]
pub struct ByCause([(OnceLock<&'static str>, Counter); CAUSES_MAX]);

impl ByCause {
    /// Counts one more of this cause. A cause that finds no slot left is not counted; the tables
    /// are large enough that there is none.
    pub fn add(&self, cause: &'static str) {
        let slot = self.0.iter().find(|(taken, _)| *taken.get_or_init(|| cause) == cause);
        debug_assert!(slot.is_some(), "{cause} is one cause too many");
        if let Some((_, count)) = slot {
            count.add();
        }
    }

    /// Returns the count of this cause.
    pub fn get(&self, cause: &str) -> u64 {
        self.all().get(cause).copied().unwrap_or_default()
    }

    /// Returns all counts that are not zero, in the order of their causes.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        let taken = self.0.iter().map_while(|(cause, count)| Some((*cause.get()?, count.get())));
        // A slot that was just taken still has a count of zero.
        taken.filter(|(_, count)| *count > 0).collect()
    }
}

impl Serialize for ByCause {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.all().serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_a_class() {
        let classes = StatusClasses::default();
        for status in [101, 200, 299, 304, 499, 500, 999] {
            classes.add(status);
        }
        let counts: Vec<_> = classes.all().collect();
        assert_eq!(counts, [("1xx", 1), ("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 2)]);
    }

    #[test]
    fn causes_that_several_threads_count_first_lose_no_count() {
        let by_cause = ByCause::default();
        let words = ["a", "b", "c", "d"];
        std::thread::scope(|scope| {
            for from in 0..words.len() {
                let by_cause = &by_cause;
                scope.spawn(move || {
                    for n in 0..1000 {
                        by_cause.add(words[(from + n) % words.len()]);
                    }
                });
            }
        });
        assert_eq!(by_cause.all(), words.map(|word| (word, 1000)).into());
    }
}

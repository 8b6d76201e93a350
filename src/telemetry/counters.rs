//! The numbers that are counted while the program runs: one that only grows, one as of the last look,
//! and one for each of a few words or statuses. Plain relaxed atomics: whoever counts never waits.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

/// A number as of the last time that somebody looked.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// As it was.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Gauge {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.get())
    }
}

/// Answers by the class of their status.
#[derive(Debug, Default)]
pub struct StatusClasses([Counter; 5]);

impl StatusClasses {
    const WORDS: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

    /// One more of this status. What is above 599 has no class of its own and is an error as well.
    pub fn add(&self, status: u16) {
        self.0[usize::from(status / 100).clamp(1, 5) - 1].add();
    }

    /// Each class with its count.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::WORDS.into_iter().zip(self.0.iter().map(Counter::get))
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// So many more.
    pub fn add_many(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// As of now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.get())
    }
}

/// More words than any of the tables has.
const CAUSES_MAX: usize = 32;

/// A count for each of a few words. A word takes its slot when it is first counted, so that the
/// words are written down once, where they are also logged from; from then on one more costs a look
/// at some places and one addition.
#[derive(Debug, Default)]
pub struct ByCause([(OnceLock<&'static str>, Counter); CAUSES_MAX]);

impl ByCause {
    /// One more of these.
    pub fn add(&self, word: &'static str) {
        let slot = self.0.iter().find(|(taken, _)| *taken.get_or_init(|| word) == word);
        debug_assert!(slot.is_some(), "{word} is one word too many");
        if let Some((_, count)) = slot {
            count.add();
        }
    }

    /// How many of these.
    pub fn get(&self, word: &str) -> u64 {
        self.all().get(word).copied().unwrap_or_default()
    }

    /// All that are not zero, in the order of their words.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        let taken = self.0.iter().map_while(|(word, count)| Some((*word.get()?, count.get())));
        // Between taking the slot and counting it is zero.
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
    fn words_that_several_threads_bring_first_lose_no_count() {
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

//! The events of the last while, for people: the discovery line writes them, the page reads them.
//! The journal stands in memory only, and has a bound.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

/// The most entries that are kept. A new one replaces the oldest.
pub const ENTRIES_MAX: usize = 128;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// The number of the entry. Numbers count up from 1 without a gap.
    pub number: u64,
    /// The time of the event.
    pub at: SystemTime,
    /// The node's name, as people see it.
    pub node: String,
    /// The event as a short fragment: `joined`, `node left: goodbye`.
    pub what: &'static str,
    /// The reason or the source of the event; may be empty.
    pub detail: String,
    /// True if somebody should look at it.
    pub warning: bool,
}

/// The entries of the last while. Clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    entries: Arc<Mutex<VecDeque<JournalEntry>>>,
    /// The number of the newest entry.
    written: watch::Sender<u64>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { entries: Arc::default(), written: watch::Sender::new(0) }
    }
}

impl Journal {
    /// Writes an entry, and replaces its number by the next one.
    pub fn write(&self, mut entry: JournalEntry) {
        let number = *self.written.borrow() + 1;
        entry.number = number;
        {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            if entries.len() == ENTRIES_MAX {
                entries.pop_front();
            }
            entries.push_back(entry);
        }
        self.written.send_replace(number);
    }

    /// Returns the entries after this number, oldest first; after 0 they are all that are kept.
    pub fn after(&self, number: u64) -> Vec<JournalEntry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter(|entry| entry.number > number).cloned().collect()
    }

    /// Returns a watch on the number of the newest entry, which changes with each entry.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_are_kept_and_read_after_a_number() {
        let journal = Journal::default();
        let watch = journal.watch();
        for _ in 0..ENTRIES_MAX + 3 {
            let (node, detail) = ("ada".to_owned(), String::new());
            let at = SystemTime::UNIX_EPOCH;
            journal.write(JournalEntry {
                number: 0,
                at,
                node,
                what: "joined",
                detail,
                warning: false,
            });
        }
        assert_eq!(*watch.borrow(), ENTRIES_MAX as u64 + 3);
        let numbers = |after| journal.after(after).iter().map(|e| e.number).collect::<Vec<_>>();
        assert_eq!((numbers(0)[0], numbers(0).len()), (4, ENTRIES_MAX));
        assert_eq!(numbers(ENTRIES_MAX as u64 + 1).len(), 2);
    }
}

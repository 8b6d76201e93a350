//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) struct Options {
    /// Only rows whose name contains one of these; all if there is none.
    words: Vec<String>,
    /// The number of the only table that is wanted.
    only: Option<usize>,
    /// The number of rounds of the common faults.
    pub(crate) repeat: usize,
    /// The number of LANs at once.
    pub(crate) labs: usize,
    /// The time without multicast.
    pub(crate) multicast: Duration,
    /// The file for the tables.
    pub(crate) markdown: Option<PathBuf>,
}

impl Options {
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let multicast = Duration::from_secs(60);
        let mut options =
            Self { words: Vec::new(), only: None, repeat: 3, labs: 3, multicast, markdown: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                // Cargo adds this argument itself.
                "--bench" => {}
                "--only" => options.only = Some(number(&value()?)?),
                "--repeat" => options.repeat = number(&value()?)?,
                "--labs" => options.labs = number(&value()?)?.clamp(1, 3),
                "--multicast" => {
                    options.multicast = Duration::from_secs(number(&value()?)? as u64);
                }
                "--markdown" => options.markdown = Some(value()?.into()),
                flag if flag.starts_with("--") => return Err(format!("there is no {flag}")),
                _ => options.words.push(arg),
            }
        }
        Ok(options)
    }

    /// Returns whether the table of this number, from 1, is wanted.
    pub(crate) fn want_table(&self, number: usize) -> bool {
        self.only.is_none_or(|only| only == number)
    }

    pub(crate) fn want(&self, title: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| title.contains(word.as_str()))
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

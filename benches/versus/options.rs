//! The command line.

use std::path::PathBuf;

use crate::workload::Workload;

pub(crate) struct Options {
    /// Only workloads whose name contains one of these; all if there is none.
    words: Vec<String>,
    pub(crate) rounds: usize,
    /// The length of one turn of one balancer.
    pub(crate) seconds: u64,
    /// True if every turn is kept as data.
    pub(crate) keep: bool,
    /// The file for the tables.
    pub(crate) markdown: Option<PathBuf>,
}

impl Options {
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { words: Vec::new(), rounds: 10, seconds: 2, keep: false, markdown: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                // Cargo adds this argument itself.
                "--bench" => {}
                "--quick" => (options.rounds, options.seconds) = (3, 1),
                "--rounds" => {
                    let value = value()?;
                    let rounds = value.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds = rounds.ok_or(format!("{value} is no number of rounds"))?;
                }
                "--keep" => options.keep = true,
                "--markdown" => options.markdown = Some(value()?.into()),
                flag if flag.starts_with("--") => return Err(format!("there is no {flag}")),
                _ => options.words.push(arg),
            }
        }
        Ok(options)
    }

    pub(crate) fn want(&self, workload: &Workload) -> bool {
        self.want_name(workload.name)
    }

    pub(crate) fn want_name(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

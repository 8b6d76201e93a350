//! Runs jobs, each in its own LAN. Some run side by side, because they wait more than they compute.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use crate::lab::{self, Lab};
use crate::rows::Row;

type Run = Box<dyn FnOnce(&Lab) -> Vec<Row> + Send>;

/// A scenario. It returns its rows.
pub(crate) struct Job {
    pub(crate) title: String,
    run: Run,
}

/// The rows of a job, or the reason why there are none.
pub(crate) type Done = Result<Vec<Row>, String>;

impl Job {
    pub(crate) fn new(title: &str, run: impl FnOnce(&Lab) -> Vec<Row> + Send + 'static) -> Self {
        Self { title: title.to_owned(), run: Box::new(run) }
    }

    /// Runs the job. If it fails, its panic becomes a line, and the others go on.
    fn run(self) -> Done {
        let Self { title, run } = self;
        let Some(lab) = Lab::slow(&title.replace(' ', "-")) else {
            return Err(format!("{title}: no network namespaces here"));
        };
        // The lab ends inside, so that it sees the panic and prints the programs' logs.
        let run = || {
            let lab = lab;
            run(&lab)
        };
        catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            let line = words.and_then(|words| words.lines().next()).unwrap_or("it panicked");
            format!("{title}: {line}")
        })
    }
}

/// Runs all jobs, `at_once` of them at a time. Returns the results in the order of the jobs.
pub(crate) fn run_all(jobs: Vec<Job>, at_once: usize, began: Instant) -> Vec<Done> {
    let count = jobs.len();
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let done = Mutex::new((0..count).map(|_| None).collect::<Vec<Option<Done>>>());
    let work = || {
        loop {
            let next = queue.lock().expect("no panic is held").next();
            let Some((number, job)) = next else { return };
            let title = job.title.clone();
            lab::say(&format!(
                "{:4} s: {} of {count}: {title}",
                began.elapsed().as_secs(),
                number + 1
            ));
            let result = job.run();
            done.lock().expect("no panic is held")[number] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(work);
        }
    });
    done.into_inner().expect("no panic is held").into_iter().flatten().collect()
}

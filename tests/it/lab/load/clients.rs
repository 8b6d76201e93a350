//! The program of the helper for a load: the clients themselves, and their counting.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::http::{self, Answer, Connection};
use super::super::{inside, lock, now_ms, pause};
use super::{Failure, Report, Spec, TIMEOUT};

/// The interval of interim reports.
const REPORT_EVERY: Duration = Duration::from_millis(50);

/// The failures that are reported in full. The report is written twenty times a second.
const FAILURES_MAX: usize = 200;

/// Runs one thread for each client until stdin ends.
pub(crate) fn run(spec: &Spec) {
    let report = Mutex::new(Report::default());
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..spec.clients {
            let (report, stopped) = (&report, &stopped);
            scope.spawn(move || client(number, spec, report, stopped));
        }
        scope.spawn(|| {
            while !stopped.load(Ordering::Relaxed) {
                inside::emit(&*lock(&report));
                let began = Instant::now();
                pause(REPORT_EVERY);
                let late = began.elapsed().saturating_sub(REPORT_EVERY).as_millis();
                let stall_ms = &mut lock(&report).stall_ms;
                *stall_ms = (*stall_ms).max(u64::try_from(late).unwrap_or(u64::MAX));
            }
        });
        inside::wait_for_end_of_stdin();
        stopped.store(true, Ordering::Relaxed);
    });
    inside::emit(&*lock(&report));
}

fn client(number: usize, spec: &Spec, report: &Mutex<Report>, stopped: &AtomicBool) {
    let (server, path) = http::split(&spec.url);
    let body = vec![b'x'; spec.body_bytes];
    let mut kept: Option<Connection> = None;
    for request in 0_u64.. {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        // All loads of a lab run in one PID namespace.
        let id = format!("{}-{number}-{request}", std::process::id());
        let headers = [(http::TEST_ID.to_owned(), id)];
        let began_ms = now_ms();
        let connection = kept.take().map_or_else(|| Connection::open(server, TIMEOUT), Ok);
        let outcome = connection.and_then(|mut connection| {
            let answer = connection.exchange(&spec.method, path, &headers, &body)?;
            kept = (answer.keep && !spec.anew).then_some(connection);
            Ok(answer)
        });
        let outcome = match &outcome {
            Ok(answer) => judge(spec, answer).map(|()| answer),
            Err(error) => Err(http::reason(error)),
        };
        lock(report).add(number, began_ms, outcome);
        pause(spec.pause);
    }
}

/// The fault of an answer, as a short key for a histogram. A balancer that fails says why.
fn judge(spec: &Spec, answer: &Answer) -> Result<(), String> {
    let status = answer.status;
    match answer.node() {
        Some(_) if status >= 500 => Err(format!("status {status} of a node")),
        Some(node) if spec.names && answer.body.trim_end() != node => Err("wrong body".to_owned()),
        _ if status < 500 => Ok(()),
        _ => {
            let line = answer.body.lines().next().unwrap_or_default();
            let says_why = line.starts_with(&status.to_string());
            Err(if says_why { line.to_owned() } else { format!("status {status}") })
        }
    }
}

impl Report {
    fn add(&mut self, client: usize, began_ms: u64, outcome: Result<&Answer, String>) {
        let waited_ms = now_ms().saturating_sub(began_ms);
        if waited_ms > self.worst_ms {
            (self.worst_ms, self.worst_began_ms) = (waited_ms, began_ms);
        }
        let reason = match outcome {
            Ok(answer) => {
                self.ok += 1;
                *self.waits_ms.entry(waited_ms).or_default() += 1;
                return self.count_node(answer.node().unwrap_or("nobody"));
            }
            Err(reason) => reason,
        };
        self.failed += 1;
        *self.reasons.entry(reason.clone()).or_default() += 1;
        *self.by_client.entry(client).or_default() += 1;
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(Failure { client, began_ms, waited_ms, reason });
        }
    }

    fn count_node(&mut self, node: &str) {
        let answers = self.nodes.entry(node.to_owned()).or_default();
        answers.count += 1;
        answers.last_ms = now_ms();
        if answers.count == 1 {
            answers.first_ms = answers.last_ms;
        }
    }
}

//! The corpus with real servers behind the balancer: what it passes on as one request is one to
//! them too, and as many answers come back. Slow tier; each server is a package of Debian.
//!
//! Every server writes down each request it has read. After each case a fence is asked for, through
//! the balancer and over whatever connection it has kept: what a case left behind on that
//! connection would be read before it, or with it.

use std::collections::VecDeque;
use std::time::Instant;

use picluster::cluster::config::Limits;

use crate::corpus::case::{self, Case};
use crate::corpus::{self, Manner, answers_head, reader, shown};
use crate::data_line::TestBalancer;
use crate::lab::{say, wait_until};
use server::Server;

mod server;

#[test]
#[ignore = "slow tier: a real server behind every case"]
fn nginx_reads_what_was_forwarded_and_no_request_more() {
    run_corpus(server::nginx);
}

#[test]
#[ignore = "slow tier: a real server behind every case"]
fn lighttpd_reads_what_was_forwarded_and_no_request_more() {
    run_corpus(server::lighttpd);
}

#[test]
#[ignore = "slow tier: a real server behind every case"]
fn apache_reads_what_was_forwarded_and_no_request_more() {
    run_corpus(server::apache);
}

#[test]
#[ignore = "slow tier: a real server behind every case"]
fn node_reads_what_was_forwarded_and_no_request_more() {
    run_corpus(server::node);
}

#[test]
#[ignore = "slow tier: a real server behind every case"]
fn gunicorn_reads_what_was_forwarded_and_no_request_more() {
    run_corpus(server::gunicorn);
}

#[test]
#[ignore = "slow tier: a real server behind every case"]
fn php_reads_what_was_forwarded_and_no_request_more() {
    run_corpus(server::php);
}

/// PHP's server sets aside what a length says before it comes, and ends when that is too much.
const PHP_DIES_OF: [&str; 3] =
    ["chunked/half-of-largest", "chunked/largest-size", "content-length/huge-and-short"];

fn run_corpus(start: fn() -> Option<Server>) {
    let Some(server) = start() else { return };
    let began = Instant::now();
    let lb = TestBalancer::to(server.addr, |setup| setup.limits = Limits::default());
    let mut bench = Bench { server, lb, fences: 0, read: 0, owed: VecDeque::new() };
    bench.fence().expect("the server answers");
    // Where the node's answer is the point, a real server has none to give.
    let mut cases = case::all();
    cases.retain(|case| case.node_answer.is_none());
    if bench.server.name == "php" {
        cases.retain(|case| !PHP_DIES_OF.contains(&&*case.name));
    }
    let (mut failures, mut forwarded, mut seen) = (Vec::new(), 0, 0);
    for case in &cases {
        match bench.run(case) {
            Ok(counts) => {
                forwarded += counts.0;
                seen += counts.1;
            }
            Err(wrong) => failures.push(format!("{}: {wrong}", case.name)),
        }
    }
    say(&format!(
        "real servers: {}: {} cases, {forwarded} requests forwarded, {seen} taken, {:?}",
        bench.server.name,
        cases.len(),
        began.elapsed()
    ));
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    // A server that refuses everything would pass too.
    assert!(seen * 10 >= forwarded * 7, "only {seen} of {forwarded} requests were taken");
}

/// How many cases later a request may still be noted.
const LATE_CASES_MAX: usize = 5;

/// What the node may read of a case: the requests that were forwarded, and the one that was begun.
fn begun(case: &Case) -> Result<Vec<String>, String> {
    let mut requests = corpus::requests(&case.arrives)?;
    if case.unfinished {
        requests.push(&case.sent[case.arrives.len()..]);
    }
    Ok(requests.iter().map(|request| first_words(&String::from_utf8_lossy(request))).collect())
}

/// The method and the beginning of the target, up to what some server writes in another way.
/// gunicorn writes all methods in capitals.
fn first_words(line: &str) -> String {
    let plain = line.split(['"', '\\', '\r']).next().unwrap_or_default();
    let (method, rest) = plain.split_once(' ').unwrap_or((plain, ""));
    let target = rest.split(' ').next().unwrap_or_default();
    format!("{} {target}", method.to_ascii_uppercase()).chars().take(100).collect()
}

struct Bench {
    server: Server,
    lb: TestBalancer,
    fences: usize,
    /// Requests read from the server's log so far.
    read: usize,
    /// The requests of the last few cases that were not in the log yet: a server that answers
    /// before it has read a body, or is left in the middle of one, notes that after the fence.
    owed: VecDeque<Vec<String>>,
}

impl Bench {
    /// How many requests were forwarded and how many of them the server has read.
    fn run(&mut self, case: &Case) -> Result<(usize, usize), String> {
        let forwarded = corpus::requests(&case.arrives)?.len();
        let exchange = corpus::exchange(&self.lb, case, Manner::AtOnce);
        // After this nothing more can be said of the server.
        let seen = self.fence().unwrap_or_else(|wrong| panic!("{}: {wrong}", case.name));
        self.owed.push_back(begun(case)?);
        self.owed.drain(..self.owed.len().saturating_sub(LATE_CASES_MAX));
        for line in &seen {
            // lighttpd leaves out the method or the target of what it refuses.
            let is_it = |due: &String| {
                due == line
                    || line.starts_with(' ')
                    || (line.ends_with(' ') && due.starts_with(&**line))
            };
            let due = self
                .owed
                .iter_mut()
                .rev()
                .find_map(|lines| lines.iter().position(is_it).map(|at| lines.remove(at)));
            if due.is_none() {
                return Err(format!("{line:?} was never sent: {seen:?}"));
            }
        }
        let (got, _) = exchange.map_err(|error| format!("the client waited in vain: {error}"))?;
        let answers = reader::answers(&got, answers_head(case));
        let answers = answers.map_err(|wrong| format!("{wrong} in {}", shown(&got)))?;
        let count = answers.iter().filter(|answer| answer.status >= 200).count();
        let expected = case.statuses.iter().filter(|status| **status >= 200).count();
        // An answer that comes before a long body has gone up ends the client's connection.
        let early = case.sent.len() > 16 * 1024 && answers.last().is_some_and(|last| last.close);
        if count != expected && !(early && count < expected) {
            return Err(format!("{count} answers instead of {expected}: {}", shown(&got)));
        }
        Ok((forwarded, seen.len().min(forwarded)))
    }

    /// Asks for something that no case asks for, waits until the server has it in its log, and
    /// gives the requests that came before it.
    fn fence(&mut self) -> Result<Vec<String>, String> {
        self.fences += 1;
        let target = format!("/fence-{}-", self.fences);
        let request = format!("GET {target} HTTP/1.1\r\nHost: fence\r\n\r\n");
        let fence = Case { sent: request.into_bytes(), ..Case::default() };
        let (got, _) = corpus::exchange(&self.lb, &fence, Manner::AtOnce)
            .map_err(|error| format!("the fence was not answered: {error}"))?;
        let answers = reader::answers(&got, |_| false)?;
        if !matches!(&answers[..], [answer] if matches!(answer.status, 200 | 404)) {
            return Err(format!("the fence was answered by {}", shown(&got)));
        }
        let mut requests = Vec::new();
        wait_until("the fence in the server's log", || {
            requests = self.server.requests();
            requests[self.read..].iter().any(|line| line.contains(&target))
        });
        let seen = requests.split_off(self.read);
        self.read += seen.len();
        Ok(seen
            .iter()
            .filter(|line| !line.contains(&target))
            .map(|line| first_words(line))
            .collect())
    }
}

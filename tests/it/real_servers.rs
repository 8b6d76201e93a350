//! The corpus with real servers behind the balancer: each request that the balancer passes on is
//! one request for them too, and the same number of answers comes back. This is of the slow tier;
//! each server is a package of Debian.
//!
//! Every server records each request that it has read. After each case the test requests a fence,
//! through the balancer and over whatever connection it has kept. The server would read the remains
//! of a case on that connection before the fence, or with it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use picluster::cluster::config::Limits;

use crate::corpus::case::{self, Case};
use crate::corpus::{self, Manner, answers_head, reader, shown};
use crate::data_line::{PATIENCE, TestBalancer};
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

/// The answer to a request through a balancer in front of this server.
fn ask(server: &Server, request: &str) -> String {
    let lb = TestBalancer::to(server.addr, |setup| setup.limits = Limits::default());
    let mut client = TcpStream::connect(lb.addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn nginx_as_it_is_installed_compresses_for_the_clients_of_a_balancer() {
    let Some(nginx) = server::nginx() else { return };
    let fields = "Host: pi\r\nAccept-Encoding: gzip\r\nConnection: close";
    for via in ["", "\r\nVia: 1.1 phone"] {
        let answer = ask(&nginx, &format!("GET / HTTP/1.1\r\n{fields}{via}\r\n\r\n"));
        assert!(answer.contains("\r\nContent-Encoding: gzip\r\n"), "{answer}");
    }
}

#[test]
fn strict_servers_take_a_request_that_came_without_a_host() {
    for start in [server::nginx, server::lighttpd, server::apache] {
        let Some(server) = start() else { continue };
        let answer = ask(&server, "GET / HTTP/1.0\r\n\r\n");
        assert!(!answer.starts_with("HTTP/1.1 400"), "{}: {answer}", server.name);
        assert!(answer.starts_with("HTTP/1.1 "), "{}: {answer}", server.name);
    }
}

/// PHP's server reserves memory for an announced length, and ends if that is too much.
const PHP_DIES_OF: [&str; 3] =
    ["chunked/half-of-largest", "chunked/largest-size", "content-length/huge-and-short"];

fn run_corpus(start: fn() -> Option<Server>) {
    let Some(server) = start() else { return };
    let began = Instant::now();
    let lb = TestBalancer::to(server.addr, |setup| setup.limits = Limits::default());
    let mut bench = Bench { server, lb, fences: 0, read: 0, owed: VecDeque::new() };
    bench.fence().expect("the server answers");
    // A real server cannot give the node's answer, where this is the subject.
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

/// The number of cases after which a request may still appear in the log.
const LATE_CASES_MAX: usize = 5;

/// The requests of a case that the node may read: those that were forwarded, and the one that was
/// begun.
fn begun(case: &Case) -> Result<Vec<String>, String> {
    let mut requests = corpus::requests(&case.arrives)?;
    if case.unfinished {
        requests.push(&case.sent[case.arrives.len()..]);
    }
    Ok(requests.iter().map(|request| first_words(&String::from_utf8_lossy(request))).collect())
}

/// The method and the beginning of the target, up to the part that some servers write differently.
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
    /// The number of requests read from the server's log so far.
    read: usize,
    /// The requests of the last few cases that were not in the log yet. A server that answers
    /// before it has read a body, or is left in the middle of one, records that after the fence.
    owed: VecDeque<Vec<String>>,
}

impl Bench {
    /// Returns how many requests were forwarded, and how many of them the server has read.
    fn run(&mut self, case: &Case) -> Result<(usize, usize), String> {
        let forwarded = corpus::requests(&case.arrives)?.len();
        let exchange = corpus::exchange(&self.lb, case, Manner::AtOnce);
        // After this the server's log shows nothing more.
        let seen = self.fence().unwrap_or_else(|wrong| panic!("{}: {wrong}", case.name));
        self.owed.push_back(begun(case)?);
        self.owed.drain(..self.owed.len().saturating_sub(LATE_CASES_MAX));
        for line in &seen {
            // lighttpd omits the method or the target of a refused request.
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
        // An answer that comes before the end of a long body ends the client's connection.
        let early = case.sent.len() > 16 * 1024 && answers.last().is_some_and(|last| last.close);
        if count != expected && !(early && count < expected) {
            return Err(format!("{count} answers instead of {expected}: {}", shown(&got)));
        }
        Ok((forwarded, seen.len().min(forwarded)))
    }

    /// Requests a target of no case and waits until the server has it in its log. Returns the
    /// requests before it.
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

//! The distribution of a balancer's clients over its workers, and the waits of few clients where it
//! is bad. `--binary` adds another build.
//!
//! The kernel knows which worker has a connection: a worker waits for its connections with its own
//! epoll, and `/proc` lists the members of each.

use std::collections::BTreeMap;

use crate::Effort;
use crate::asks::{Asks, Size};
use crate::client::{self, Clients, Does};
use crate::lab::{Balancer, Lab, Pi};
use crate::load::Load;
use crate::release;
use crate::spread::Spread;
use crate::table::{Table, failed};

const CLIENTS: [usize; 3] = [8, 64, 512];
const WORKERS: [usize; 2] = [2, 4];

const LISTEN: &str = "0A";
const ESTABLISHED: &str = "01";

/// A build of the balancer.
struct Build {
    name: &'static str,
    lb: Balancer,
}

/// The result for one build with this many clients.
#[derive(Default)]
struct Seen {
    fewest: Vec<f64>,
    most: Vec<f64>,
    loads: Vec<Load>,
}

pub(crate) fn run(effort: &Effort, lab: &Lab, table: &mut Table) {
    for name in ["ada", "bob", "eve"] {
        lab.pi(name).web().start();
    }
    for workers in WORKERS {
        let ours =
            Build { name: "", lb: start(&lab.pi(&format!("front{workers}")), workers, None) };
        let other = effort.binary.as_deref().map(|binary| Build {
            name: "other binary, ",
            lb: start(&lab.pi(&format!("other{workers}")), workers, Some(binary)),
        });
        let builds: Vec<_> = std::iter::once(ours).chain(other).collect();
        builds.iter().for_each(|build| drop(build.lb.wait_for_nodes(3)));
        for clients in CLIENTS {
            compare(effort, &lab.client(), &builds, workers, clients, table);
        }
        // Idle balancers would check nodes while the next build is measured.
        builds.iter().for_each(|build| build.lb.kill9());
    }
}

fn start(pi: &Pi, workers: usize, binary: Option<&str>) -> Balancer {
    let lb = pi.lb().args(&["--workers", &workers.to_string()]);
    match binary {
        Some(binary) => lb.after(&release::instead(binary)).start(),
        None => lb.start(),
    }
}

/// Measures the builds in turns, each time with its own connections.
fn compare(
    effort: &Effort,
    phone: &Pi,
    builds: &[Build],
    workers: usize,
    clients: usize,
    table: &mut Table,
) {
    let all = |build: &Build, does| Clients {
        server: build.lb.endpoint().to_string(),
        asks: Asks::Get(Size::Bytes13),
        clients,
        does,
    };
    let ask = |build, does| client::met(&all(build, does).start(phone));
    let reached = builds.iter().map(|build| ask(build, Does::AskOn(1)).per_second);
    let rate = reached.fold(f64::INFINITY, f64::min) / 2.0;
    let mut seen: Vec<Seen> = builds.iter().map(|_| Seen::default()).collect();
    for _ in 0..effort.of(10, 2) {
        for (build, seen) in builds.iter().zip(&mut seen) {
            let silent = all(build, Does::Stay).stay(phone);
            let counts = connections(&build.lb);
            silent.kill9();
            assert_eq!(counts.len(), workers, "{counts:?}");
            assert_eq!(counts.iter().sum::<usize>(), clients, "{counts:?}");
            seen.fewest.extend(counts.iter().min().map(|count| *count as f64));
            seen.most.extend(counts.iter().max().map(|count| *count as f64));
            seen.loads.push(ask(build, Does::AskAtRate(1, rate)));
        }
    }
    for (build, seen) in builds.iter().zip(seen) {
        seen.tell(&format!("{}{workers} workers, {clients} clients", build.name), rate, table);
    }
}

impl Seen {
    fn tell(self, what: &str, rate: f64, table: &mut Table) {
        let answers: u64 = self.loads.iter().map(|load| load.answers).sum();
        let errors: u64 = self.loads.iter().flat_map(|load| load.errors.values()).sum();
        let waits = Spread::of(self.loads.iter().map(|load| load.p99_ms));
        let (fewest, most) =
            (Spread::of(self.fewest).show("", 0), Spread::of(self.most).show("", 0));
        table.row(what, "", format!("{fewest}, {most}"), String::new());
        let figure = format!("  p99 at {rate:.0}/s");
        table.row(&figure, "", waits.show(" ms", 2), failed(errors, answers + errors));
    }
}

/// The number of clients' connections for each worker.
fn connections(lb: &Balancer) -> Vec<usize> {
    let states = states(&lb.proc("net/tcp*"), lb.endpoint().port());
    // A connection to a node may end meanwhile; that does not matter.
    let all = lb.proc("fdinfo/* || true");
    let of_file = |file: &str| {
        let inodes = file.lines().filter(|line| line.starts_with("tfd:")).filter_map(inode);
        let ours: Vec<_> = inodes.filter_map(|inode| states.get_key_value(&inode)).collect();
        // An epoll with a listener belongs to a worker; the others have no clients.
        let (listener, _) = ours.iter().find(|(_, state)| *state == LISTEN)?;
        Some((*listener, ours.iter().filter(|(_, state)| *state == ESTABLISHED).count()))
    };
    // A worker has its epoll open more than once, but its listener for itself.
    let by_listener: BTreeMap<_, _> = all.split("pos:\t").filter_map(of_file).collect();
    by_listener.into_values().collect()
}

/// The states of all sockets at a port, by inode: `proc_pid_net(5)`.
fn states(tables: &str, port: u16) -> BTreeMap<u64, String> {
    let at = format!(":{port:04X}");
    let of_line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        local.ends_with(&at).then_some((inode.parse().ok()?, (*state).to_owned()))
    };
    tables.lines().filter_map(of_line).collect()
}

/// The members of an epoll: `proc_pid_fdinfo(5)`.
fn inode(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("ino:")?;
    u64::from_str_radix(rest.split_whitespace().next()?, 16).ok()
}

//! A LAN on one machine: each Pi is a network namespace on one bridge, with real programs in it.
//!
//! A scenario reads as a sentence: `lab.pi("ada").web().start()`. A new scenario is a test in the
//! file of its theme. It begins with `let Some(lab) = Lab::new("word") else { return };`, waits for
//! events (`lb.wait_for_nodes(3)`, `load.wait_until(..)`) and prints its measurements with
//! [`Lab::figure`]. A failing test prints the end of every program's log.
//!
//! The lab works for root and for an ordinary user, because each lab has a user namespace. It needs
//! only iproute2, `hostname` and util-linux. Where namespaces are forbidden, [`Lab::new`] prints
//! one visible line and the test ends. With `CI` set the test fails instead, so that a pipeline
//! cannot pass by testing nothing.
//!
//! Nothing stays behind, even when the test process is killed: all programs live in one PID
//! namespace, and its first process is a shell that reads our commands from a pipe. When the pipe
//! closes, the shell ends, and the kernel ends the rest. The lab writes no file outside its own
//! `/run`.

mod avahi;
mod cluster;
mod courier;
mod fickle;
mod http;
mod inside;
mod load;
mod mdns;
mod pi;
mod process;
mod recorder;
mod shell;
mod tunnels;
mod turns;

use std::fmt::Display;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) use cluster::{Balancer, Node};
pub(crate) use fickle::{DEATH_PATH, Fickle, Mood};
pub(crate) use http::Answer;
pub(crate) use inside::{Manner, Program, command};
pub(crate) use load::{Failure, Load, Report};
pub(crate) use mdns::{Advert, goodbye};
pub(crate) use pi::{Dials, Pi};
pub(crate) use process::{Pipes, Process};
pub(crate) use recorder::{Arrival, Recorder};
pub(crate) use shell::{PATH, Shell, is_installed};
pub(crate) use tunnels::Tunnels;
pub(crate) use turns::{Need, Turn};

use courier::Courier;

/// The longest wait of a scenario for an event that must come; after it the scenario fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The log line of a program that had to give up its own name on the network.
pub(crate) const RENAMED: &str = "another machine answers for our mdns name";

/// One LAN, `10.77.0.0/24`, with its Pis and their programs. Dropping it ends all of them.
pub(crate) struct Lab {
    site: Arc<Site>,
    /// Held until all programs are gone, because the next lab waits for it.
    _turn: Turn,
}

/// The state that a lab's Pis and programs share. It owns neither, so there is no circle of
/// references.
pub(crate) struct Site {
    name: String,
    began: Instant,
    shell: Shell,
    pis: Mutex<Vec<Arc<pi::State>>>,
    processes: Mutex<Vec<Arc<process::State>>>,
    courier: OnceLock<Courier>,
}

impl Lab {
    /// Opens a new LAN for a scenario that mostly waits; `None` where the machine allows no LAN.
    pub(crate) fn new(name: &str) -> Option<Self> {
        Self::open(name, Need::Little)
    }

    /// Opens a new LAN for a scenario with a few clients that ask all the time.
    pub(crate) fn under_load(name: &str) -> Option<Self> {
        Self::open(name, Need::HalfACore)
    }

    /// Opens a new LAN for a scenario with a crowd of clients or of nodes.
    pub(crate) fn busy(name: &str) -> Option<Self> {
        Self::open(name, Need::Core)
    }

    /// Opens a new LAN for a scenario that takes minutes and mostly waits.
    pub(crate) fn slow(name: &str) -> Option<Self> {
        Self::open(name, Need::Minutes)
    }

    fn open(name: &str, need: Need) -> Option<Self> {
        let turn = Turn::wait(need);
        let shell = match Shell::open() {
            Ok(shell) => shell,
            Err(why) => {
                unavailable(&format!("lab {name}: NOT RUN, no network namespaces here: {why}"));
                return None;
            }
        };
        let site = Site {
            name: name.to_owned(),
            began: Instant::now(),
            shell,
            pis: Mutex::default(),
            processes: Mutex::default(),
            courier: OnceLock::new(),
        };
        Some(Self { site: Arc::new(site), _turn: turn })
    }

    /// The Pi of this name, plugged in and with an address. The same name returns the same Pi.
    pub(crate) fn pi(&self, name: &str) -> Pi {
        self.site.pi(name)
    }

    /// The machine on the LAN that the clients use. No picluster runs on it.
    pub(crate) fn client(&self) -> Pi {
        self.site.client()
    }

    /// Starts a balancer with its default settings on the Pi `front`.
    pub(crate) fn lb(&self) -> Balancer {
        self.pi("front").lb().start()
    }

    /// Starts clients on the client's machine. Each GETs from the balancer over a kept connection.
    pub(crate) fn load(&self, lb: &Balancer, clients: usize) -> Load {
        self.client().load(&lb.url()).clients(clients).start()
    }

    /// Sends one request from the client's machine over a connection of its own.
    pub(crate) fn get(&self, url: &str) -> Result<Answer, String> {
        self.site.get(url, &[])
    }

    /// Sends one request with these headers.
    pub(crate) fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        self.site.get(url, headers)
    }

    /// Returns whether a tool is installed. If not, this prints a line; with `CI` set it is a failure.
    pub(crate) fn has(&self, tool: &str) -> bool {
        let has = is_installed(tool);
        if !has {
            let name = &self.site.name;
            unavailable(&format!("lab {name}: NOT CHECKED in full, {tool} is not installed"));
        }
        has
    }

    /// Returns whether all these tools are installed; see [`Lab::has`].
    pub(crate) fn has_all(&self, tools: &[&str]) -> bool {
        tools.iter().all(|tool| self.has(tool))
    }

    /// Drops this percentage of all mDNS packets at the bridge, each copy separately. Needs `nft`.
    pub(crate) fn lose_mdns(&self, percent: u32) {
        self.filter(&[&format!("udp dport 5353 numgen random mod 100 < {percent} drop")]);
    }

    /// Drops every mDNS packet at the bridge, multicast and unicast. Needs `nft`.
    pub(crate) fn kill_mdns(&self) {
        self.filter(&["udp dport 5353 drop"]);
    }

    /// Removes all packet filters at the bridge.
    pub(crate) fn lose_nothing(&self) {
        self.filter(&[]);
    }

    /// Drops every multicast packet at the bridge, as many a Wi-Fi does; unicast passes. Needs
    /// `nft`.
    pub(crate) fn kill_multicast(&self) {
        self.filter(&["ip daddr 224.0.0.0/4 drop", "ip6 daddr ff02::fb drop"]);
    }

    fn filter(&self, rules: &[&str]) {
        let mut script = "nft add table bridge lab
            nft add chain bridge lab forward '{ type filter hook forward priority 0; }'
            nft flush chain bridge lab forward\n"
            .to_owned();
        for rule in rules {
            // Quoted, because `<` belongs to nft and not to the shell.
            script += &format!("nft add rule bridge lab forward '{rule}'\n");
        }
        self.site.shell.run(&script);
    }

    /// The PID of the process whose end ends the lab.
    pub(crate) fn holder(&self) -> u32 {
        self.site.shell.holder()
    }

    /// Prints a measured figure beside its bar; also a passing run shows the line.
    pub(crate) fn figure(&self, what: &str, value: impl Display, bar: &str) {
        say(&format!("lab {}: {what} {value} (bar: {bar})", self.site.name));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in lock(&self.site.processes).iter() {
                process.print_tail(self.site.began);
            }
        }
        self.site.shell.close();
        if !std::thread::panicking() {
            let panics: Vec<_> =
                lock(&self.site.processes).iter().filter_map(|process| process.panic()).collect();
            assert!(panics.is_empty(), "a program panicked: {panics:#?}");
        }
    }
}

impl Site {
    pub(crate) fn pi(self: &Arc<Self>, name: &str) -> Pi {
        Pi::find_or_add(self, name, None)
    }

    pub(crate) fn client(self: &Arc<Self>) -> Pi {
        Pi::find_or_add(self, "phone", Some(200))
    }

    pub(crate) fn get(
        self: &Arc<Self>,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, String> {
        self.courier.get_or_init(|| Courier::start(&self.client())).get(url, headers)
    }
}

/// Locks a mutex. A failed scenario must not fail the others through a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the program of the lab that this process was started as, and returns `false` if it was
/// started as none. A binary that uses the lab calls this first; a binary with a test harness calls
/// it from a test.
pub(crate) fn run_program() -> bool {
    inside::run_if_asked()
}

/// Prints that something cannot be checked here; with `CI` set that is a failure.
pub(crate) fn unavailable(line: &str) {
    assert!(std::env::var_os("CI").is_none(), "{line}; in CI that is a failure");
    say(line);
}

/// Prints one line that `cargo test` shows even if the test passes. It bypasses the capture, which
/// holds back only the print macros.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Sleeps: between two looks at something that sends no event (an HTTP API), or where a span of
/// time is itself the subject of a scenario. Every other wait is for an event.
#[expect(clippy::disallowed_methods, reason = "a thread of a test, not a worker")]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Waits until a condition holds that sends no event.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        pause(Duration::from_millis(25));
    }
}

/// Milliseconds on the clock that all namespaces share.
pub(crate) fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

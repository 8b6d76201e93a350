//! The messages to systemd, received by a socket in its place.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use picluster::cli;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::PATIENCE;

/// A program that was started as a service, and the socket that receives its messages.
struct Service {
    program: Child,
    manager: UnixDatagram,
}

impl Service {
    /// Starts a service. Its watchdog would end it after two silent seconds.
    fn start(args: &[&str]) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("picluster-test-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let program = Command::new("sh")
            .args(["-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh", env!("CARGO_BIN_EXE_picluster")])
            .args([args[0], "--loopback", "--drain", "1s"])
            .args(&args[1..])
            .env("NOTIFY_SOCKET", format!("@{name}"))
            .env("WATCHDOG_USEC", "2000000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { program, manager }
    }

    /// The next message, if one comes within this time.
    fn hears(&self, within: Duration) -> Option<String> {
        let mut word = [0; 512];
        self.manager.set_read_timeout(Some(within)).unwrap();
        let length = self.manager.recv(&mut word).ok()?;
        Some(String::from_utf8(word[..length].to_vec()).unwrap())
    }

    /// Waits for a message that begins like this.
    #[track_caller]
    fn hears_of(&self, beginning: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left =
                until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let word = self.hears(left).unwrap_or_else(|| panic!("no word {beginning}"));
            if word.starts_with(beginning) {
                return word;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.program.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Checks the messages from READY to the end, with a hang in between.
    fn lives(mut self, status: [&str; 2]) {
        assert_eq!(self.hears(PATIENCE).as_deref(), Some("READY=1"));
        let told = self.hears_of("STATUS=");
        assert!(told.starts_with(status[0]) && told.ends_with(status[1]), "{told}");
        self.hears_of("WATCHDOG=1");
        self.signal(Signal::STOP);
        // The messages that were under way.
        let began = Instant::now();
        while self.hears(Duration::from_millis(700)).is_some() {
            assert!(began.elapsed() < PATIENCE, "a stopped program goes on to speak");
        }
        // The watchdog's time. A stopped program cannot speak, however busy the machine is.
        assert_eq!(self.hears(Duration::from_secs(2)), None, "a hung program feeds no watchdog");
        self.signal(Signal::CONT);
        self.hears_of("WATCHDOG=1");
        self.signal(Signal::TERM);
        self.hears_of("STOPPING=1");
        assert!(self.program.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn a_node_tells_systemd_that_it_serves_how_it_is_and_that_it_stops() {
    Service::start(&["web", "--listen", "127.0.0.1:0", "--name", "ada"])
        .lives(["STATUS=serving as ada on :", "; 0 requests"]);
}

#[test]
fn a_command_is_waited_for_until_it_answers_and_its_start_is_no_failure() {
    let script = "sleep 3; exec python3 -m http.server $PORT";
    let service = Service::start(&[
        "web",
        "--listen",
        "127.0.0.1:0",
        "--name",
        "ada",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let mut extended = 0;
    let mut not_yet = false;
    let began = Instant::now();
    let ready = loop {
        assert!(began.elapsed() < 2 * PATIENCE, "no READY within {:?}", 2 * PATIENCE);
        let word = service.hears(PATIENCE).expect("READY in the end");
        extended += u32::from(word.starts_with("EXTEND_TIMEOUT_USEC="));
        not_yet |= word.starts_with("STATUS=not serving as ada: ");
        if word == "READY=1" {
            break word;
        }
    };
    assert!(extended >= 2 && not_yet, "{ready}: {extended}");
    let told = service.hears_of("STATUS=serving the application");
    assert!(told.contains(" as ada; asked on :"), "{told}");
    service.signal(Signal::TERM);
    service.hears_of("STOPPING=1");
}

#[test]
fn a_command_that_ends_at_once_keeps_nobody_waiting_for_the_service() {
    let args = ["web", "--listen", "127.0.0.1:0", "--name", "ada", "--", "sh", "-c", "exit 3"];
    let service = Service::start(&args);
    service.hears_of("READY=1");
    let told = service.hears_of("STATUS=not serving as ada: exited with code 3");
    assert!(told.contains("next start in"), "{told}");
}

#[test]
fn a_balancer_tells_systemd_that_it_serves_how_it_is_and_that_it_stops() {
    let cluster = format!("nobody-{}", std::process::id());
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let args = ["lb", "--no-claim-name", "--cluster", cluster.as_str()];
    Service::start(&[&args[..], &ports].concat()).lives(["STATUS=0 nodes up", "; 0 req/s"]);
}

/// A unit names its role itself.
const NOT_IN_THE_FILE: [&str; 1] = ["PICLUSTER_ROLE"];

#[test]
fn the_file_that_services_read_has_every_variable_and_the_defaults() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/picluster.default");
    let file = std::fs::read_to_string(file).unwrap();
    assert!(file.lines().all(|line| line.is_empty() || line.starts_with('#')));
    let lines = file.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let variables: BTreeMap<_, _> = lines.filter(|(name, _)| !name.contains(' ')).collect();
    let asked = RefCell::new(BTreeSet::new());
    for role in ["web", "lb"] {
        let parse = |set: &dyn Fn(&str) -> Option<OsString>| {
            let note = |name: &str| {
                asked.borrow_mut().insert(name.to_owned());
                set(name)
            };
            format!("{:?}", cli::parse(["picluster".into(), role.into()], &note))
        };
        let plain = parse(&|_| None);
        assert!(plain.starts_with("Ok"), "{plain}");
        assert_eq!(parse(&|name| variables.get(name).map(OsString::from)), plain);
    }
    let asked = asked.into_inner();
    let asked = asked.iter().map(String::as_str).filter(|name| !NOT_IN_THE_FILE.contains(name));
    assert_eq!(asked.collect::<Vec<_>>(), variables.into_keys().collect::<Vec<_>>());
}

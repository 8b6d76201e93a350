//! A program on a Pi: its signals, its log, its end.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::{PATIENCE, Pi, lock, now_ms};

/// The newest lines of a program's log that are kept.
const LOG_LINES_MAX: usize = 20_000;

/// The last lines of each program's log that a failing scenario prints.
const TAIL_LINES: usize = 40;

/// A running program; clones are the same program. It runs until the lab ends, whether this is kept
/// or not.
#[derive(Clone)]
pub(crate) struct Process {
    pi: Pi,
    spec: Arc<Spec>,
    state: Arc<State>,
}

/// The command line, kept so that the program can be started again.
#[derive(Clone, Default)]
pub(super) struct Spec {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// The port it serves, or 0.
    pub(super) port: u16,
}

/// The end of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The exit code, or 128 and the signal.
    pub(crate) code: i32,
    /// The time of the end.
    pub(crate) at: Instant,
}

/// The knowledge of one run. The threads that read its output and wait for its end write it.
pub(super) struct State {
    title: String,
    seen: Mutex<Seen>,
    changed: Condvar,
    started_ms: u64,
}

#[derive(Default)]
struct Seen {
    pid: Option<u32>,
    log: VecDeque<(Instant, String)>,
    exit: Option<Exit>,
}

/// The two pipes of a helper. It ends when the first is dropped, and answers in lines on the
/// second.
pub(crate) type Pipes = (ChildStdin, mpsc::Receiver<String>);

impl Process {
    /// Starts a program and waits for nothing.
    pub(super) fn start(pi: &Pi, spec: Spec) -> Self {
        Self::spawn(pi, Arc::new(spec), false).0
    }

    /// Starts a program that takes orders.
    pub(super) fn start_piped(pi: &Pi, spec: Spec) -> (Self, Pipes) {
        let (process, pipes) = Self::spawn(pi, Arc::new(spec), true);
        (process, pipes.expect("asked for"))
    }

    fn spawn(pi: &Pi, spec: Arc<Spec>, piped: bool) -> (Self, Option<Pipes>) {
        let state = Arc::new(State {
            title: format!("{}: {}", pi.name(), title_of(&spec)),
            seen: Mutex::default(),
            changed: Condvar::new(),
            started_ms: now_ms(),
        });
        let mut child = pi
            .command(&spec.argv)
            .envs(spec.env.iter().map(|(key, value)| (key, value)))
            .stdin(if piped { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsenter runs, it is beside unshare");
        let (sender, lines) = mpsc::channel();
        let pipes = child.stdin.take().map(|stdin| (stdin, lines));
        let readers = [
            state.follow(child.stderr.take().expect("piped"), None),
            state.follow(child.stdout.take().expect("piped"), piped.then_some(sender)),
        ];
        let waiting = Arc::clone(&state);
        std::thread::spawn(move || {
            let code = child.wait().ok().and_then(|status| status.code()).unwrap_or(-1);
            let exit = Exit { code, at: Instant::now() };
            // Its last words are in the log before its end is reported.
            let _ = readers.map(std::thread::JoinHandle::join);
            lock(&waiting.seen).exit = Some(exit);
            waiting.changed.notify_all();
        });
        pi.remember(&state);
        (Self { pi: pi.clone(), spec, state }, pipes)
    }

    /// The Pi it runs on.
    pub(crate) fn pi(&self) -> &Pi {
        &self.pi
    }

    /// Its present endpoint: the Pi's present address and its port.
    pub(crate) fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.pi.ip(), self.spec.port)
    }

    /// Its start time, on the clock of load reports.
    pub(crate) fn started_ms(&self) -> u64 {
        self.state.started_ms
    }

    /// Kills it with SIGKILL, as a power cut does; it is gone when this returns.
    pub(crate) fn kill9(&self) {
        self.signal("KILL");
        self.wait_exit(PATIENCE);
    }

    /// Asks it to end and waits for the end. Returns also how long that took.
    pub(crate) fn sigterm(&self) -> (Exit, Duration) {
        let asked = Instant::now();
        self.signal("TERM");
        let exit = self.wait_exit(Duration::from_secs(60));
        (exit, exit.at.saturating_duration_since(asked))
    }

    /// Sends SIGSTOP: it keeps its connections and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Ends [`Process::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// Starts the same program again after its end.
    pub(crate) fn restart(&self) -> Self {
        self.wait_exit(PATIENCE);
        Self::spawn(&self.pi, Arc::clone(&self.spec), false).0
    }

    /// Sends it a signal: `HUP`, `INT` and so on.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.wait_for("its PID", PATIENCE, |seen| seen.pid);
        self.pi.site().shell.run(&format!("kill -{name} {pid}"));
    }

    /// Waits for its end.
    pub(crate) fn wait_exit(&self, within: Duration) -> Exit {
        self.wait_for("its end", within, |seen| seen.exit)
    }

    /// Returns whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        lock(&self.state.seen).exit.is_none()
    }

    /// The number of lines of its log that contain a text.
    pub(crate) fn log_lines_with(&self, text: &str) -> usize {
        lock(&self.state.seen).log.iter().filter(|(_, line)| line.contains(text)).count()
    }

    /// The CPU time that it has used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // The fields after the command's name in parentheses: utime and stime are the 12th and
        // 13th.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let times = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux.
        Duration::from_millis(ticks * 10)
    }

    /// A file of its `/proc` directory, or several by a glob.
    pub(crate) fn proc(&self, file: &str) -> String {
        let pid = self.wait_for("its PID", PATIENCE, |seen| seen.pid);
        self.pi.site().shell.run(&format!("cat /proc/{pid}/{file}"))
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.unwrap_or_else(|| panic!("no VmRSS of {}", self.state.title))
    }

    /// All its output. Waits for its end.
    pub(crate) fn output(&self) -> String {
        self.wait_exit(PATIENCE);
        let seen = lock(&self.state.seen);
        seen.log.iter().fold(String::new(), |text, (_, line)| text + line + "\n")
    }

    /// Waits for a line of its log with this text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        self.wait_for_log_within(text, PATIENCE);
    }

    /// Waits for a line of its log that must come within a time.
    pub(crate) fn wait_for_log_within(&self, text: &str, within: Duration) {
        self.wait_for(text, within, |seen| {
            seen.log.iter().any(|(_, line)| line.contains(text)).then_some(())
        });
    }

    fn wait_for<T>(
        &self,
        what: &str,
        within: Duration,
        mut find: impl FnMut(&Seen) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + within;
        let mut seen = lock(&self.state.seen);
        loop {
            if let Some(found) = find(&seen) {
                return found;
            }
            if let Some(exit) = seen.exit {
                panic!("{} ended with {} before it showed {what}", self.state.title, exit.code);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} did not show {what} in {within:?}", self.state.title);
            let waited = self.state.changed.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// Reads one of the two outputs until its end, into the log or into a channel.
    fn follow(
        self: &Arc<Self>,
        output: impl Read + Send + 'static,
        to: Option<mpsc::Sender<String>>,
    ) -> std::thread::JoinHandle<()> {
        let state = Arc::clone(self);
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                state.take(String::from_utf8_lossy(&line).trim_end(), to.as_ref());
                line.clear();
            }
        })
    }

    fn take(&self, line: &str, to: Option<&mpsc::Sender<String>>) {
        if let Some(to) = to {
            // A receiver that is gone has all that it wanted.
            let _ = line.strip_prefix("@lab ").map(|line| to.send(line.to_owned()));
            return;
        }
        let mut seen = lock(&self.seen);
        if let Some(pid) = line.strip_prefix("@lab pid ") {
            seen.pid = pid.parse().ok();
        } else {
            if seen.log.len() == LOG_LINES_MAX {
                seen.log.pop_front();
            }
            seen.log.push_back((Instant::now(), line.to_owned()));
        }
        self.changed.notify_all();
    }

    /// The first log line of a panic; our programs log it with this word.
    pub(super) fn panic(&self) -> Option<String> {
        let seen = lock(&self.seen);
        let line = seen.log.iter().find(|(_, line)| line.contains("panicked"));
        line.map(|(_, line)| format!("{}: {line}", self.title))
    }

    /// Prints the end of the log; `cargo test` shows it below the failure.
    #[expect(clippy::print_stderr, reason = "captured by the test it belongs to")]
    pub(super) fn print_tail(&self, began: Instant) {
        let seen = lock(&self.seen);
        let end = seen.exit.map_or("running".to_owned(), |exit| format!("exit {}", exit.code));
        eprintln!("---- {} ({end})", self.title);
        for (at, line) in seen.log.iter().skip(seen.log.len().saturating_sub(TAIL_LINES)) {
            eprintln!("{:8.3} {line}", at.saturating_duration_since(began).as_secs_f64());
        }
    }
}

fn title_of(spec: &Spec) -> String {
    let program = spec.argv[0].rsplit('/').next().unwrap_or_default();
    format!("{program} {}", spec.argv[1..].join(" "))
}

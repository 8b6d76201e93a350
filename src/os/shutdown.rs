//! The end of the process as a value: a request to stop that every part can wait for, and a second one
//! that means at once.
//!
//! Nothing here exits. `main` waits for [`Shutdown::aborted`] beside the program it runs and turns
//! it into an exit code.

use std::future::pending;
use std::time::Duration;
use std::{io, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

/// Signals closer together than this are one request. A terminal that closes sends SIGHUP twice
/// (the kernel and the shell), and Ctrl-C reaches a child both from the terminal and from its
/// parent; no person presses it twice this fast.
const ONE_REQUEST: Duration = Duration::from_millis(250);

/// The reader of standard input only waits, so it needs next to no stack.
const STDIN_STACK_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Requested,
    Aborted,
}

/// The side that asks for the end. Clones ask for the same end.
#[derive(Clone, Debug)]
pub struct Trigger(watch::Sender<Phase>);

/// The side that waits for the end. Cheap to clone; works across runtimes.
///
/// When every [`Trigger`] is gone without a request, no request can come any more and the futures here
/// stay pending.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Phase>);

/// The two sides, without any signal attached.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Trigger(sender), Shutdown(receiver))
}

impl Shutdown {
    /// Resolves once a stop was requested; at once if it was already.
    ///
    /// ## Cancel safety
    /// Keeps nothing between polls, so it may be dropped and called again.
    pub async fn requested(&mut self) {
        self.reached(Phase::Requested).await;
    }

    /// Resolves once the request was repeated: give up whatever still runs.
    ///
    /// ## Cancel safety
    /// As for [`Shutdown::requested`].
    pub async fn aborted(&mut self) {
        self.reached(Phase::Aborted).await;
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() >= Phase::Requested
    }

    async fn reached(&mut self, phase: Phase) {
        if self.0.wait_for(|now| *now >= phase).await.is_err() {
            pending::<()>().await;
        }
    }
}

impl Trigger {
    /// Asks for a graceful stop. Asking again changes nothing.
    pub fn request(&self) {
        self.raise(Phase::Requested);
    }

    /// Asks for the end at once.
    pub fn abort(&self) {
        self.raise(Phase::Aborted);
    }

    /// From now on SIGTERM, SIGINT and SIGHUP request the stop and a second one aborts.
    ///
    /// SIGHUP stays ignored where it was ignored from the start: `nohup` promises that.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn on_signals(&self) -> io::Result<()> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        tokio::spawn(self.clone().follow(terminate, interrupt, hangup));
        Ok(())
    }

    /// From now on the end of standard input requests the stop too. For a child that holds one end
    /// of a pipe and must not outlive its parent, whatever killed it.
    ///
    /// A thread of its own reads, because standard input may be a file, which epoll refuses, and
    /// because a read inside the runtime's pool would hold up the end of the runtime.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn on_stdin_eof(&self) -> io::Result<()> {
        let trigger = self.clone();
        thread::Builder::new().name("stdin".into()).stack_size(STDIN_STACK_BYTES).spawn(
            move || {
                // A read error is the end as well: the other side is gone.
                let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
                trigger.request();
            },
        )?;
        Ok(())
    }

    fn raise(&self, to: Phase) {
        self.0.send_if_modified(|now| {
            let raised = to > *now;
            *now = to.max(*now);
            raised
        });
    }

    async fn follow(
        self,
        mut terminate: Signal,
        mut interrupt: Signal,
        mut hangup: Option<Signal>,
    ) {
        let mut first: Option<Instant> = None;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = next(&mut hangup) => "SIGHUP",
            };
            match first {
                None => {
                    tracing::info!(signal = name, "stopping; a second signal ends at once");
                    first = Some(Instant::now());
                    self.request();
                }
                Some(first) if first.elapsed() < ONE_REQUEST => {}
                Some(_) => {
                    tracing::warn!(signal = name, "second signal, ending at once");
                    self.abort();
                }
            }
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => pending().await,
    }
}

fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, 1))
}

/// Whether `/proc/PID/status` reports the signal of this number as ignored. Bit n-1 is signal n.
fn ignores(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_wakes_every_clone_and_those_that_come_late() {
        let (trigger, mut first) = channel();
        let mut second = first.clone();
        assert!(!first.is_requested());
        trigger.request();
        first.requested().await;
        second.requested().await;
        assert!(second.is_requested());
        first.clone().requested().await;
    }

    #[tokio::test]
    async fn an_abort_is_a_request_too_and_stays() {
        let (trigger, mut shutdown) = channel();
        trigger.abort();
        trigger.request();
        shutdown.requested().await;
        shutdown.aborted().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_trigger_requests_nothing() {
        let (trigger, mut shutdown) = channel();
        drop(trigger);
        let waited = tokio::time::timeout(Duration::from_secs(3600), shutdown.requested()).await;
        assert!(waited.is_err());
        assert!(!shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_signal_requests_and_a_second_one_aborts() {
        use rustix::process::{Signal, getpid, kill_process};
        let (trigger, mut shutdown) = channel();
        trigger.on_signals().unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        shutdown.requested().await;
        tokio::time::sleep(2 * ONE_REQUEST).await;
        assert!(tokio::time::timeout(Duration::ZERO, shutdown.aborted()).await.is_err());
        kill_process(getpid(), Signal::INT).unwrap();
        shutdown.aborted().await;
    }

    #[test]
    fn an_ignored_hangup_is_read_from_the_status() {
        assert!(ignores("Name:\tx\nSigIgn:\t0000000000000001\n", 1));
        assert!(ignores("SigIgn:\t0000000000001003\n", 2));
        assert!(!ignores("SigIgn:\t0000000000001000\n", 1));
        assert!(!ignores("", 1));
    }
}

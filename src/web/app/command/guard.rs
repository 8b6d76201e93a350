//! The guard: this program in another role, `picluster __child COMMAND..`, between a node and its command.
//!
//! Orders come over its standard input. When that ends, the node is gone, killed perhaps, and the guard
//! kills all that the command has started. That needs neither a signal handler nor the kernel's word of
//! the parent's death, which a program would have to ask for between fork and exec.
//!
//! The command runs in a process group of its own, which gets the signals. Its descendants that leave the
//! group come to the guard when their parents end, because it is their subreaper (prctl(2)). What is not
//! covered: the guard itself being killed by SIGKILL.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io, thread};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group,
    set_child_subreaper, wait,
};

/// The hidden command.
pub(super) const COMMAND: &str = "__child";

/// The order to ask the command to end.
pub(super) const TERMINATE: u8 = b't';

/// Exit code: the command cannot be executed (as in a shell).
const NOT_EXECUTED: u8 = 127;

/// Between two looks at what is left of a command that has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// The thread that takes orders only waits.
const ORDERS_STACK_BYTES: usize = 64 * 1024;

/// Runs the command of this process's arguments to its end, and returns the exit code to end with. `None`
/// if this process was not started as a guard.
pub fn guard(mut args: impl Iterator<Item = OsString>) -> Option<u8> {
    args.next();
    if args.next()? != COMMAND {
        return None;
    }
    Some(run(args).unwrap_or_else(|error| {
        let _ =
            io::Write::write_all(&mut io::stderr(), format!("cannot be run: {error}\n").as_bytes());
        NOT_EXECUTED
    }))
}

fn run(mut argv: impl Iterator<Item = OsString>) -> io::Result<u8> {
    // Without it (an old kernel) only those who leave the group are missed.
    let _ = set_child_subreaper(Some(getpid()));
    let program = argv.next().unwrap_or_default();
    let child = Command::new(program).args(argv).stdin(Stdio::null()).process_group(0).spawn()?;
    let group = Pid::from_child(&child);
    // The node is gone, or wants no more of it.
    let over = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicBool::new(false));
    let (is_over, is_asked) = (Arc::clone(&over), Arc::clone(&asked));
    thread::Builder::new().stack_size(ORDERS_STACK_BYTES).spawn(move || {
        let mut order = [0];
        while matches!(io::stdin().read(&mut order), Ok(1)) {
            is_asked.store(true, Ordering::Relaxed);
            // An error means that it has ended.
            let _ = kill_process_group(group, Signal::TERM);
        }
        is_over.store(true, Ordering::Relaxed);
        let _ = kill_process_group(group, Signal::KILL);
    })?;
    let status = wait_for(group)?;
    if !asked.load(Ordering::Relaxed) {
        // It ended by itself. What it left behind may hold the port that it is started with again.
        over.store(true, Ordering::Relaxed);
    }
    sweep(group, &over);
    let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Waits for the end of the command; whoever else comes to us and ends is laid to rest.
fn wait_for(command: Pid) -> io::Result<WaitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => return Ok(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until nothing is left of the command, and kills what is once the node wants no more of it.
fn sweep(group: Pid, over: &AtomicBool) {
    loop {
        if over.load(Ordering::Relaxed) {
            let _ = kill_process_group(group, Signal::KILL);
            for child in children() {
                let _ = kill_process(child, Signal::KILL);
            }
        }
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => pause(),
            // There is none.
            Err(_) => return,
        }
    }
}

/// The children of this process.
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids = |list: String| {
        let pids = list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        pids.collect::<Vec<_>>()
    };
    lists.flat_map(pids).collect()
}

#[expect(clippy::disallowed_methods, reason = "a process without a runtime, which only waits")]
fn pause() {
    thread::sleep(PAUSE);
}

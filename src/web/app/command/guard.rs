//! The guard: this program in another role, `picluster __child COMMAND..`, between a node and its command.
//!
//! Orders come over its standard input. When that ends, the node is gone, perhaps killed, and the guard
//! kills all that the command has started. That needs neither a signal handler nor the kernel's report of
//! the parent's death, which a program would have to ask for between fork and exec.
//!
//! The command runs in a process group of its own, which gets the signals. Its descendants that leave the
//! group come to the guard when their parents end, because it is their subreaper (prctl(2)). One case is
//! not covered: the guard itself is killed by SIGKILL.

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

/// The hidden subcommand of this program.
pub(super) const COMMAND: &str = "__child";

/// The order to ask the command to end.
pub(super) const TERMINATE: u8 = b't';

/// The exit code if the command cannot be executed, as in a shell.
const NOT_EXECUTED: u8 = 127;

/// The pause between two looks for the processes that an ended command left behind.
const PAUSE: Duration = Duration::from_millis(10);

/// The stack of the thread that takes orders, which only waits.
const ORDERS_STACK_BYTES: usize = 64 * 1024;

/// Runs the command in the arguments of this process to its end, and returns the exit code for this process.
/// Returns `None` if this process was not started as a guard.
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
    // If it fails (an old kernel), only processes that leave the group are missed.
    let _ = set_child_subreaper(Some(getpid()));
    let program = argv.next().unwrap_or_default();
    let child = Command::new(program).args(argv).stdin(Stdio::null()).process_group(0).spawn()?;
    let group = Pid::from_child(&child);
    // The node is gone, or the command has ended by itself.
    let kill = Arc::new(AtomicBool::new(false));
    let asked_to_end = Arc::new(AtomicBool::new(false));
    let (gone, asked) = (Arc::clone(&kill), Arc::clone(&asked_to_end));
    thread::Builder::new().stack_size(ORDERS_STACK_BYTES).spawn(move || {
        let mut order = [0];
        while matches!(io::stdin().read(&mut order), Ok(1)) {
            asked.store(true, Ordering::Relaxed);
            // An error means that the command has ended.
            let _ = kill_process_group(group, Signal::TERM);
        }
        gone.store(true, Ordering::Relaxed);
        let _ = kill_process_group(group, Signal::KILL);
    })?;
    let status = wait_for(group)?;
    if !asked_to_end.load(Ordering::Relaxed) {
        // Processes that it left behind may hold the port with which it is started again.
        kill.store(true, Ordering::Relaxed);
    }
    reap_rest(group, &kill);
    let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Waits for the end of the command, and reaps the other processes that come to the guard and end.
fn wait_for(command: Pid) -> io::Result<WaitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => return Ok(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until no process of the command is left. From the moment `kill` is set it kills those that are.
fn reap_rest(group: Pid, kill: &AtomicBool) {
    loop {
        if kill.load(Ordering::Relaxed) {
            let _ = kill_process_group(group, Signal::KILL);
            for child in children() {
                let _ = kill_process(child, Signal::KILL);
            }
        }
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => pause(),
            // There is no child any more.
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

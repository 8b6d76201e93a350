//! The built binary as its user meets it: its exit codes, and its output on each stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use crate::lab::wait_until;

/// The binary without any `PICLUSTER_*` variable.
fn picluster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picluster"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PICLUSTER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary with these `PICLUSTER_*` variables only.
fn run(args: &[&str], vars: &[(&str, &str)]) -> Output {
    picluster().args(args).envs(vars.iter().copied()).output().expect("the binary starts")
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("stdout is UTF-8")
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("stderr is UTF-8")
}

#[test]
fn help_and_version_go_to_stdout_and_succeed() {
    for args in
        [&["--help"][..], &["-h"], &["web", "--help"], &["help", "lb"], &["--role", "lb", "-h"]]
    {
        let output = run(args, &[]);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(stdout(&output).contains("Usage: picluster"), "{args:?}");
        assert_eq!(stderr(&output), "", "{args:?}");
    }
    let output = run(&["--version"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), format!("picluster {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bad_flags_and_variables_exit_64_with_one_line_on_stderr() {
    for (args, vars, word) in [
        (&["web", "--lisen", "80"][..], &[][..], "--listen"),
        (&["web", "--listen", "here"], &[], "--listen"),
        (&["lb", "--workers", "0"], &[], "--workers"),
        (&["lb"], &[("PICLUSTER_LB_WORKERS", "0")], "PICLUSTER_LB_WORKERS"),
        (&["web"], &[("PICLUSTER_CLUSTER", "a b")], "PICLUSTER_CLUSTER"),
        (&["--role", "boss"], &[], "--role"),
        (&["bake"], &[], "bake"),
    ] {
        let output = run(args, vars);
        assert_eq!(output.status.code(), Some(64), "{args:?} {vars:?}");
        assert_eq!(stdout(&output), "", "{args:?} {vars:?}");
        assert!(stderr(&output).contains(word), "{args:?} {vars:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn a_bare_picluster_prints_the_commands_on_stderr_and_exits_64() {
    let output = run(&[], &[]);
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(stdout(&output), "");
    for command in ["picluster web", "picluster lb", "picluster demo"] {
        assert!(stderr(&output).contains(command), "{}", stderr(&output));
    }
}

#[test]
fn help_into_a_closed_pipe_is_no_failure() {
    let script = format!("'{}' lb --help | true; echo done", env!("CARGO_BIN_EXE_picluster"));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!((stdout(&output), stderr(&output)), ("done\n", ""));
}

#[test]
fn the_access_log_goes_to_stdout_and_its_last_line_comes_before_the_end() {
    let flags = ["lb", "--loopback", "--no-claim-name", "--exit-with-stdin", "--drain", "0s"];
    let mut balancer = picluster()
        .args(flags)
        .args(["--access-log", "text", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let log = BufReader::new(balancer.stderr.take().expect("it is piped"));
    let mut log = log.lines().map(|line| line.expect("the log is UTF-8"));
    let line = log.by_ref().find(|line| line.contains("balancing")).expect("it says where");
    let addr = line.split("listen=").nth(1).and_then(|rest| rest.split(' ').next());
    let mut client = TcpStream::connect(addr.expect("it says where")).expect("it listens");
    client.write_all(b"GET /.picluster/x HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    drop(balancer.stdin.take());
    // Output that nobody reads any more must not stop it.
    log.for_each(drop);
    let output = balancer.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<_> = stdout(&output).lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(" 127.0.0.1 \"GET /.picluster/x\" 404 "), "{lines:?}");
    assert!(lines[0].contains(" cause=private request_id=-"), "{lines:?}");
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_the_program_nor_its_end() {
    let (unread, mut pipe) = std::io::pipe().expect("there are files");
    // The capacity of a pipe, see pipe(7).
    pipe.write_all(&vec![b'x'; 64 * 1024]).expect("it has room");
    let mut node = picluster()
        .args(["web", "--loopback", "--exit-with-stdin", "--drain", "0s"])
        .args(["--listen", "127.0.0.1:0", "--log-level", "trace"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(pipe)
        .spawn()
        .expect("the binary starts");
    drop(node.stdin.take());
    wait_until("it ends", || node.try_wait().expect("it is ours").is_some());
    assert_eq!(node.wait().expect("it has ended").code(), Some(0));
    drop(unread);
}

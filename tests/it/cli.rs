//! The built binary as its user meets it: exit codes, and what goes to which stream.

use std::process::{Command, Output};

/// Runs the binary with no `PICLUSTER_*` variable but those given.
fn run(args: &[&str], vars: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picluster"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PICLUSTER_") {
            command.env_remove(name);
        }
    }
    command.args(args).envs(vars.iter().copied()).output().expect("the binary starts")
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
fn nothing_typed_tells_the_commands_on_stderr_and_exits_64() {
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

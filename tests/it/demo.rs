//! `picluster demo` as the README promises it: one command gives one URL, and the nodes answer in turn.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::wait_until;

/// A demo reports after 15 seconds that its nodes do not serve; it gives its URL or its reason by then.
const URL_MAX: Duration = Duration::from_secs(60);

/// A silent connection is a failure, not a test that hangs.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[test]
fn the_demo_gives_one_url_answers_in_turn_and_leaves_nothing_behind() {
    keeps_its_promise(Path::new(env!("CARGO_BIN_EXE_picluster")));
}

/// Runs the demo of this binary from its start to Ctrl-C.
pub(crate) fn keeps_its_promise(binary: &Path) {
    let mut demo = Demo::start(binary);
    let lines = demo.stdout_lines();
    let url = lines.recv_timeout(URL_MAX).expect("the first line is the URL");

    let mut shares = BTreeMap::new();
    for _ in 0..6 {
        *shares.entry(body_of(&url)).or_insert(0) += 1;
    }
    assert_eq!(shares.values().collect::<Vec<_>>(), [&2, &2, &2], "{shares:?}");

    let children = demo.children();
    assert_eq!(children.len(), 4, "a balancer and three nodes: {children:?}");
    kill_process(Pid::from_child(&demo.0), Signal::INT).expect("it runs");
    wait_until("the demo ends", || demo.0.try_wait().expect("it is ours").is_some());
    assert_eq!(demo.0.wait().expect("it has ended").code(), Some(0));
    for child in children {
        assert!(!Path::new("/proc").join(&child).exists(), "the child {child} outlives the demo");
    }
    assert_eq!(lines.iter().collect::<Vec<_>>(), [""; 0], "stdout has the URL alone");
}

/// A running demo. Ends when dropped, and with it its children.
struct Demo(Child);

impl Demo {
    fn start(binary: &Path) -> Self {
        let mut command = Command::new(binary);
        command.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the binary starts"))
    }

    fn stdout_lines(&mut self) -> mpsc::Receiver<String> {
        let stdout = BufReader::new(self.0.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        lines
    }

    /// The process ids of its children.
    fn children(&self) -> Vec<String> {
        let parent = format!("PPid:\t{}", self.0.id());
        let processes = fs::read_dir("/proc").expect("Linux has it").flatten();
        let is_child = |process: &fs::DirEntry| {
            // A process may end while it is looked at; most files here are no process.
            let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
            status.lines().any(|line| line == parent)
        };
        let name = |process: fs::DirEntry| process.file_name().to_string_lossy().into_owned();
        processes.filter(is_child).map(name).collect()
    }
}

impl Drop for Demo {
    #[expect(clippy::print_stderr, reason = "captured by the test it belongs to")]
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let mut log = String::new();
        if let Some(stderr) = &mut self.0.stderr
            && std::thread::panicking()
        {
            let _ = stderr.read_to_string(&mut log);
            eprintln!("---- picluster demo\n{log}");
        }
    }
}

/// The body of the answer to a GET over a connection of its own.
fn body_of(url: &str) -> String {
    let server = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
    let server = server.expect("it is a URL");
    let mut stream = TcpStream::connect(server).expect("the balancer listens");
    stream.set_read_timeout(Some(ANSWER_MAX)).expect("it is not zero");
    let request = format!("GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    body.to_owned()
}

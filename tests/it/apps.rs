//! Applications behind nodes: real ones, started by picluster or by somebody else, and how they come,
//! die and go.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use crate::lab::{Lab, PATIENCE, Pi, Process, wait_until};

/// An application that answers every path, and ends as a crash does when it is asked for `/die`.
struct Kind {
    tool: &'static str,
    file: &'static str,
    text: &'static str,
    /// `{file}` stands for the path of the file.
    command: &'static [&'static str],
}

const KINDS: [Kind; 4] = [
    Kind {
        tool: "node",
        file: "server.js",
        text: "require('http').createServer((request, response) => {
            if (request.url === '/die') process.exit(3);
            response.end('node');
        }).listen(process.env.PORT);",
        command: &["node", "{file}"],
    },
    Kind {
        tool: "python3",
        file: "server.py",
        text: "
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/die':
            os._exit(3)
        self.send_response(200)
        self.send_header('Content-Length', '6')
        self.end_headers()
        self.wfile.write(b'python')
    def log_message(self, *_):
        pass
ThreadingHTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
",
        command: &["python3", "{file}"],
    },
    Kind {
        tool: "ruby",
        file: "server.rb",
        text: "require 'socket'
            server = TCPServer.new('0.0.0.0', ENV['PORT'].to_i)
            loop do
                Thread.start(server.accept) do |client|
                    line = client.gets
                    exit!(3) if line&.include?('/die')
                    while (head = client.gets) && head != \"\\r\\n\"; end
                    client.write \"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\nruby\"
                    client.close
                end
            end",
        command: &["ruby", "{file}"],
    },
    Kind {
        tool: "php",
        file: "server.php",
        text: "<?php
            if ($_SERVER['REQUEST_URI'] === '/die') exec('kill -9 ' . getmypid());
            echo 'php';",
        command: &["sh", "-c", "exec php -q -S 0.0.0.0:$PORT {file}"],
    },
];

/// A folder of a test's own. Goes when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("picluster-{name}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn put(&self, file: &str, text: &str) -> String {
        let path = self.0.join(file);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks an application itself to die.
fn die(lab: &Lab, node: &Process) {
    let _ = lab.get(&format!("http://{}/die", node.endpoint()));
}

#[test]
fn real_applications_join_by_one_command_die_and_are_restarted_under_load_without_a_failed_get() {
    let Some(lab) = Lab::new("commands") else { return };
    let folder = Folder::new("commands");
    let lb = lab.pi("front").lb().start();
    let mut nodes = Vec::new();
    for kind in KINDS.iter().filter(|kind| lab.has(kind.tool)) {
        let file = folder.put(kind.file, kind.text);
        let command: Vec<_> =
            kind.command.iter().map(|word| word.replace("{file}", &file)).collect();
        let command: Vec<_> =
            ["--"].into_iter().chain(command.iter().map(String::as_str)).collect();
        let node = lab.pi(kind.tool).web().served_at(3000).args(&command).start();
        nodes.push((kind.tool, node));
    }
    lb.wait_for_nodes(nodes.len());
    let load = lab.client().load(&lb.url()).clients(4).start();
    load.wait_until("answers of all", |report| report.nodes.len() == nodes.len());
    for (tool, node) in &nodes {
        die(&lab, node);
        lb.wait_until_out(node, PATIENCE);
        let took = lb.wait_until_up(node, PATIENCE);
        lab.figure(
            &format!("{tool}: out to up, after it died"),
            format!("{took:?}"),
            "1 s and its start",
        );
        let name = lb.name_of(node);
        load.wait_for_new_answer_of(&name);
        let (exit, took) = node.sigterm();
        lab.figure(&format!("{tool}: SIGTERM to the end"), format!("{took:?}"), "7 s");
        assert_eq!(exit.code, 0, "{tool}");
        lb.wait_until_up(&node.restart(), PATIENCE);
        load.wait_for_new_answer_of(&name);
    }
    load.stop_with_no_failure();
}

#[test]
fn an_application_that_somebody_else_runs_is_out_while_it_is_down_and_the_balancer_says_why() {
    let Some(lab) = Lab::new("advertised") else { return };
    if !(lab.has("lighttpd") && lab.has("php-cgi")) {
        return;
    }
    let lb = lab.pi("front").lb().start();
    let folder = Folder::new("advertised");
    folder.put("index.php", "<?php echo gethostname();");
    let conf = format!(
        r#"server.document-root = "{dir}"
        server.port = 8000
        server.modules = ("mod_fastcgi")
        index-file.names = ("index.php")
        fastcgi.server = (".php" => ((
            "bin-path" => "/usr/bin/php-cgi", "socket" => "/run/php.socket", "max-procs" => 1,
            "bin-environment" => ("PHP_FCGI_CHILDREN" => "2"))))"#,
        dir = folder.0.display()
    );
    let conf = folder.put("lighttpd.conf", &conf);
    let pis: [Pi; 2] = ["ada", "bob"].map(|name| lab.pi(name).hostname(name));
    let serve = |pi: &Pi| pi.start(&["lighttpd", "-D", "-f", &conf]);
    let servers = pis.each_ref().map(serve);
    let nodes = pis.each_ref().map(|pi| pi.web().served_at(8000).args(&["--app", ":8000"]).start());
    lb.wait_for_nodes(2);
    assert!(["ada", "bob"].contains(&&*lab.get(&lb.url()).unwrap().body));

    let load = lab.client().load(&lb.url()).clients(4).start();
    // Its orphans live on, so that its end is not to be waited for.
    servers[0].signal("KILL");
    lb.wait_until_out(&nodes[0], PATIENCE);
    let health = format!("http://{}:8080/.picluster/health", pis[0].address());
    wait_until("the node to say why", || {
        let answer = lab.get(&health).expect("picluster answers");
        answer.status == 503 && answer.body.contains(r#""state":"app-down""#)
    });
    lb.wait_for("the reason at the balancer", PATIENCE, |nodes| {
        nodes.iter().any(|node| node.why.contains("connection refused on 127.0.0.1:8000"))
    });
    let _again = serve(&pis[0]);
    lb.wait_until_up(&nodes[0], PATIENCE);
    load.wait_for_new_answer_of(&lb.name_of(&nodes[0]));
    // Its end is picluster's alone.
    assert_eq!(nodes[1].sigterm().0.code, 0);
    assert!(servers[1].is_running());
    load.stop_with_no_failure();
}

#[test]
fn an_application_on_loopback_alone_is_not_served_and_told_what_to_do() {
    let Some(lab) = Lab::new("alone") else { return };
    if !lab.has("python3") {
        return;
    }
    let lb = lab.pi("front").lb().start();
    let ada = lab.pi("ada");
    ada.start(&["python3", "-m", "http.server", "--bind", "127.0.0.1", "3000"]);
    let node = ada.web().served_at(3000).args(&["--app", ":3000"]).start();
    lb.wait_for("the reason", PATIENCE, |nodes| {
        nodes.iter().any(|node| node.why.contains("add --front") && !node.is_up())
    });
    assert!(node.is_running());
}

#[test]
fn a_front_serves_what_listens_on_loopback_and_leaves_under_load_without_a_failed_get() {
    let Some(lab) = Lab::new("front") else { return };
    if !lab.has("node") {
        return;
    }
    let lb = lab.pi("front").lb().start();
    let script = "require('http').createServer((request, response) => {
        if (request.url === '/die') process.exit(3);
        setTimeout(() => response.end('node'), 20);
    }).listen(process.env.PORT, '127.0.0.1')";
    let nodes = ["ada", "bob"]
        .map(|name| lab.pi(name).web().args(&["--front", "--", "node", "-e", script]).start());
    lb.wait_for_nodes(2);
    let load = lab.client().load(&lb.url()).clients(4).start();
    load.wait_until("answers of both", |report| report.nodes.len() == 2);
    let name = lb.name_of(&nodes[0]);
    let (exit, _) = nodes[0].sigterm();
    assert_eq!(exit.code, 0);
    lb.wait_until_up(&nodes[0].restart(), PATIENCE);
    load.wait_for_new_answer_of(&name);
    load.stop_with_no_failure();
}

/// A node with a command, outside of any lab.
fn node(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_picluster"))
        .args(["web", "--loopback", "--listen", "127.0.0.1:0", "--drain", "1s", "--"])
        .args(args)
        .env("PICLUSTER_CLUSTER", format!("apps-{}", process::id()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn runs(words: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok()).any(|line| {
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.trim_end() == words
    })
}

#[test]
fn nothing_of_a_command_outlives_a_picluster_that_was_killed() {
    let span = |n: u32| format!("{}.{n}", 90_000 + process::id());
    let (own, group, stray) = (span(1), span(2), span(3));
    // One in the group, one that has left it and whose parent has ended.
    let script = format!("sleep {group} & (setsid sleep {stray} &) ; exec sleep {own}");
    let mut node = node(&["sh", "-c", &script]);
    let all = [own, group, stray].map(|span| format!("sleep {span}"));
    wait_until("the command and its children", || all.iter().all(|sleep| runs(sleep)));
    node.kill().unwrap();
    node.wait().unwrap();
    wait_until("the end of all of them", || !all.iter().any(|sleep| runs(sleep)));
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_and_its_children_too() {
    let span = format!("{}.4", 90_000 + process::id());
    let script = format!("trap '' TERM; sleep {span} & sleep {span}; sleep {span}");
    let mut node = node(&["sh", "-c", &script]);
    let sleep = format!("sleep {span}");
    wait_until("the command", || runs(&sleep));
    let began = Instant::now();
    let pid = rustix::process::Pid::from_child(&node);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(node.wait().unwrap().code(), Some(0));
    assert!(!runs(&sleep) && began.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_cannot_be_served_exits_64_or_69_with_one_sentence() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let taken = format!(":{port}");
    for (args, code, words) in [
        (&["--", "no-such-program"][..], 64, "there is no program \"no-such-program\""),
        (&["--exec", "no-such-program x"], 64, "there is no program"),
        (&["--dir", "/no/such/folder"], 64, "/no/such/folder"),
        (&["--app", "192.0.2.7:80"], 64, "is on another machine"),
        (&["--app", ":3000", "--dir", "/"], 64, "cannot both"),
        (&["--app", ":3000", "--health", "up"], 64, "slash"),
        (&["--app", ":3000", "--listen", ":3000"], 64, "cannot both have port 3000"),
        (&["--app", &taken, "--", "sleep", "9"], 69, "is taken by"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_picluster")).arg("web").args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{args:?}: {said}");
    }
}

#[test]
fn the_output_of_a_command_is_passed_on_with_its_name() {
    let mut node = node(&[
        "sh",
        "-c",
        "echo out $PORT; echo err >&2; head -c 9000 /dev/zero | tr '\\0' x; exec sleep 60",
    ]);
    let mut out = std::io::BufReader::new(node.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.starts_with("sh | out 3"), "{line}");
    line.clear();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, format!("sh | {}\n", "x".repeat(3072)));
    let pid = rustix::process::Pid::from_child(&node);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("sh | err\n"));
}

#[test]
fn a_node_with_anything_to_serve_is_drained_by_hand_and_seen_by_the_commands() {
    let Some(lab) = Lab::new("drained") else { return };
    if !lab.has("python3") {
        return;
    }
    let folder = Folder::new("drained");
    folder.put("index.html", "a folder");
    let dir = folder.0.to_str().unwrap();
    let serve = ["python3", "-m", "http.server", "3000", "--directory", dir];
    let lb = lab.pi("front").lb().start();
    lab.pi("ada").start(&serve);
    let by_command = [&["--app", ":3000", "--"][..], &serve].concat();
    let nodes = [
        lab.pi("ada").web().served_at(3000).args(&["--app", ":3000"]).start(),
        lab.pi("bob").web().served_at(3000).args(&by_command).start(),
        lab.pi("eve").web().args(&["--dir", dir]).start(),
    ];
    lb.wait_for_nodes(3);
    let load = lab.client().load(&lb.url()).clients(4).start();
    let type_in = |pi: &Pi, line: &str| {
        let words = [&[env!("CARGO_BIN_EXE_picluster")][..], &line.split(' ').collect::<Vec<_>>()];
        pi.run(&words.concat())
    };
    let state = |node: &Process| lb.node(node).unwrap().state;
    for node in &nodes {
        type_in(node.pi(), "drain");
        wait_until("it drains", || state(node) == "draining");
        let listed = type_in(&lab.client(), "nodes");
        assert!(listed.contains("~ draining"), "{listed}");
        type_in(node.pi(), "undrain");
        lb.wait_until_up(node, PATIENCE);
    }
    assert!(type_in(&lab.client(), "status").contains("all is well"));
    load.stop_with_no_failure();
    lb.process().kill9();
    // Without a balancer the nodes are asked themselves, where picluster answers.
    wait_until("the nodes speak for themselves", || {
        type_in(&lab.client(), "nodes").matches("+ up").count() == 3
    });
}

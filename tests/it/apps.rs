//! Applications behind nodes: real ones, started by picluster or by others, and how they come, die
//! and go.

mod login;
mod unwell;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use crate::lab::{Lab, PATIENCE, Pi, Process, wait_until};

/// An application that answers every path. A request for `/die` ends it as a crash does.
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
    # One write for head and body: an answer that has begun breaks off when its server is killed.
    wbufsize = -1
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

/// A folder for one test. Dropping it removes it.
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

/// Asks an application to die.
fn die(lab: &Lab, node: &Process) {
    let _ = lab.get(&format!("http://{}/die", node.endpoint()));
}

#[test]
#[ignore = "slow tier: four applications, one after the other"]
fn a_dying_application_is_restarted_under_load_without_a_failed_get() {
    let Some(lab) = Lab::under_load("commands") else { return };
    let folder = Folder::new("commands");
    let lb = lab.lb();
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
    let load = lab.load(&lb, 4);
    load.wait_for_nodes(nodes.len());
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
fn an_application_run_by_others_is_out_while_down_with_its_reason_shown() {
    let Some(lab) = Lab::under_load("advertised") else { return };
    if !lab.has_all(&["lighttpd", "php-cgi"]) {
        return;
    }
    let lb = lab.lb();
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

    let load = lab.load(&lb, 4);
    // Its orphans live on, so the test does not wait for its end.
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
    // Only picluster ends.
    assert_eq!(nodes[1].sigterm().0.code, 0);
    assert!(servers[1].is_running());
    load.stop_with_no_failure();
}

/// The file in README.md with which Avahi announces any web server.
fn avahi_service() -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, example) = readme.split_once("```xml\n").expect("an example");
    example.split_once("```").unwrap().0.to_owned()
}

#[test]
fn an_nginx_joins_by_an_avahi_file_alone_and_dies_without_a_failed_get() {
    let Some(lab) = Lab::under_load("nginx") else { return };
    if !lab.has_all(&["nginx", "avahi-daemon", "dbus-daemon"]) {
        return;
    }
    let lb = lab.lb();
    lab.pi("ada").web().start();
    let nas = lab.pi("nas").hostname("nas");
    let folder = Folder::new("nginx");
    folder.put("index.html", "from nginx");
    let conf = format!(
        "daemon off; master_process off; user root; pid {dir}/pid; error_log {dir}/errors; events {{}}
        http {{
            access_log off; client_body_temp_path {dir}/bodies; proxy_temp_path {dir}/proxied;
            fastcgi_temp_path {dir}/fastcgi; scgi_temp_path {dir}/scgi; uwsgi_temp_path {dir}/uwsgi;
            server {{ listen 8000; root {dir}; }}
        }}",
        dir = folder.0.display()
    );
    let conf = folder.put("nginx.conf", &conf);
    let serve = || nas.start(&["nginx", "-c", &conf]);
    let nginx = serve();
    let _avahi = nas.avahi_with(&avahi_service());
    lb.wait_for_nodes(2);
    let at = format!("{}:8000", nas.address());
    let node = || lb.nodes().into_iter().find(|node| node.endpoint == at).expect("it is known");
    assert_eq!(node().name, "nas");

    let load = lab.load(&lb, 4);
    load.wait_for_new_answer_of("nas");
    nginx.kill9();
    wait_until("it is out", || !node().is_up());
    assert!(node().why.contains("connection refused"), "{}", node().why);
    let _again = serve();
    lb.wait_for_nodes(2);
    load.wait_for_new_answer_of("nas");
    load.stop_with_no_failure();
}

#[test]
fn a_killed_picluster_takes_its_command_with_it_without_a_failed_get() {
    let Some(lab) = Lab::under_load("killed") else { return };
    if !lab.has_all(&["python3", "setsid"]) {
        return;
    }
    let lb = lab.lb();
    let folder = Folder::new("killed");
    let file = folder.put("server.py", KINDS[1].text);
    let span = format!("{}.5", 90_000 + process::id());
    let script = format!("setsid sleep {span} & exec python3 {file}");
    let nodes = ["ada", "bob"].map(|name| {
        let pi = lab.pi(name).hostname(name);
        pi.web().served_at(3000).args(&["--", "sh", "-c", &script]).start()
    });
    lb.wait_for_nodes(2);
    let load = lab.load(&lb, 4);
    load.wait_for_nodes(2);
    let name = lb.name_of(&nodes[0]);
    nodes[0].kill9();
    lb.wait_until_out(&nodes[0], PATIENCE);
    let sleep = format!("sleep {span}");
    wait_until("only bob's to be left", || count(&sleep) == 1);
    assert_eq!(count(&format!("python3 {file}")), 1);
    let again = nodes[0].restart();
    lb.wait_until_up(&again, PATIENCE);
    load.wait_for_new_answer_of(&name);
    load.stop_with_no_failure();
}

#[test]
fn a_command_that_keeps_ending_is_out_and_reports_its_next_start() {
    let Some(lab) = Lab::under_load("backoff") else { return };
    if !lab.has("python3") {
        return;
    }
    let lb = lab.lb();
    let folder = Folder::new("backoff");
    let file = folder.put("server.py", KINDS[1].text);
    let fails = folder.0.join("fails").display().to_string();
    let script = format!("[ -e {fails} ] && exit 3; exec python3 {file}");
    let ada = lab.pi("ada").web().served_at(3000).args(&["--", "sh", "-c", &script]).start();
    lab.pi("bob").web().start();
    // It never served, so no other machine hears of it.
    let eve = lab.pi("eve").web().args(&["--", "sh", "-c", "exit 4"]).start();
    lb.wait_for_nodes(2);
    let load = lab.load(&lb, 4);
    folder.put("fails", "");
    die(&lab, &ada);
    lb.wait_until_out(&ada, PATIENCE);
    lb.wait_for("the reason at the balancer", PATIENCE, |nodes| {
        let why = "says that its application is down (exited with code 3, 3 times; next start in";
        nodes.iter().any(|node| node.why.starts_with(why))
    });
    fs::remove_file(&fails).unwrap();
    lb.wait_until_up(&ada, PATIENCE);
    load.wait_for_new_answer_of(&lb.name_of(&ada));
    for again in
        ["exited with code 3 again_in=1s", "3, 2 times again_in=2s", "3, 3 times again_in=4s"]
    {
        assert_eq!(ada.log_lines_with(again), 1, "{again}: {}", ada.output());
    }
    eve.wait_for_log("the command exited with code 4, 3 times again_in=4s");
    assert_eq!(lb.nodes().len(), 2, "{:?}", lb.nodes());
    load.stop_with_no_failure();
}

/// An application that answers 500 after a request for `/break`.
const BREAKS: &str = "
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
broken = []
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/break':
            broken.append(True)
        if self.path == '/mend':
            broken.clear()
        self.send_response(500 if broken else 200)
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_):
        pass
ThreadingHTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
";

#[test]
fn an_application_that_answers_500_is_out_with_its_reason_until_it_heals() {
    let Some(lab) = Lab::under_load("broken") else { return };
    if !lab.has("python3") {
        return;
    }
    let lb = lab.lb();
    let folder = Folder::new("broken");
    let file = folder.put("server.py", BREAKS);
    let ada = lab.pi("ada").web().served_at(3000).args(&["--", "python3", &file]).start();
    lab.pi("bob").web().start();
    lb.wait_for_nodes(2);
    let ask = |path: &str| lab.get(&format!("http://{}{path}", ada.endpoint()));
    // No client asks for anything, so only picluster itself can notice.
    for _ in 0..5 {
        ask("/break").unwrap();
        let took = lb.wait_until_out(&ada, PATIENCE);
        lab.figure("a 500 to out of rotation, without a request", format!("{took:?}"), "1 s");
        let why = lb.node(&ada).unwrap().why;
        assert!(why.contains("its application is down (answered with status 500 on"), "{why}");
        ask("/mend").unwrap();
        lb.wait_until_up(&ada, PATIENCE);
    }
    let load = lab.load(&lb, 4);
    load.wait_for_new_answer_of(&lb.name_of(&ada));
    ask("/break").unwrap();
    let took = lb.wait_until_out(&ada, PATIENCE);
    lab.figure("a 500 to out of rotation, under load", format!("{took:?}"), "1 s");
    load.stop();
}

#[test]
fn an_application_on_loopback_alone_is_not_served_and_gets_an_advice() {
    let Some(lab) = Lab::new("alone") else { return };
    if !lab.has("python3") {
        return;
    }
    let lb = lab.lb();
    let ada = lab.pi("ada");
    let serve = ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "3000"];
    ada.start(&serve).wait_for_log("Serving HTTP on 127.0.0.1");
    let node = ada.web().served_at(3000).args(&["--app", ":3000"]).start();
    lb.wait_for("the reason", PATIENCE, |nodes| {
        nodes.iter().any(|node| node.why.contains("add --front") && !node.is_up())
    });
    assert!(node.is_running());
}

#[test]
fn a_front_of_a_loopback_application_leaves_without_a_failed_get() {
    let Some(lab) = Lab::under_load("front") else { return };
    if !lab.has("node") {
        return;
    }
    let lb = lab.lb();
    let script = "require('http').createServer((request, response) => {
        if (request.url === '/die') process.exit(3);
        setTimeout(() => response.end('node'), 20);
    }).listen(process.env.PORT, '127.0.0.1')";
    let nodes = ["ada", "bob"]
        .map(|name| lab.pi(name).web().args(&["--front", "--", "node", "-e", script]).start());
    lb.wait_for_nodes(2);
    let load = lab.load(&lb, 4);
    load.wait_for_nodes(2);
    let name = lb.name_of(&nodes[0]);
    let (exit, _) = nodes[0].sigterm();
    assert_eq!(exit.code, 0);
    lb.wait_until_up(&nodes[0].restart(), PATIENCE);
    load.wait_for_new_answer_of(&name);
    load.stop_with_no_failure();
}

#[test]
fn with_sticky_a_session_of_php_stays_at_the_pi_that_began_it() {
    let Some(lab) = Lab::new("sessions") else { return };
    if !lab.has_all(&["php", "curl"]) {
        return;
    }
    let lb = lab.pi("front").lb().args(&["--sticky"]).start();
    let folder = Folder::new("sessions");
    let file = folder.put(
        "index.php",
        "<?php session_start(); $_SESSION['n'] = 1 + ($_SESSION['n'] ?? 0);
        echo gethostname() . ' ' . $_SESSION['n'];",
    );
    let nodes = ["ada", "bob"].map(|name| {
        let sessions = folder.0.join(name);
        fs::create_dir(&sessions).unwrap();
        let php = format!(
            "exec php -q -d session.save_path={} -S 0.0.0.0:$PORT {file}",
            sessions.display()
        );
        let args = ["--health", "tcp", "--", "sh", "-c", &php];
        lab.pi(name).hostname(name).web().served_at(3000).args(&args).start()
    });
    lb.wait_for_nodes(2);
    let asks = |client: &str| {
        let jar = format!("/run/{client}");
        lab.client().run(&["curl", "-s", "-b", &jar, "-c", &jar, &lb.url()]).trim_end().to_owned()
    };
    let first = asks("ken");
    let home = first.split(' ').next().unwrap();
    for count in 2..=20 {
        assert_eq!(asks("ken"), format!("{home} {count}"));
    }
    // The node leaves, so its clients begin anew at the other one.
    let (leaves, stays) = if home == "ada" { (&nodes[0], "bob") } else { (&nodes[1], "ada") };
    assert_eq!(leaves.sigterm().0.code, 0);
    for count in 1..=3 {
        assert_eq!(asks("ken"), format!("{stays} {count}"));
    }
}

#[test]
fn two_applications_on_three_pis_are_two_services_of_three_nodes() {
    let Some(lab) = Lab::new("services") else { return };
    if !lab.has_all(&["node", "python3"]) {
        return;
    }
    let lb = lab.lb();
    let folder = Folder::new("services");
    let blog = folder.put("blog.js", KINDS[0].text);
    let shop = folder.put("shop.py", KINDS[1].text);
    let blog = format!("--service blog --host blog.local --app :3000 -- node {blog}");
    let shop = format!("--service shop --path /shop --strip --app :3001 -- python3 {shop}");
    let mut nodes = Vec::new();
    for name in ["ada", "bob", "eve"] {
        let pi = lab.pi(name).hostname(name);
        for (args, port) in [(&blog, 3000), (&shop, 3001)] {
            let args: Vec<_> = args.split(' ').collect();
            nodes.push(pi.web().served_at(port).args(&args).start());
        }
    }
    lb.wait_for_nodes(6);
    let ask = |host: &str, path: &str| {
        let answer = lab.get_with(&format!("{}{path}", lb.url()), &[("Host", host)]).unwrap();
        (answer.body.clone(), answer.node().unwrap_or_default().to_owned())
    };
    let of_blog: BTreeSet<_> = (0..6).map(|_| ask("blog.local", "")).collect();
    let of_shop: BTreeSet<_> = (0..6).map(|_| ask("picluster.local", "shop/")).collect();
    for (answers, body) in [(&of_blog, "node"), (&of_shop, "python")] {
        assert_eq!(answers.len(), 3, "{answers:?}");
        assert!(answers.iter().all(|(said, _)| said == body), "{answers:?}");
    }
    // A dying application affects only its own service.
    die(&lab, &nodes[0]);
    lb.wait_until_out(&nodes[0], PATIENCE);
    assert!((0..6).all(|_| ask("picluster.local", "shop/").0 == "python"));
    lb.wait_until_up(&nodes[0], PATIENCE);
}

/// The commands in docs/recipes.md, line by line, without the text outside of the code blocks.
fn recipes() -> Vec<String> {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/recipes.md");
    let text = fs::read_to_string(text).unwrap();
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.flat_map(|block| block.lines().map(str::to_owned)).collect()
}

#[test]
fn every_picluster_in_the_recipes_is_a_command_that_there_is() {
    let mut commands = 0;
    for line in recipes() {
        for typed in line.split("picluster ").skip(1) {
            let is_end = |word: &&str| matches!(word, &"#" | &"|" | &"&&");
            let mut words = vec!["picluster".into()];
            for word in typed.split_whitespace().take_while(|word| !is_end(word)) {
                words.push(word.trim_end_matches([')', ';']).into());
                if word.ends_with([')', ';']) {
                    break;
                }
            }
            let parsed = picluster::cli::parse(words.clone(), &|_| None);
            assert!(parsed.is_ok(), "{words:?}: {parsed:?}");
            commands += 1;
        }
    }
    assert!(commands >= 15, "{commands}");
}

#[test]
#[ignore = "slow tier: every node in its turn"]
fn the_loop_of_the_recipes_updates_all_nodes_without_a_failed_get() {
    let Some(lab) = Lab::under_load("update") else { return };
    let lb = lab.lb();
    let mut nodes = ["ada", "bob", "eve"].map(|name| lab.pi(name).web().named().start());
    lb.wait_for_nodes(3);
    // The loop's `ssh`: it reports to the test which machine the loop would log in to, and waits
    // for it.
    let folder = Folder::new("update");
    let ssh = "#!/bin/sh
        echo \"$1\" >\"$(dirname \"$0\")/asked.new\" && cd \"$(dirname \"$0\")\" && mv asked.new asked
        while [ -e asked ]; do sleep 0.05; done";
    let ssh = folder.put("ssh", ssh);
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_picluster"), folder.0.join("picluster"))
        .unwrap();
    let lines = recipes();
    let at = lines.iter().position(|line| line.contains("picluster drain && ")).unwrap();
    let script =
        format!("PATH={}:$PATH\n{}", folder.0.display(), lines[at - 1..=at + 2].join("\n"));

    let load = lab.load(&lb, 4);
    let update = lab.client().start(&["sh", "-c", &script]);
    let asked = folder.0.join("asked");
    for name in ["ada", "bob", "eve"] {
        wait_until(&format!("ssh {name}.local"), || asked.exists());
        assert_eq!(fs::read_to_string(&asked).unwrap(), format!("{name}.local\n"));
        assert_eq!(lb.nodes().iter().filter(|node| node.is_up()).count(), 3);
        let node = nodes.iter_mut().find(|node| node.pi().name() == name).unwrap();
        assert_eq!(node.pi().type_in("drain").1, 0);
        assert_eq!(node.sigterm().0.code, 0);
        *node = node.restart();
        fs::remove_file(&asked).unwrap();
    }
    assert_eq!(update.wait_exit(PATIENCE).code, 0, "{}", update.output());
    load.stop_with_no_failure();
}

/// A node with a command, outside of any lab.
fn node(args: &[&str]) -> Child {
    node_with(&[], args)
}

fn node_with(flags: &[&str], args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_picluster"))
        .args(["web", "--loopback", "--listen", "127.0.0.1:0", "--drain", "1s"])
        .args(flags)
        .arg("--")
        .args(args)
        .env("PICLUSTER_CLUSTER", format!("apps-{}", process::id()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The number of processes with exactly these words.
fn count(words: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.trim_end() == words).count()
}

fn runs(words: &str) -> bool {
    count(words) > 0
}

#[test]
fn nothing_of_a_command_outlives_a_picluster_that_was_killed() {
    let span = |n: u32| format!("{}.{n}", 90_000 + process::id());
    let (own, group, stray) = (span(1), span(2), span(3));
    // One process is in the group. Another has left it, and its parent has ended.
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
fn a_command_that_does_not_listen_on_its_port_gets_a_warning() {
    let mut node = node(&["sh", "-c", "exec sleep 60"]);
    let mut lines = BufReader::new(node.stderr.take().unwrap()).lines().map_while(Result::ok);
    let hint = lines.find(|line| line.contains("does not listen on port 3")).unwrap();
    assert!(hint.contains("in the variable PORT") && hint.contains("with --app"), "{hint}");
    node.kill().unwrap();
    node.wait().unwrap();
}

#[test]
fn a_command_is_not_started_while_another_program_holds_its_port() {
    let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let mut node = node_with(&["--app", &port.to_string()], &["sh", "-c", "exit 3"]);
    let mut lines = BufReader::new(node.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line.contains("exited with code 3 again_in=1s")).unwrap();
    let _stranger = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let why = format!("the command cannot be started: port {port} is taken by ");
    let line = lines.find(|line| line.contains("again_in=2s")).unwrap();
    assert!(line.contains(&why) && line.contains(&format!("pid {}", process::id())), "{line}");
    node.kill().unwrap();
    node.wait().unwrap();
}

#[test]
fn a_node_that_cannot_serve_exits_64_or_69_with_one_sentence() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
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
    let mut out = BufReader::new(node.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("sh | out 3"), "{line}");
    line.clear();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, format!("sh | {}\n", "x".repeat(3072)));
    let pid = rustix::process::Pid::from_child(&node);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("sh | err\n"));
}

#[test]
fn the_commands_see_and_drain_a_node_whatever_it_serves() {
    let Some(lab) = Lab::under_load("drained") else { return };
    if !lab.has("python3") {
        return;
    }
    let folder = Folder::new("drained");
    folder.put("index.html", "a folder");
    let dir = folder.0.to_str().unwrap();
    let serve = ["python3", "-m", "http.server", "3000", "--directory", dir];
    let lb = lab.lb();
    lab.pi("ada").start(&serve);
    let by_command = [&["--app", ":3000", "--"][..], &serve].concat();
    let nodes = [
        lab.pi("ada").web().served_at(3000).args(&["--app", ":3000"]).start(),
        lab.pi("bob").web().served_at(3000).args(&by_command).start(),
        lab.pi("eve").web().args(&["--dir", dir]).start(),
    ];
    lb.wait_for_nodes(3);
    let load = lab.load(&lb, 4);
    let state = |node: &Process| lb.node(node).unwrap().state;
    for node in &nodes {
        assert_eq!(node.pi().type_in("drain").1, 0);
        wait_until("it drains", || state(node) == "draining");
        let listed = lab.client().type_in("nodes").0;
        assert!(listed.contains("~ draining"), "{listed}");
        assert_eq!(node.pi().type_in("undrain").1, 0);
        lb.wait_until_up(node, PATIENCE);
    }
    assert!(lab.client().type_in("status").0.contains("all is well"));
    load.stop_with_no_failure();
    lb.process().kill9();
    // Without a balancer the nodes are asked themselves, at picluster's own port.
    wait_until("the nodes speak for themselves", || {
        lab.client().type_in("nodes").0.matches("+ up").count() == 3
    });
}

//! The same faults under other balancers, which get the nodes' addresses in their configuration.
//! For fairness picluster has its rows here as well: the same clients, and faults of the same
//! length.

use std::net::SocketAddr;
use std::time::Duration;

use crate::COMMON;
use crate::crew::Job;
use crate::faults::fault::Fault;
use crate::faults::ground::Ground;
use crate::faults::trial::{self, Clients, Spans};
use crate::lab::{Lab, Pi, is_installed};
use crate::rows::Row;

/// The configuration of the usual tutorial.
const TUTORIAL: &str = "
global
    maxconn 4000
defaults
    mode http
    timeout connect 30s
    timeout client 30s
    timeout server 30s
frontend front
    bind :80
    default_backend nodes
backend nodes
    balance roundrobin
@servers";

/// The configuration of somebody who has read the whole manual. It also repeats a POST that a node
/// may have executed, which RFC 9110 section 9.2.2 forbids a proxy.
const TUNED: &str = "
global
    maxconn 4000
defaults
    mode http
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response response-timeout
    timeout connect 500ms
    timeout client 30s
    timeout server 3s
frontend front
    bind :80
    default_backend nodes
backend nodes
    balance roundrobin
    default-server inter 500ms fall 2 on-marked-down shutdown-sessions
@servers";

const NGINX: &str = "
daemon off;
master_process off;
user root;
pid /run/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path /run/nginx-body;
    proxy_temp_path /run/nginx-proxy;
    fastcgi_temp_path /run/nginx-fastcgi;
    uwsgi_temp_path /run/nginx-uwsgi;
    scgi_temp_path /run/nginx-scgi;
    upstream nodes {
@servers
        keepalive 64;
    }
    server {
        listen 80 backlog=4096;
        location / {
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }
    }
}
";

const CADDY: &str = "
{
    admin off
}
:80 {
    reverse_proxy @servers
}
";

#[derive(Clone, Copy)]
struct Rival {
    name: &'static str,
    tool: &'static str,
    config: &'static str,
    /// The line, or the word, for each node; `@n` is its number and `@to` its address.
    server: &'static str,
    argv: &'static [&'static str],
}

const RIVALS: [Rival; 4] = [
    Rival {
        name: "HAProxy, tutorial",
        tool: "haproxy",
        config: TUTORIAL,
        server: "    server web@n @to check\n",
        argv: &["haproxy", "-db", "-f", "/run/rival.conf"],
    },
    Rival {
        name: "HAProxy, tuned",
        tool: "haproxy",
        config: TUNED,
        server: "    server web@n @to check\n",
        argv: &["haproxy", "-db", "-f", "/run/rival.conf"],
    },
    Rival {
        name: "nginx",
        tool: "nginx",
        config: NGINX,
        server: "        server @to;\n",
        argv: &["nginx", "-e", "stderr", "-c", "/run/rival.conf"],
    },
    Rival {
        name: "Caddy",
        tool: "caddy",
        config: CADDY,
        server: "@to ",
        argv: &["caddy", "run", "--adapter", "caddyfile", "--config", "/run/rival.conf"],
    },
];

/// Runs each fault under picluster, then under each other balancer that is installed.
pub(crate) fn jobs() -> Vec<Job> {
    let installed = || RIVALS.into_iter().filter(|rival| is_installed(rival.tool));
    let of_fault = |fault| {
        let others = installed().map(move |rival| job(fault, Some(rival)));
        std::iter::once(job(fault, None)).chain(others)
    };
    COMMON.into_iter().flat_map(of_fault).collect()
}

/// The balancers without a comparison, as a sentence.
pub(crate) fn missing() -> String {
    let missing: Vec<_> = RIVALS.iter().filter(|rival| !is_installed(rival.tool)).collect();
    let names = missing.iter().map(|rival| rival.name).collect::<Vec<_>>().join(", ");
    if names.is_empty() { String::new() } else { format!("Not installed: {names}.") }
}

fn job(fault: Fault, rival: Option<Rival>) -> Job {
    let name = rival.map_or("picluster", |rival| rival.name);
    Job::new(&format!("{} under {name}", fault.title()), move |lab| {
        let pause = Duration::from_millis(20);
        let both = ["GET", "POST"].map(|method| Clients { pause, ..Clients::new(method, false) });
        let ground = match rival {
            None => Ground::of_picluster(lab, false),
            Some(rival) => Ground::of_another(lab, |lab, nodes| rival.start(lab, nodes)),
        };
        let met = trial::run(ground, fault, &both, spans(fault));
        let row = |met| Row::of(&format!("{}: {name}", fault.title()), met, Vec::new());
        met.iter().map(row).collect()
    })
}

/// The spans of a fault. A request that hangs does so until its client gives up after 30 s.
fn spans(fault: Fault) -> Spans {
    let sick = if matches!(fault, Fault::Cable | Fault::Freeze) { 32 } else { 8 };
    let [before, after] = [Duration::from_secs(2), Duration::from_secs(1)];
    Spans { before, sick: Duration::from_secs(sick), after, ..crate::SPANS }
}

impl Rival {
    fn start(&self, lab: &Lab, nodes: &[SocketAddr]) -> SocketAddr {
        let pi = lab.pi("front");
        let server = |(n, to): (usize, &SocketAddr)| {
            self.server.replace("@n", &(n + 1).to_string()).replace("@to", &to.to_string())
        };
        let servers: String = nodes.iter().enumerate().map(server).collect();
        write(&pi, &self.config.replace("@servers", &servers));
        pi.start(self.argv);
        SocketAddr::new(pi.ip(), 80)
    }
}

/// Puts the configuration into the Pi's `/run`.
fn write(pi: &Pi, text: &str) {
    pi.run(&["sh", "-c", "printf %s \"$1\" > /run/rival.conf", "sh", text]);
}

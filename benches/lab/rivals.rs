//! The ground of the comparison: one Pi with three cheap nodes, and the two balancers before them.
//!
//! All of it runs on one Pi, so that every byte goes over its loopback interface. The nodes are three
//! ports of one nginx, which is no picluster node: the balancer under test finds them as it finds any
//! foreign device, by mDNS, from a second Pi that speaks for them. It is the real program with every
//! feature that is on by default, probes, mDNS and admin port included, and one worker.
//!
//! HAProxy gets one thread, the same nodes, a check of each node every second as picluster makes one,
//! and sets the same fields in requests and answers. [`Ground::check`] has both prove that.

use crate::lab::{Advert, Balancer, Lab, Pi, Process, Program, wait_until};

/// Answers of 13 bytes at `/`, of 1 MiB at `/1mib`, at `/fields` what a request carried, and at
/// `/status` how many connections there were.
/// One worker; connections are kept for good.
const NGINX: &str = r#"
daemon off;
master_process off;
user root;
pid /run/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 20000;
events { worker_connections 8192; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path /run/nginx-body;
    proxy_temp_path /run/nginx-proxy;
    fastcgi_temp_path /run/nginx-fastcgi;
    uwsgi_temp_path /run/nginx-uwsgi;
    scgi_temp_path /run/nginx-scgi;
    server {
        listen 9001 backlog=4096;
        listen 9002 backlog=4096;
        listen 9003 backlog=4096;
        root /run/www;
        location = / { return 200 "hello, world\n"; }
        location = /status { stub_status; }
        location = /fields {
            return 200 "$http_x_forwarded_for|$http_x_forwarded_proto|$http_x_forwarded_host|$http_forwarded|$http_x_request_id|$http_via";
        }
    }
}
"#;

/// `@address` is the Pi's. The ratios let it keep all its connections to the nodes: by default it
/// closes them when a quarter of the files that `maxconn` allows are open, and 512 clients would make
/// it connect anew for many a request. The pseudonym in `Via` and the names of the nodes are as long as
/// picluster's, and a UUID is four dashes longer than its request ids. What picluster does unasked and HAProxy does not (retries on another node, checks
/// by traffic) is left as it is by default.
const HAPROXY: &str = r#"
global
    nbthread 1
    maxconn 2000
    tune.pool-low-fd-ratio 80
    tune.pool-high-fd-ratio 90
defaults
    mode http
    balance roundrobin
    http-reuse always
    timeout connect 1s
    timeout client 60s
    timeout server 120s
    timeout http-request 10s
    timeout http-keep-alive 60s
frontend front
    bind :8000
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header Forwarded "for=%[src];proto=http;host=\"%[req.hdr(host)]\""
    http-request set-header X-Request-Id %[uuid]
    http-request add-header Via "1.1 raspberrypi-haprox"
    default_backend nodes
backend nodes
    option httpchk GET /
    default-server check inter 1s
    http-response set-header X-Picluster-Node %s
    server nginx9001 @address:9001
    server nginx9002 @address:9002
    server nginx9003 @address:9003
"#;

const NODES: [u16; 3] = [9001, 9002, 9003];

/// How often the nodes are announced. Their records live for two minutes.
const ANNOUNCE_EVERY_MS: u64 = 2_000;

/// Two balancers before the same nodes.
pub(crate) struct Ground {
    pub(crate) pi: Pi,
    pub(crate) haproxy: Rival,
    pub(crate) picluster: Rival,
}

/// A balancer, and where clients ask it.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Ground {
    pub(crate) fn start(lab: &Lab) -> Self {
        let pi = lab.pi("front");
        write(&pi, "nginx.conf", NGINX);
        write(&pi, "haproxy.cfg", &HAPROXY.replace("@address", &pi.address().to_string()));
        pi.run(&["sh", "-c", "mkdir /run/www && head -c 1048576 /dev/zero > /run/www/1mib"]);
        pi.start(&["nginx", "-e", "stderr", "-c", "/run/nginx.conf"]);
        let lb = pi.lb().args(&["--workers", "1"]).start();
        let packets =
            NODES.map(|port| Advert::new(&format!("nginx{port}"), pi.address(), port).packet());
        let packets = packets.to_vec();
        lab.pi("shelf").attack(&Program::Shout { packets, every_ms: ANNOUNCE_EVERY_MS });
        lb.wait_for_nodes(NODES.len());
        let haproxy = pi.start(&["haproxy", "-db", "-f", "/run/haproxy.cfg"]);
        let ground = Self {
            haproxy: Rival {
                name: "HAProxy",
                process: haproxy,
                url: format!("http://{}:8000", pi.address()),
            },
            picluster: Rival::ours(&lb),
            pi,
        };
        for rival in ground.rivals() {
            rival.check(lab);
        }
        ground
    }

    /// How many connections the nodes have accepted so far, those of the checks included.
    pub(crate) fn accepted(&self, lab: &Lab) -> u64 {
        let status = format!("http://{}:{}/status", self.pi.address(), NODES[0]);
        let answer = lab.get(&status).expect("nginx serves");
        let counts = answer.body.lines().nth(2).unwrap_or_default();
        let count = counts.split_whitespace().next().and_then(|count| count.parse().ok());
        count.unwrap_or_else(|| panic!("nginx's status is\n{}", answer.body))
    }

    pub(crate) fn rivals(&self) -> [&Rival; 2] {
        [&self.haproxy, &self.picluster]
    }
}

impl Rival {
    fn ours(lb: &Balancer) -> Self {
        let url = lb.url().trim_end_matches('/').to_owned();
        Self { name: "picluster", process: (**lb).clone(), url }
    }

    /// Proves that it does the work the comparison is about.
    fn check(&self, lab: &Lab) {
        let fields = format!("{}/fields", self.url);
        wait_until(&format!("{} to serve", self.name), || {
            lab.get(&fields).is_ok_and(|answer| answer.status == 200)
        });
        let answer = lab.get(&fields).expect("it serves");
        let sent: Vec<_> = answer.body.split('|').collect();
        assert_eq!(sent.len(), 6, "{}: {}", self.name, answer.body);
        assert!(sent.iter().all(|field| !field.is_empty()), "{}: {}", self.name, answer.body);
        let node = answer.node().unwrap_or_default();
        assert!(node.starts_with("nginx900"), "{}: {node}", self.name);
        let large = lab.get(&format!("{}/1mib", self.url)).expect("it serves");
        assert_eq!((large.status, large.body.len()), (200, 1 << 20), "{}", self.name);
    }
}

/// Puts a file into the Pi's `/run`.
fn write(pi: &Pi, file: &str, text: &str) {
    let script = format!("printf %s \"$1\" > /run/{file}");
    pi.run(&["sh", "-c", &script, "sh", text]);
}

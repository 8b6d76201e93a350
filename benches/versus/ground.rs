//! One Pi with cheap nodes, and all the balancers in front of them.
//!
//! Everything runs on one Pi, so that every byte goes over its loopback interface. The nodes are
//! ports of one nginx, which is no picluster node. The balancer under test finds them by mDNS, as
//! it finds any foreign device: other Pis announce them. It is the real program with every feature
//! that is on by default, including probes, mDNS and the admin port. A balancer without requests
//! costs next to nothing meanwhile: one check of each node a second.

use std::time::Duration;

use crate::lab::{Advert, Balancer, Lab, Pi, Process, Program, pause, wait_until};
use crate::node;
use crate::product::{Product, write};
use crate::workload::Scene;
use crate::wrk;

const FIRST_PORT: u16 = 9001;

/// The interval of the announcements until all nodes are known, and the later one: their records
/// live two minutes.
const ANNOUNCE_EVERY_MS: u64 = 2_000;
const REMIND_EVERY_MS: u64 = 40_000;

/// The nodes announced at once. All nodes have one address, and picluster takes only this many new
/// ones of an address in a second. It would take the others when mDNS repeats them, at growing
/// intervals.
const TOGETHER: usize = 30;
const BETWEEN: Duration = Duration::from_secs(1);

/// Time for the first checks.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) struct Ground {
    pub(crate) pi: Pi,
    pub(crate) rivals: Vec<Rival>,
    scene: Scene,
}

/// A balancer and its address for clients.
pub(crate) struct Rival {
    pub(crate) product: Product,
    pub(crate) processes: Vec<Process>,
    /// `a.b.c.d:port`.
    pub(crate) server: String,
}

impl Rival {
    /// The processor time of all its processes.
    pub(crate) fn resident_mib(&self) -> f64 {
        self.processes.iter().map(|process| process.resident_kib() as f64 / 1024.0).sum()
    }
}

impl Ground {
    pub(crate) fn start(lab: &Lab, scene: Scene, products: &[Product]) -> Self {
        let pi = lab.pi("front");
        wrk::prepare(&pi);
        // New connections need many ports within a minute.
        pi.run(&["sh", "-c", "echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range"]);
        let count = u16::try_from(scene.nodes).expect("a Pi has so many ports");
        let nodes: Vec<_> = (FIRST_PORT..FIRST_PORT + count).collect();
        if scene.echo {
            node::start(&pi, &nodes, b"hello, world\n".len());
        } else {
            start_nginx(&pi, &nodes);
        }
        let rival = |product: &Product| Rival {
            product: *product,
            processes: product.start(&pi, scene, &nodes),
            server: format!("{}:{}", pi.address(), product.port()),
        };
        let rivals: Vec<_> = products.iter().map(rival).collect();
        let ours = rivals.iter().find(|rival| rival.product == Product::Picluster);
        if let Some(ours) = ours {
            announce(lab, &pi, &ours.processes[0], &nodes);
        }
        let ground = Self { pi, rivals, scene };
        for rival in &ground.rivals {
            ground.check(lab, rival);
        }
        pause(SETTLE);
        ground
    }

    /// The number of connections that the nodes have accepted so far, including those of checks;
    /// `None` if the nodes are not nginx.
    pub(crate) fn accepted(&self, lab: &Lab) -> Option<u64> {
        if self.scene.echo {
            return None;
        }
        let status = format!("http://{}:{FIRST_PORT}/status", self.pi.address());
        let answer = lab.get(&status).expect("nginx serves");
        let counts = answer.body.lines().nth(2).unwrap_or_default();
        counts.split_whitespace().next().and_then(|count| count.parse().ok())
    }

    /// Checks that a rival does the work that is compared: it serves, sets the fields, divides the
    /// requests evenly among the nodes, and logs them where it has to.
    fn check(&self, lab: &Lab, rival: &Rival) {
        let name = rival.product.name();
        let url = format!("http://{}", rival.server);
        wait_until(&format!("{name} to serve"), || {
            lab.get(&url).is_ok_and(|answer| answer.status == 200)
        });
        if self.scene.echo || rival.product == Product::Control {
            return;
        }
        let mut asked = vec![0; self.scene.nodes];
        for _ in 0..4 * self.scene.nodes {
            let answer = lab.get(&format!("{url}/fields")).expect("it serves");
            let said: Vec<_> = answer.body.split('|').collect();
            assert!(said.len() == 7 && !said.contains(&""), "{name}: {}", answer.body);
            assert!(answer.node().is_some(), "{name} does not say which node answered");
            let port: u16 = said[0].parse().expect("nginx's port");
            asked[usize::from(port - FIRST_PORT)] += 1;
        }
        // In some balancers each thread has its own rotation, and a check may come between.
        let is_even = asked.iter().all(|count| (2..=6).contains(count));
        assert!(is_even || self.scene.threads > 1, "{name} shares unevenly: {asked:?}");
        let large = lab.get(&format!("{url}/1mib")).expect("it serves");
        assert_eq!((large.status, large.body.len()), (200, 1 << 20), "{name}");
        if self.scene.access_log {
            let log = rival.product.access_log();
            let lines = format!("grep -c /fields {log}");
            wait_until(&format!("{name} to log what it served"), || {
                let count = self.pi.run(&["sh", "-c", &lines]).trim().parse().unwrap_or(0);
                count >= 4 * self.scene.nodes
            });
        }
    }
}

fn start_nginx(pi: &Pi, ports: &[u16]) {
    let listen = |port: &u16| format!("        listen {port} backlog=4096;\n");
    let listens: String = ports.iter().map(listen).collect();
    let conf = include_str!("configs/nodes.conf").replace("@servers", listens.trim_end());
    write(pi, "nodes.conf", &conf);
    let files = "mkdir /run/www && cd /run/www && head -c 65536 /dev/zero > 64kib \
        && head -c 1048576 /dev/zero > 1mib";
    pi.run(&["sh", "-c", files]);
    pi.start(&["nginx", "-e", "stderr", "-c", "/run/nodes.conf"]);
}

/// Announces the nodes, a few at a time, and later at the pace of real nodes.
fn announce(lab: &Lab, pi: &Pi, ours: &Process, ports: &[u16]) {
    let lb = Balancer::from(ours.clone());
    let packet = |port: &u16| Advert::new(&format!("nginx{port}"), pi.address(), *port).packet();
    let mut known = 0;
    for (n, ports) in ports.chunks(TOGETHER).enumerate() {
        let packets: Vec<_> = ports.iter().map(packet).collect();
        // A program that shouts holds its Pi's mDNS port alone.
        let speaker = lab.pi(&format!("shelf{n}"));
        let shout =
            |every_ms| speaker.attack(&Program::Shout { packets: packets.clone(), every_ms });
        let often = shout(ANNOUNCE_EVERY_MS);
        known += ports.len();
        lb.wait_for_nodes(known);
        often.kill9();
        shout(REMIND_EVERY_MS);
        pause(BETWEEN);
    }
}

//! The compared balancers. Each is configured as a person does who wants speed and has read the
//! manual, and sets the same fields. The configurations are the files in `configs`.

use std::process::Command;

use crate::lab::{Balancer, Pi, Process, is_installed};
use crate::workload::Scene;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Product {
    HaProxy,
    Nginx,
    Caddy,
    Picluster,
    /// HAProxy as a copier of bytes, to show how steady the machine is.
    Control,
}

/// The balancers in the order of the tables.
pub(crate) const PRODUCTS: [Product; 5] =
    [Product::HaProxy, Product::Nginx, Product::Caddy, Product::Picluster, Product::Control];

/// The number of clients in the configurations of the others. picluster's default limit is as high.
const CLIENTS_MAX: &str = "9000";

impl Product {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::Picluster => "picluster",
            Self::Control => "control",
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::HaProxy | Self::Control => is_installed("haproxy"),
            Self::Nginx => is_installed("nginx"),
            Self::Caddy => is_installed("caddy"),
            Self::Picluster => true,
        }
    }

    /// Its name, and the first number of its version.
    pub(crate) fn version(self) -> String {
        let words: &[&str] = match self {
            Self::HaProxy | Self::Control => &["/usr/sbin/haproxy", "-v"],
            Self::Nginx => &["/usr/sbin/nginx", "-v"],
            Self::Caddy => &["caddy", "version"],
            Self::Picluster => &[env!("CARGO_BIN_EXE_picluster"), "--version"],
        };
        let output = Command::new(words[0]).args(&words[1..]).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let number = text.split([' ', '/', '\n']).find(|word| word.starts_with(char::is_numeric));
        format!("{} {}", self.name(), number.unwrap_or("unknown"))
    }

    pub(crate) fn port(self) -> u16 {
        match self {
            Self::HaProxy => 8000,
            Self::Nginx => 8001,
            Self::Caddy => 8002,
            Self::Control => 8003,
            Self::Picluster => 80,
        }
    }

    /// The file of its access log, if it writes one. It lies in memory, as all of the Pi's `/run`.
    pub(crate) fn access_log(self) -> String {
        format!("/run/access.{}", self.name().to_lowercase())
    }

    /// Starts it on a Pi in front of nodes at these ports of the same Pi.
    pub(crate) fn start(self, pi: &Pi, scene: Scene, nodes: &[u16]) -> Vec<Process> {
        let server = |line: &str, port: &u16| {
            line.replace("@to", &format!("{}:{port}", pi.address()))
                .replace("@port", &port.to_string())
        };
        let servers = |line: &str| nodes.iter().map(|port| server(line, port)).collect::<String>();
        let threads = scene.threads.to_string();
        let fill = |text: &str, line: &str, log: &str| {
            text.replace("@servers", servers(line).trim_end())
                .replace("@threads", &threads)
                .replace("@clients", CLIENTS_MAX)
                .replace("@log", log)
        };
        let logged = |with: &'static str, without: &'static str| {
            if scene.access_log { with } else { without }
        };
        match self {
            Self::HaProxy => {
                let log = logged("    log stdout format raw local0 info\n    option httplog\n", "");
                let line = "    server nginx@port @to\n";
                write(pi, "haproxy.cfg", &fill(include_str!("configs/haproxy.cfg"), line, log));
                let script =
                    format!("exec haproxy -db -f /run/haproxy.cfg > {}", self.access_log());
                vec![pi.start(&["sh", "-c", &script])]
            }
            Self::Control => {
                let line = "    server nginx@port @to\n";
                write(pi, "control.cfg", &fill(include_str!("configs/control.cfg"), line, ""));
                vec![pi.start(&["haproxy", "-db", "-f", "/run/control.cfg"])]
            }
            Self::Nginx => {
                let log = logged("/run/access.nginx", "off");
                let line = "        server @to;\n";
                write(pi, "nginx.conf", &fill(include_str!("configs/nginx.conf"), line, log));
                // Its workers are processes. Here each is one without a master.
                let worker = |_| pi.start(&["nginx", "-e", "stderr", "-c", "/run/nginx.conf"]);
                (0..scene.threads).map(worker).collect()
            }
            Self::Caddy => {
                let log = logged("log {\n output file /run/access.caddy\n}", "");
                write(pi, "Caddyfile", &fill(include_str!("configs/Caddyfile"), "@to ", log));
                let script = format!(
                    "HOME=/run GOMAXPROCS={threads} \
                     exec caddy run --adapter caddyfile --config /run/Caddyfile"
                );
                vec![pi.start(&["sh", "-c", &script])]
            }
            Self::Picluster => vec![ours(pi, scene).process()],
        }
    }
}

/// The balancer under test, with all features that are on by default.
fn ours(pi: &Pi, scene: Scene) -> Balancer {
    let threads = scene.threads.to_string();
    // As many as in the others' configurations: the clients of the turn before may not have left
    // yet.
    let lb = pi.lb().args(&["--workers", &threads, "--max-connections", "20000"]);
    if scene.access_log {
        let script = format!("exec > {}", Product::Picluster.access_log());
        return lb.args(&["--access-log", "text"]).after(&script).start();
    }
    lb.start()
}

/// Returns whether this build can write an access log.
pub(crate) fn can_log_accesses() -> bool {
    let help = Command::new(env!("CARGO_BIN_EXE_picluster")).args(["lb", "--help"]).output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--access-log"))
}

/// Puts a file into the Pi's `/run`.
pub(crate) fn write(pi: &Pi, file: &str, text: &str) {
    let script = format!("printf %s \"$1\" > /run/{file}");
    pi.run(&["sh", "-c", &script, "sh", text]);
}

//! The metrics, read by Prometheus itself and by a parser of its makers.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::{Lab, Pi, Process, is_installed, unavailable, wait_until};

/// The configuration that `docs/METRICS.md` recommends, with shorter intervals.
const CONFIG: &str = r#"
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: picluster
    static_configs:
      - targets: ["BALANCER"]
  - job_name: picluster-nodes
    http_sd_configs:
      - url: http://BALANCER/prometheus/targets
        refresh_interval: 1s
"#;

/// Reads each form with its parser, and prints the families with their numbers of samples.
const PARSER: &str = "
import sys
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text
read = {'openmetrics': openmetrics, 'text': text}[sys.argv[1]].text_string_to_metric_families
for family in read(sys.stdin.read()):
    print(family.name.removesuffix('_total'), family.type, len(family.samples))
";

/// The interpreter with Debian's modules.
const PYTHON: &str = "/usr/bin/python3";

const OPENMETRICS: (&str, &str) = ("accept", "application/openmetrics-text; version=1.0.0");

/// Prometheus on its own Pi.
struct Prometheus<'a> {
    lab: &'a Lab,
    pi: Pi,
}

impl<'a> Prometheus<'a> {
    /// `None` where Prometheus is not installed.
    fn start(lab: &'a Lab, balancer: &str) -> Option<Self> {
        if !lab.has("prometheus") {
            return None;
        }
        let pi = lab.pi("desk");
        let config = CONFIG.replace("BALANCER", balancer);
        let script = format!(
            "echo '{config}' >/run/prometheus.yml
            exec prometheus --config.file=/run/prometheus.yml --storage.tsdb.path=/run/tsdb"
        );
        pi.start(&["sh", "-c", &script]).wait_for_log("Server is ready to receive web requests");
        Some(Self { lab, pi })
    }

    fn ask(&self, path: &str) -> Value {
        let answer = self.lab.get(&format!("http://{}:9090/api/v1/{path}", self.pi.address()));
        serde_json::from_str(&answer.expect("Prometheus answers").body).expect("it is JSON")
    }

    /// The targets that it scrapes without an error, sorted.
    fn scraped(&self) -> Vec<String> {
        let targets = self.ask("targets");
        let active = targets["data"]["activeTargets"].as_array().expect("a list");
        let mut up: Vec<_> = active
            .iter()
            .filter(|target| target["health"] == "up")
            .filter_map(|target| Some(target["scrapeUrl"].as_str()?.to_owned()))
            .collect();
        up.sort();
        up
    }

    /// The present result of a query; Prometheus must understand the query.
    fn query(&self, query: &str) -> Vec<Value> {
        let escaped =
            query.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
        let mut answer = self.ask(&format!("query?query={escaped}"));
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array_mut().map(std::mem::take).expect("a list")
    }

    /// The one number that a query gives now.
    fn number(&self, query: &str) -> Option<f64> {
        self.query(query).first()?["value"][1].as_str()?.parse().ok()
    }

    fn wait_for(&self, query: &str, number: f64) {
        wait_until(&format!("{query} to be {number}"), || self.number(query) == Some(number));
    }
}

/// The first query of each panel of our dashboard, over spans that a short test can fill.
fn dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().expect("a list");
    let first = |panel: &Value| {
        let query = panel["targets"][0]["expr"].as_str()?;
        let query = query.replace("$__rate_interval", "1m").replace("$__range", "1m");
        Some((panel["title"].as_str()?.to_owned(), query))
    };
    panels.iter().filter_map(first).collect()
}

/// The URL of a node's metrics.
fn metrics_of(node: &Process) -> String {
    format!("http://{}/.picluster/metrics", node.endpoint())
}

#[test]
fn prometheus_knows_one_balancer_and_finds_the_nodes() {
    let Some(lab) = Lab::new("prometheus") else { return };
    let lb = lab.lb();
    let (ada, bob) = (lab.pi("ada").web().start(), lab.pi("bob").web().start());
    lb.wait_for_nodes(2);
    let balancer = lb.admin("/metrics");
    let address = balancer.trim_start_matches("http://").trim_end_matches("/metrics");
    let Some(prometheus) = Prometheus::start(&lab, address) else { return };
    let mut expected = vec![metrics_of(&ada), metrics_of(&bob), balancer];
    expected.sort();
    wait_until("all three to be scraped", || prometheus.scraped() == expected);
    prometheus.wait_for("picluster_nodes_usable", 2.0);

    for _ in 0..10 {
        assert_eq!(lab.get(&lb.url()).map(|answer| answer.status), Ok(200));
    }
    prometheus.wait_for("sum(picluster_node_requests_total)", 10.0);
    prometheus.wait_for("sum(picluster_node_response_seconds_count)", 10.0);
    prometheus.wait_for("sum(picluster_web_requests_total)", 10.0);
    // Both sides use the same labels for the same node.
    let both = "count(picluster_node_up * on(id, node) group_left() picluster_web_draining)";
    prometheus.wait_for(both, 2.0);
    for (title, query) in dashboard() {
        let shows = !prometheus.query(&query).is_empty();
        // Nothing went wrong here, and this machine may have no sensor.
        let may_be_empty =
            ["Made good elsewhere", "Given up", "Temperature", "Weak supply, and held back"];
        assert!(shows || may_be_empty.contains(&title.as_str()), "{title}: {query}");
    }

    // A node that comes is found, and one that goes leaves no series behind.
    let eve = lab.pi("eve").web().start();
    wait_until("eve to be scraped", || prometheus.scraped().contains(&metrics_of(&eve)));
    prometheus.wait_for("count(picluster_node_up)", 3.0);
    ada.sigterm();
    prometheus.wait_for("count(picluster_node_up)", 2.0);
    prometheus.wait_for("count(picluster_web_draining)", 2.0);
    assert!(!prometheus.scraped().contains(&metrics_of(&ada)));
}

#[test]
fn the_parsers_of_prometheus_read_every_line() {
    let Some(lab) = Lab::new("metrics") else { return };
    let lb = lab.lb();
    let ada = lab.pi("ada").web().start();
    lb.wait_for_nodes(1);
    assert_eq!(lab.get(&lb.url()).map(|answer| answer.status), Ok(200));
    assert_eq!(lab.get(&format!("{}.picluster/", lb.url())).map(|answer| answer.status), Ok(404));
    let pages = [lb.admin("/metrics"), metrics_of(&ada)].map(|url| {
        let page = |headers| lab.get_with(&url, headers).expect("it answers").body;
        (page(&[OPENMETRICS]), page(&[]))
    });
    if can_parse() {
        for (openmetrics, text) in &pages {
            let families = fed(&[PYTHON, "-c", PARSER, "openmetrics"], openmetrics);
            let lines = families.lines().count();
            assert!(lines >= 15, "{families}");
            // One scrape came after the other, so the families are the same and the numbers are
            // not.
            assert_eq!(fed(&[PYTHON, "-c", PARSER, "text"], text), families);
        }
    }
    if lab.has("promtool") {
        for (_, text) in &pages {
            assert_eq!(fed(&["promtool", "check", "metrics"], text), "");
        }
    }
}

/// Returns whether the parser is installed. If not, this prints a line.
fn can_parse() -> bool {
    let import = Command::new(PYTHON).args(["-c", "import prometheus_client"]).output();
    let can = is_installed("python3") && import.is_ok_and(|import| import.status.success());
    if !can {
        unavailable("metrics: NOT CHECKED in full, python3-prometheus-client is not installed");
    }
    can
}

/// The output of a tool that reads this input; the tool must succeed.
fn fed(argv: &[&str], input: &str) -> String {
    let mut tool = Command::new(argv[0])
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    tool.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{argv:?} said {said}\nof {input}");
    said
}

//! The metrics that Prometheus gets.

use super::*;
use crate::cluster::node::Boot;
use crate::cluster::pi::Pi;
use crate::cluster::pool::Pool;
use crate::telemetry::documented::{documented, exposed};
use crate::telemetry::exposition::{self, Format};

/// Counts of which each was moved once.
fn counts() -> Counts {
    let counts = Counts::default();
    let Counts { retries, retries_free, gave_up, holds_ended, rejects, answers_cut, .. } = &counts;
    let Counts { node_events, ejections, probes, mdns, .. } = &counts;
    for table in [retries, retries_free, gave_up, holds_ended, rejects, answers_cut] {
        table.add("word");
    }
    for table in [node_events, ejections, probes] {
        table.add("word");
    }
    for table in [&mdns.events, &mdns.ignored, &mdns.addresses_refused, &mdns.restarts] {
        table.add("word");
    }
    counts
}

fn pi() -> Pi {
    Pi {
        model: None,
        temperature_c: Some(48.3),
        under_voltage: Some(false),
        under_voltage_since_boot: Some(true),
        throttled: Some(false),
        throttled_since_boot: Some(false),
        speed: Some(1.0),
    }
}

fn told_of(members: Vec<Member>) -> String {
    let (publisher, watch) = pool::channel();
    publisher.publish(members, Duration::ZERO);
    let pool: Arc<Pool> = Arc::clone(&watch.borrow());
    exposition::render(Format::Text, move |families| {
        super::super::metrics::write(families, &pool, &counts())
    })
}

#[test]
fn the_documentation_has_every_metric_of_a_balancer_and_no_other() {
    let ada = member("ada", Health::Up, "answers");
    *ada.pi.lock().unwrap() = Some(pi());
    let page = told_of(vec![ada]);
    assert_eq!(exposed(&page), documented(&["Both", "Boards", "Balancer"]), "{page}");
}

#[test]
fn a_node_has_its_series_and_they_go_with_it() {
    let ada = member("ada", Health::Up, "answers");
    for (status, ms) in [(200, 3), (204, 40), (503, 1)] {
        ada.count_answer(status, Duration::ZERO, Duration::from_millis(ms));
    }
    let page = told_of(vec![ada, member("b\"ob", Health::Down, "silent")]);
    for line in [
        "picluster_nodes{state=\"up\"} 1",
        "picluster_nodes{state=\"down\"} 1",
        "picluster_nodes{state=\"ejected\"} 0",
        "picluster_nodes_usable 1",
        "picluster_node_up{id=\"b2fkq7aaaaaaa\",node=\"ada\"} 1",
        "picluster_node_up{id=\"b2fkq7aaaaaaa\",node=\"b\\\"ob\"} 0",
        "picluster_node_requests_total{id=\"b2fkq7aaaaaaa\",node=\"ada\",class=\"2xx\"} 2",
        "picluster_node_requests_total{id=\"b2fkq7aaaaaaa\",node=\"ada\",class=\"5xx\"} 1",
        "picluster_node_response_seconds_count{id=\"b2fkq7aaaaaaa\",node=\"ada\"} 3",
    ] {
        assert!(page.lines().any(|told| told == line), "{line} in {page}");
    }
    let gone = told_of(Vec::new());
    assert!(gone.contains("picluster_nodes{state=\"up\"} 0\n"), "{gone}");
    assert!(!gone.contains("id=\""), "{gone}");
}

#[test]
fn a_node_costs_as_many_series_as_the_documentation_says() {
    let series = |pi| {
        let ada = member("ada", Health::Up, "answers");
        *ada.pi.lock().unwrap() = pi;
        told_of(vec![ada]).lines().filter(|line| line.contains("id=\"")).count()
    };
    assert_eq!((series(None), series(Some(pi()))), (29, 29 + 6));
}

#[tokio::test]
async fn a_scraper_gets_the_form_it_asks_for() {
    let bench = bench().await;
    let answer = bench.ask("GET /metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("\npicluster_requests_failed_total 3\n"), "{answer}");
    let accept = "\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let answer = bench.ask(&format!("GET /metrics HTTP/1.1{accept}\r\nX:")).await;
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    assert!(answer.contains("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn prometheus_is_sent_to_nodes_that_proved_themselves_and_to_nobody_else() {
    let bench = bench().await;
    let node = |name: &str, health, boot| {
        let mut member = member(name, health, "why");
        member.node.boot = boot;
        member
    };
    let boot = Some(Boot(1));
    bench.publisher.publish(
        vec![
            node("ada", Health::Down, boot),
            node("claims", Health::Starting, boot),
            node("printer", Health::Up, None),
        ],
        Duration::ZERO,
    );
    let answer = bench.ask("GET /prometheus/targets").await;
    assert!(answer.contains("content-type: application/json"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let expected = serde_json::json!([{
        "targets": ["10.0.0.5:8080"],
        "labels": {
            "__metrics_path__": "/.picluster/metrics", "cluster": "default",
            "id": "b2fkq7aaaaaaa", "node": "ada",
        },
    }]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), expected);
}

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::health::Health;
use crate::node::{Node, NodeId, Offer, Source};
use crate::pool::{Member, Publisher, Share};
use crate::shutdown::{self, Trigger};

struct Bench {
    addr: SocketAddr,
    publisher: Publisher,
    trigger: Trigger,
}

async fn bench() -> Bench {
    let counts = Counts::default();
    counts.requests_failed.add_many(3);
    counts.rejects.add("no_node_now");
    let (publisher, pool) = pool::channel();
    let (trigger, shutdown) = shutdown::channel();
    let admin = Admin {
        pool,
        cluster: "default".into(),
        started: Instant::now(),
        shutdown,
        counts: Arc::new(counts),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router(admin)).await });
    Bench { addr, publisher, trigger }
}

impl Bench {
    async fn ask(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn member(name: &str, health: Health, why: &str) -> Member {
    Member {
        node: Node {
            id: NodeId::new("b2fkq7aaaaaaa").unwrap(),
            name: name.into(),
            hostname: "raspberrypi".into(),
            endpoint: "10.0.0.5:8080".parse().unwrap(),
            boot: None,
            source: Source::Mdns,
            offer: Arc::default(),
        },
        health,
        why: why.into(),
        since: Duration::ZERO,
        advertised: true,
        last_resort: false,
        silent: false,
        left_silent: None,
        share: Share::WHOLE,
        epoch: 1,
        counters: Arc::default(),
        pi: Arc::default(),
    }
}

#[tokio::test]
async fn readiness_follows_the_pool_and_the_drain() {
    let bench = bench().await;
    assert!(bench.ask("GET /healthz").await.starts_with("HTTP/1.1 200"));
    let answer = bench.ask("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("no node is known yet\n"));
    bench.publisher.publish(vec![member("ada", Health::Down, "silent")], Duration::ZERO);
    assert!(bench.ask("GET /readyz").await.ends_with("none of the known nodes is up\n"));
    bench.publisher.publish(vec![member("ada", Health::Up, "answers")], Duration::ZERO);
    assert!(bench.ask("GET /readyz").await.starts_with("HTTP/1.1 200"));
    bench.trigger.request();
    assert!(bench.ask("GET /readyz").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn the_api_carries_every_field_of_the_contract() {
    let bench = bench().await;
    bench.publisher.publish(vec![member("ada", Health::Up, "answers")], Duration::ZERO);
    let answer = bench.ask("GET /api/v1/nodes").await;
    assert!(answer.contains("content-type: application/json"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(json["nodes"][0]["since_s"].take().is_f64());
    let expected = serde_json::json!({
        "schema": "picluster/1", "cluster": "default", "nodes": [{
            "id": "b2fkq7aaaaaaa", "name": "ada", "hostname": "raspberrypi",
            "endpoint": "10.0.0.5:8080", "state": "up", "why": "answers", "since_s": null,
            "advertised": true, "source": "mdns", "inflight": 0, "requests": 0, "failures": 0,
            "weight": 1.0, "service": "default", "hosts": [], "path": "/",
        }],
        "routes": [{ "host": null, "path": "/", "service": "default" }],
        "conflicts": [],
    });
    assert_eq!(json, expected);
}

#[tokio::test]
async fn what_services_claim_in_vain_is_in_the_api_and_on_the_page() {
    let bench = bench().await;
    let [mut blog, mut shop] = ["ada", "bob"].map(|name| member(name, Health::Up, "answers"));
    (blog.epoch, shop.epoch) = (1, 2);
    for (member, service) in [(&mut blog, "blog"), (&mut shop, "shop")] {
        let hosts = vec!["blog.local".to_owned()];
        let offer = Offer { service: service.to_owned(), hosts, weight: 5, ..Offer::default() };
        member.node.offer = Arc::new(offer);
    }
    assert_eq!(bench.publisher.publish(vec![blog, shop], Duration::ZERO).len(), 1);
    let answer = bench.ask("GET /api/v1/nodes").await;
    let json: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let told =
        (&json["nodes"][1]["service"], &json["nodes"][1]["hosts"][0], &json["nodes"][1]["weight"]);
    assert_eq!(told, (&"shop".into(), &"blog.local".into(), &5.0.into()));
    let conflict = serde_json::json!([
        { "host": "blog.local", "path": "/", "service": "shop", "kept_by": "blog" }
    ]);
    assert_eq!(json["conflicts"], conflict);
    let page = bench.ask("GET /").await;
    assert!(page.contains("shop names the route of blog, which keeps it: blog.local"), "{page}");
}

#[tokio::test]
async fn the_counts_are_told_under_names_that_stay() {
    let answer = bench().await.ask("GET /api/v1/counts").await;
    assert!(answer.contains("content-type: application/json"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let expected = serde_json::json!({
        "schema": "picluster/1", "counts": {
            "requests_failed": 3, "retries": {}, "retries_free": {}, "gave_up": {}, "holds": 0,
            "holds_ended": {}, "rejects": { "no_node_now": 1 }, "answers_cut": {},
            "node_events": {}, "ejections": {}, "access_log_lines_dropped": 0,
        },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), expected);
}

#[tokio::test]
async fn the_page_escapes_what_came_from_the_wire() {
    let bench = bench().await;
    let why = "connection refused on <img src=x onerror=alert(1)>";
    bench.publisher.publish(vec![member("<script>", Health::Ejected, why)], Duration::ZERO);
    let page = bench.ask("GET /").await;
    assert!(page.contains("&lt;script&gt;") && page.contains("&lt;img"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("<dt>failed requests</dt><dd>3</dd>"));
}

#[tokio::test]
async fn the_empty_page_teaches_the_next_command() {
    let page = bench().await.ask("GET /").await;
    assert!(page.contains("picluster web</code>"), "{page}");
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let bench = bench().await;
    assert!(bench.ask("DELETE /api/v1/nodes").await.starts_with("HTTP/1.1 405"));
    assert!(bench.ask("GET /nothing").await.starts_with("HTTP/1.1 404"));
}

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;
use crate::cluster::counts::Counts;
use crate::cluster::health::Health;
use crate::cluster::node::{NodeId, Offer};
use crate::cluster::pi::Pi;
use crate::cluster::pool::{self, Member, Publisher};
use crate::os::shutdown::{self, Trigger};
use crate::telemetry::journal::{Journal, JournalEntry};

mod metrics;

/// Longer than an event takes on a busy machine: a test fails and does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    addr: SocketAddr,
    publisher: Publisher,
    trigger: Trigger,
    journal: Journal,
}

async fn bench() -> Bench {
    let counts = Counts::default();
    counts.requests_failed.add_many(3);
    counts.rejects.add("no_node_now");
    let (publisher, pool) = pool::channel();
    let (trigger, shutdown) = shutdown::channel();
    let admin = Admin { shutdown, counts: Arc::new(counts), ..admin(pool) };
    let journal = admin.journal.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(sample(admin.clone()));
    tokio::spawn(async move { axum::serve(listener, router(admin)).await });
    Bench { addr, publisher, trigger, journal }
}

fn admin(pool: pool::Watch) -> Admin {
    Admin {
        pool,
        cluster: "default".into(),
        started: Instant::now(),
        shutdown: shutdown::channel().1,
        orders: mpsc::channel(1).0,
        counts: Arc::default(),
        journal: Journal::default(),
        live: Live::new(256),
    }
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

pub(super) fn member(name: &str, health: Health, why: &str) -> Member {
    let mut member = Member { health, why: why.into(), ..Member::sample(1) };
    member.node.id = NodeId::new("b2fkq7aaaaaaa").unwrap();
    member.node.name = name.into();
    member.node.endpoint = "10.0.0.5:8080".parse().unwrap();
    member
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
    assert!(json["nodes"][0]["since_s"].take().is_f64() && json["uptime_s"].take().is_u64());
    assert!(json["nodes"][0]["beats"].take().is_string());
    let expected = serde_json::json!({
        "schema": "picluster/1", "cluster": "default", "uptime_s": null,
        "requests_served": 0, "requests_failed": 3,
        "nodes": [{
            "id": "b2fkq7aaaaaaa", "name": "ada", "hostname": "raspberrypi",
            "endpoint": "10.0.0.5:8080", "state": "up", "why": "answers", "since_s": null,
            "advertised": true, "source": "mdns", "inflight": 0, "requests": 0, "failures": 0,
            "weight": 1.0, "service": "default", "hosts": [], "path": "/", "rate": 0.0,
            "beats": null,
            "board": [{ "text": "n/a", "level": "plain" }],
        }],
        "routes": [{ "host": null, "path": "/", "service": "default" }],
        "conflicts": [],
    });
    assert_eq!(json, expected);
}

#[tokio::test]
async fn a_route_refused_to_a_service_is_in_the_api_and_on_the_page() {
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
        { "host": "blog.local", "path": "/", "service": "shop", "kept_by": "blog",
          "text": "shop names the route of blog, which keeps it: blog.local" }
    ]);
    assert_eq!(json["conflicts"], conflict);
    let page = bench.ask("GET /").await;
    assert!(page.contains("shop names the route of blog, which keeps it: blog.local"), "{page}");
}

#[tokio::test]
async fn the_counts_are_reported_under_names_that_stay() {
    let answer = bench().await.ask("GET /api/v1/counts").await;
    assert!(answer.contains("content-type: application/json"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let expected = serde_json::json!({
        "schema": "picluster/1", "counts": {
            "requests_failed": 3, "retries": {}, "retries_free": {}, "gave_up": {}, "holds": 0,
            "holds_ended": {}, "rejects": { "no_node_now": 1 }, "answers_cut": {},
            "node_events": {}, "ejections": {}, "access_log_lines_dropped": 0, "probes": {},
            "mdns": {
                "events": {}, "ignored": {}, "addresses_refused": {}, "restarts": {}, "records": 0,
            },
        },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), expected);
}

/// The markup of a page, without its own style and script.
fn markup(page: &str) -> &str {
    let (_, markup) = page.split_once("</style>").unwrap();
    markup.split_once("<script>").unwrap().0
}

#[tokio::test]
async fn the_page_escapes_what_came_from_the_wire() {
    let bench = bench().await;
    let why = "connection refused on <img src=x onerror=alert(1)>";
    let hostile = member("<script>", Health::Ejected, why);
    *hostile.pi.lock().unwrap() = Some(Pi { model: Some("<hr>".into()), ..Pi::default() });
    bench.publisher.publish(vec![hostile], Duration::ZERO);
    bench.journal.write(entry("<br>"));
    let page = bench.ask("GET /").await;
    let markup = markup(&page);
    for text in ["&lt;script&gt;", "&lt;img", "&lt;hr&gt;", "&lt;br&gt;"] {
        assert!(markup.contains(text), "{text}: {page}");
    }
    for tag in ["<script", "<img", "<hr", "<br"] {
        assert!(!markup.contains(tag), "{tag}: {page}");
    }
    assert!(page.contains("<dt>failed requests since the start</dt><dd>3</dd>"));
}

#[tokio::test]
async fn the_page_is_one_small_file_that_fetches_nothing_from_elsewhere() {
    let bench = bench().await;
    let four = ["ada", "bob", "cyd", "dee"].map(|name| member(name, Health::Up, "answers"));
    bench.publisher.publish(four.into(), Duration::ZERO);
    let page = bench.ask("GET /").await;
    assert!(page.len() < 40_000, "{}", page.len());
    for word in ["src=", "url(", "//", "@import"] {
        let found = page.match_indices(word).map(|(at, _)| &page[at..]);
        let foreign = found.filter(|rest| !rest.starts_with("// ")).collect::<Vec<_>>();
        assert!(
            foreign.iter().all(|rest| rest.starts_with("//www.w3.org/2000/svg")),
            "{foreign:#?}"
        );
    }
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\""));
}

#[test]
fn only_who_is_on_this_machine_is_offered_to_drain() {
    let (publisher, pool) = pool::channel();
    publisher.publish(vec![member("ada", Health::Up, "answers")], Duration::ZERO);
    let state = report::live(&admin(pool));
    let seen = |look| page::render(&state, look);
    assert!(!seen(page::Look::default()).contains("<button"));
    assert!(seen(page::Look { may_act: true, kiosk: false }).contains("<button"));
}

#[tokio::test]
async fn the_empty_page_teaches_the_next_command() {
    let page = bench().await.ask("GET /").await;
    assert!(page.contains("<section id=\"empty\">"), "{page}");
    assert!(page.contains("picluster web</code>"), "{page}");
}

fn entry(node: &str) -> JournalEntry {
    JournalEntry {
        number: 0,
        at: SystemTime::now(),
        node: node.into(),
        what: "joined (mDNS)",
        detail: String::new(),
        warning: false,
    }
}

/// Reads events until `what` holds of one; returns the time that this took.
async fn wait_for(stream: &mut TcpStream, what: impl Fn(&serde_json::Value) -> bool) -> Duration {
    let (began, mut seen) = (Instant::now(), String::new());
    loop {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await;
        let n = read.unwrap_or_else(|_| panic!("no event for {PATIENCE:?}: {seen}")).unwrap();
        assert!(began.elapsed() < PATIENCE, "no such event within {PATIENCE:?}: {seen}");
        assert!(n > 0, "the events ended: {seen}");
        seen += std::str::from_utf8(&bytes[..n]).unwrap();
        let states = seen.lines().filter_map(|line| line.strip_prefix("data: "));
        // The last one may not be whole yet.
        let states = states.filter_map(|state| serde_json::from_str(state).ok());
        if states.into_iter().any(|state| what(&state)) {
            return began.elapsed();
        }
    }
}

#[tokio::test]
async fn a_watcher_hears_at_once_of_nodes_and_of_the_journal() {
    let bench = bench().await;
    let mut watcher = TcpStream::connect(bench.addr).await.unwrap();
    watcher.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    wait_for(&mut watcher, |state| state["nodes"].as_array().is_some_and(Vec::is_empty)).await;
    bench.publisher.publish(vec![member("ada", Health::Up, "answers")], Duration::ZERO);
    bench.journal.write(entry("ada"));
    let told = wait_for(&mut watcher, |state| {
        state["nodes"][0]["name"] == "ada" && state["journal"][0]["what"] == "joined (mDNS)"
    });
    // The promise is "at once" and not "with the next second's figures". An event needs milliseconds,
    // so a second is enough on a busy machine too.
    assert!(told.await < Duration::from_secs(1));
    wait_for(&mut watcher, |state| state["nodes"][0]["beats"] == "i").await;
}

#[tokio::test]
async fn a_watcher_that_was_slow_hears_only_the_newest() {
    let (publisher, pool) = pool::channel();
    let admin = admin(pool);
    let mut body = events::events(&admin).into_body();
    tokio::spawn(sample(admin.clone()));
    let mut next = async || {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        String::from_utf8(frame.to_vec()).unwrap()
    };
    assert!(next().await.starts_with("retry: 1000\nid: 1\nevent: state\ndata: {"));
    for name in ["ada", "bob", "cyd"] {
        publisher.publish(vec![member(name, Health::Up, "answers")], Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(next().await.contains("\"name\":\"cyd\""));
}

#[tokio::test]
async fn watchers_leave_room_for_others() {
    let (_publisher, pool) = pool::channel();
    let admin = Admin { live: Live::new(16), ..admin(pool) };
    let mut watchers: Vec<_> = (0..14).map(|_| events::events(&admin)).collect();
    assert!(watchers.iter().all(|answer| answer.status() == StatusCode::OK));
    assert_eq!(events::events(&admin).status(), StatusCode::SERVICE_UNAVAILABLE);
    watchers.pop();
    assert_eq!(events::events(&admin).status(), StatusCode::OK);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let bench = bench().await;
    assert!(bench.ask("DELETE /api/v1/nodes").await.starts_with("HTTP/1.1 405"));
    assert!(bench.ask("GET /nothing").await.starts_with("HTTP/1.1 404"));
}

//! The web node as its clients meet it.

use std::net::SocketAddr;
use std::time::Duration;

use picluster::cluster::config::{
    AppConfig, AppHealth, DirConfig, DiscoveryConfig, Serves, WebConfig,
};
use picluster::cluster::node::Offer;
use picluster::os::listen::ListenError;
use picluster::os::shutdown::{self, Trigger};
use picluster::web::Web;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::lab::PATIENCE;

struct Ada {
    addr: SocketAddr,
    trigger: Trigger,
    goodbye: oneshot::Receiver<()>,
    served: JoinHandle<anyhow::Result<()>>,
}

fn config(listen: &str) -> WebConfig {
    WebConfig {
        listen: listen.parse().unwrap(),
        name: Some("ada".into()),
        id: None,
        drain: Duration::from_secs(5),
        offer: Offer::default(),
        serves: Serves::Name,
        discovery: DiscoveryConfig {
            cluster: "default".into(),
            interfaces: Vec::new(),
            ipv6: false,
            loopback: true,
        },
    }
}

fn start(config: &WebConfig) -> Ada {
    let web = Web::bind(config).unwrap();
    let mut addr = web.addr();
    addr.set_ip(if addr.is_ipv6() { "::1" } else { "127.0.0.1" }.parse().unwrap());
    let (trigger, shutdown) = shutdown::channel();
    let (said, goodbye) = oneshot::channel();
    let served = tokio::spawn(web.serve(shutdown, async move { said.send(()).unwrap() }));
    Ada { addr, trigger, goodbye, served }
}

/// Sends one request on a kept connection and reads its answer.
async fn ask(stream: &mut TcpStream, line: &str, headers: &str) -> (String, String) {
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_until(stream, "\r\n\r\n").await.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let length = if line.starts_with("HEAD") { 0 } else { length.parse().unwrap() };
    let mut body = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.expect("the whole body comes").unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// Reads until the text ends with `end`. The bytes after it stay in the stream.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let all = async {
        while !bytes.ends_with(end.as_bytes()) {
            bytes.push(stream.read_u8().await.unwrap());
        }
    };
    let is_read = timeout(PATIENCE, all).await.is_ok();
    let text = String::from_utf8(bytes).unwrap();
    assert!(is_read, "no {end:?} within {PATIENCE:?} in {text:?}");
    text
}

async fn get(addr: SocketAddr, line: &str, headers: &str) -> (String, String) {
    ask(&mut TcpStream::connect(addr).await.unwrap(), line, headers).await
}

#[tokio::test]
async fn curl_gets_exactly_the_name_and_a_newline() {
    let ada = start(&config("[::]:0"));
    let (head, body) = get(ada.addr, "GET /", "Accept: */*\r\n").await;
    assert_eq!(body, "ada\n");
    assert!(head.starts_with("http/1.1 200"));
    for line in ["content-type: text/plain", "cache-control: no-store", "x-picluster-node: ada\r"] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert_eq!(get(ada.addr, "GET /?x=1", "").await.1, "ada\n");
}

#[tokio::test]
async fn without_a_name_curl_gets_the_bare_hostname() {
    let ada = start(&WebConfig { name: None, ..config("127.0.0.1:0") });
    let hostname = gethostname::gethostname().into_string().unwrap();
    let (head, body) = get(ada.addr, "GET /", "").await;
    assert_eq!(body, format!("{hostname}\n"));
    let prefix = format!("x-picluster-node: {}-", hostname.to_ascii_lowercase());
    assert!(head.contains(&prefix), "{head}");
}

#[tokio::test]
async fn a_browser_gets_the_page_and_a_program_the_facts() {
    let ada = start(&config("127.0.0.1:0"));
    let (head, page) = get(ada.addr, "GET /", "Accept: text/html,*/*;q=0.8\r\n").await;
    assert!(head.contains("content-type: text/html"), "{head}");
    assert!(page.contains(">ada</h1>"), "{page}");
    let headers = "Accept: application/json\r\nVia: 1.1 pc-lb\r\n";
    let (_, facts) = get(ada.addr, "GET /", headers).await;
    let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
    assert_eq!(facts["name"], "ada");
    assert_eq!(facts["via"], "pc-lb");
    assert_eq!(facts["requests"], 2);
    assert_eq!(facts["address"], ada.addr.to_string());
}

#[tokio::test]
async fn head_has_the_same_head_and_no_body() {
    let ada = start(&config("127.0.0.1:0"));
    let mut stream = TcpStream::connect(ada.addr).await.unwrap();
    let (head, _) = ask(&mut stream, "HEAD /", "").await;
    assert!(head.contains("content-length: 4\r"), "{head}");
    let (head, body) = ask(&mut stream, "GET /", "").await;
    assert!(head.contains("content-length: 4\r"));
    assert_eq!(body, "ada\n");
}

#[tokio::test]
async fn any_method_is_answered_after_its_body_was_read() {
    let ada = start(&config("127.0.0.1:0"));
    let mut stream = TcpStream::connect(ada.addr).await.unwrap();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let body = format!("Content-Length: 300000\r\n\r\n{}", "x".repeat(299_998));
        let (head, body) = ask(&mut stream, &format!("{method} /"), &body).await;
        assert!(head.starts_with("http/1.1 200") && body == "ada\n", "{method}: {head}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_trickles_in_is_not_waited_for() {
    let ada = start(&config("127.0.0.1:0"));
    for begun in
        ["GET / HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(ada.addr).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let began = Instant::now();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(began.elapsed() < Duration::from_secs(20), "{begun}");
        }
        assert!(began.elapsed() >= Duration::from_secs(10), "{begun}");
    }
}

#[tokio::test]
async fn another_path_is_a_404_in_one_line() {
    let ada = start(&config("127.0.0.1:0"));
    let (head, body) = get(ada.addr, "GET /favicon.ico", "").await;
    assert!(head.starts_with("http/1.1 404") && head.contains("cache-control: no-store"));
    assert_eq!(body.lines().count(), 1);
}

#[tokio::test]
async fn health_says_who_and_how_and_echoes_a_safe_nonce() {
    let ada = start(&config("127.0.0.1:0"));
    let (head, body) = get(ada.addr, "GET /.picluster/health?nonce=a1b2", "").await;
    assert!(head.starts_with("http/1.1 200") && head.contains("application/json"), "{head}");
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(health["schema"], "picluster/1");
    assert_eq!(health["state"], "up");
    assert_eq!(health["nonce"], "a1b2");
    assert_eq!(health["name"], "ada");
    assert_eq!(health["id"].as_str().unwrap().len(), 13);
    assert_eq!(health["boot"].as_str().unwrap().len(), 16);
    let long = "x".repeat(65);
    for query in ["", "?", "?nonce=%0d%0a", "?nonce=%ff", &format!("?nonce={long}")] {
        let line = format!("GET /.picluster/health{query}");
        let (head, body) = get(ada.addr, &line, "").await;
        assert!(head.starts_with("http/1.1 200"), "{query}");
        assert!(!body.contains("nonce"), "{query}: {body}");
    }
}

#[tokio::test]
async fn a_stop_is_announced_before_the_port_closes_and_loses_nothing() {
    let mut ada = start(&config("127.0.0.1:0"));
    let mut idle = TcpStream::connect(ada.addr).await.unwrap();
    ask(&mut idle, "GET /", "").await;
    let asked = Instant::now();
    ada.trigger.request();
    (&mut ada.goodbye).await.unwrap();

    let (head, body) = get(ada.addr, "GET /.picluster/health", "").await;
    assert!(head.starts_with("http/1.1 503") && body.contains("\"draining\""), "{head}{body}");
    // New and kept connections are still served, get the news of the end, and are closed after it.
    let (head, body) = ask(&mut idle, "GET /", "").await;
    assert_eq!(body, "ada\n");
    for line in ["http/1.1 200", "connection: close", "x-picluster-state: draining"] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    while TcpStream::connect(ada.addr).await.is_ok() {
        assert!(asked.elapsed() < PATIENCE, "the port is still open after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(asked.elapsed() >= Duration::from_millis(1500), "{:?}", asked.elapsed());
    ada.served.await.unwrap().unwrap();
    // The program promises to end within its drain, which is 5 s here, and needs 2 s of it.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn an_idle_client_delays_no_end_and_a_stuck_one_delays_it_for_the_drain() {
    let ada = start(&WebConfig { drain: Duration::from_millis(300), ..config("127.0.0.1:0") });
    let mut idle = TcpStream::connect(ada.addr).await.unwrap();
    ask(&mut idle, "GET /", "").await;
    let mut stuck = TcpStream::connect(ada.addr).await.unwrap();
    stuck.write_all(b"GET / HTTP/1.1\r\nHos").await.unwrap();
    let asked = Instant::now();
    ada.trigger.request();
    ada.served.await.unwrap().unwrap();
    // Twice the 2.3 s that the goodbye and the drain take; nothing else ends the stuck client in time.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn any_address_is_both_families() {
    let ada = start(&config("[::]:0"));
    let v4 = SocketAddr::from(([127, 0, 0, 1], ada.addr.port()));
    let (_, facts) = get(v4, "GET /", "Accept: application/json\r\n").await;
    assert!(facts.contains(&format!("\"127.0.0.1:{}\"", v4.port())), "{facts}");
    assert_eq!(get(ada.addr, "GET /", "").await.1, "ada\n");
}

#[tokio::test]
async fn a_port_in_use_names_the_port_the_owner_and_the_fix() {
    let ada = start(&config("[::]:0"));
    let port = ada.addr.port();
    let error = Web::bind(&config(&format!("[::]:{port}"))).unwrap_err();
    let error = error.downcast_ref::<ListenError>().expect("a typed error").to_string();
    for part in [format!("port {port} "), format!("pid {}", std::process::id()), "--listen".into()]
    {
        assert!(error.contains(&part), "{part}: {error}");
    }
}

#[tokio::test]
async fn a_head_that_is_longer_than_any_is_refused_before_it_is_whole() {
    let ada = start(&config("[::]:0"));
    let mut stream = TcpStream::connect(ada.addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let line = format!("X: {}\r\n", "a".repeat(4000));
    let mut sent = 0;
    while sent < 400_000 && stream.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
    }
    let mut answer = Vec::new();
    // Superfluous bytes may reset the connection behind the answer.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(sent < 400_000 || !answer.is_empty(), "nobody objects");
    let mut other = TcpStream::connect(ada.addr).await.unwrap();
    assert_eq!(ask(&mut other, "GET /", "").await.1, "ada\n");
}

/// Removes a folder or a link of this name at the end, also if the test fails.
struct Gone(&'static str);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(place(self.0));
    }
}

fn place(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("picluster-{name}-{}", std::process::id()))
}

/// A node that serves a folder with a file, an index, a hidden file and two links.
fn folder(name: &str, follow_symlinks: bool) -> Ada {
    let folder = place(name);
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::create_dir_all(folder.join("strange/index.html")).unwrap();
    let put = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
    put("index.html", "<p>home");
    put("sub/index.html", "<p>sub");
    put("ten.txt", "0123456789");
    put("app.js", "let a = 1;");
    put("app.js.gz", "gz");
    put("app.js.br", "br");
    put(".env", "secret");
    for (target, link) in [("/etc/passwd", "out"), ("ten.txt", "in"), ("sub", "linked")] {
        let _ = std::os::unix::fs::symlink(target, folder.join(link));
    }
    let serves = Serves::Dir(DirConfig { folder, follow_symlinks });
    start(&WebConfig { serves, ..config("127.0.0.1:0") })
}

#[tokio::test]
async fn a_folder_is_served_with_types_ranges_and_tags() {
    let _gone = Gone("files");
    let ada = folder("files", false);
    let (head, body) = get(ada.addr, "GET /", "").await;
    assert_eq!(body, "<p>home");
    assert!(head.contains("content-type: text/html; charset=utf-8\r"), "{head}");
    assert_eq!(get(ada.addr, "GET /sub/?x", "").await.1, "<p>sub");
    let (head, _) = get(ada.addr, "GET /sub", "").await;
    assert!(head.starts_with("http/1.1 301") && head.contains("location: ./sub/\r"), "{head}");

    let (head, body) = get(ada.addr, "GET /ten.txt", "Range: bytes=2-4\r\n").await;
    assert!(head.starts_with("http/1.1 206") && body == "234", "{head}{body}");
    assert!(head.contains("content-range: bytes 2-4/10\r"), "{head}");
    let (head, _) = get(ada.addr, "GET /ten.txt", "Range: bytes=10-\r\n").await;
    assert!(head.starts_with("http/1.1 416") && head.contains("bytes */10"), "{head}");
    for range in ["0-99999999999999999999999999", "-99999999999999999999"] {
        let (head, body) =
            get(ada.addr, "GET /ten.txt", &format!("Range: bytes={range}\r\n")).await;
        assert!(head.starts_with("http/1.1 206") && body == "0123456789", "{head}{body}");
    }
    let (head, body) = get(ada.addr, "HEAD /ten.txt", "").await;
    assert!(head.contains("content-length: 10\r") && body.is_empty(), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (head, _) = get(ada.addr, "GET /ten.txt", &format!("If-None-Match: {tag}\r\n")).await;
    assert!(head.starts_with("http/1.1 304"), "{head}");
    let (head, body) = get(ada.addr, "GET /ten.txt", "If-Match: \"other\"\r\n").await;
    assert!(head.starts_with("http/1.1 412") && !body.contains("0123"), "{head}{body}");
    let (_, body) = get(ada.addr, "GET /ten.txt", &format!("If-Match: {tag}\r\n")).await;
    assert_eq!(body, "0123456789");

    for (accepted, body) in [("gzip", "gz"), ("gzip, br", "br"), ("br;q=0", "let a = 1;")] {
        let accept = format!("Accept-Encoding: {accepted}\r\n");
        let (head, got) = get(ada.addr, "GET /app.js", &accept).await;
        assert_eq!(got, body);
        assert!(head.contains("text/javascript") && head.contains("vary: accept-encoding"));
    }
    let (head, _) = get(ada.addr, "GET /sub?a=1", "").await;
    assert!(head.contains("location: ./sub/?a=1\r"), "{head}");
    let mut stream = TcpStream::connect(ada.addr).await.unwrap();
    for method in ["POST", "PUT", "DELETE"] {
        // The node read the body, so the connection goes on.
        let head =
            format!("{method} /ten.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
        let said = read_until(&mut stream, "only GET and HEAD\n").await;
        assert!(said.starts_with("HTTP/1.1 405") && said.contains("allow: GET, HEAD"), "{said}");
    }
    let (_, health) = get(ada.addr, "GET /.picluster/health", "").await;
    assert!(health.contains(r#""state":"up""#), "{health}");
}

#[tokio::test]
async fn no_way_leads_out_of_a_folder_nor_to_what_is_hidden() {
    let _gone = [Gone("outside"), Gone("followed")];
    let ada = folder("outside", false);
    for path in [
        "/.env",
        "/%2eenv",
        "/../x",
        "/sub/..%2f..%2fx",
        "/sub/%2e%2e/ten.txt",
        "/out",
        "/nothing",
        "/.picluster/x",
        "//etc/passwd",
        "/sub/..;/.env",
        "/ten.txt/",
        "/ten.txt%00",
        "/%00",
        "/%2fetc%2fpasswd",
        "/sub%2findex.html",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%252fx",
        "/in",
        "/linked/",
        "/linked/index.html",
        "/strange/",
        "http://x/../etc/passwd",
    ] {
        let (head, _) = get(ada.addr, &format!("GET {path}"), "").await;
        assert!(head.starts_with("http/1.1 404"), "{path}: {head}");
    }
    let ada = folder("followed", true);
    assert!(get(ada.addr, "GET /out", "").await.1.contains("root:"));
    assert_eq!(get(ada.addr, "GET /in", "").await.1, "0123456789");
    assert_eq!(get(ada.addr, "GET /linked/", "").await.1, "<p>sub");
    assert!(get(ada.addr, "GET /.env", "").await.0.starts_with("http/1.1 404"));
}

#[tokio::test]
async fn a_folder_that_is_a_link_shows_what_the_link_leads_to_now() {
    let (old, new, link) = (place("old"), place("new"), place("current"));
    let _gone = [Gone("old"), Gone("new"), Gone("current")];
    for (folder, text) in [(&old, "old"), (&new, "new")] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("index.html"), text).unwrap();
    }
    std::os::unix::fs::symlink(&old, &link).unwrap();
    let serves = Serves::Dir(DirConfig { folder: link.clone(), follow_symlinks: false });
    let ada = start(&WebConfig { serves, ..config("127.0.0.1:0") });
    assert_eq!(get(ada.addr, "GET /", "").await.1, "old");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&new, &link).unwrap();
    assert_eq!(get(ada.addr, "GET /", "").await.1, "new");
    std::fs::remove_file(&link).unwrap();
    assert!(get(ada.addr, "GET /", "").await.0.starts_with("http/1.1 404"));
}

const BIG_BYTES: u64 = 64 * 1024 * 1024;

/// Requests the big file. Returns the connection after its head was read.
async fn big(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.contains(&format!("content-length: {BIG_BYTES}\r")), "{head}");
    stream
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_never_ends_as_another_length() {
    let _gone = Gone("changing");
    let ada = folder("changing", false);
    let path = place("changing").join("big");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(BIG_BYTES).unwrap();
    let received = async |mut stream: TcpStream| {
        let (mut bytes, mut piece) = (0, vec![0; 64 * 1024]);
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            bytes += read as u64;
        }
        bytes
    };
    // The file is replaced, as editors and rsync do it: the old one is sent to its end.
    let stream = big(ada.addr).await;
    std::fs::write(place("changing").join("other"), "short").unwrap();
    std::fs::rename(place("changing").join("other"), &path).unwrap();
    assert_eq!(received(stream).await, BIG_BYTES);
    assert_eq!(get(ada.addr, "GET /big", "").await.1, "short");
    // A longer file is sent with the promised length. A shorter one breaks the connection, so that
    // nobody takes it for whole.
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(BIG_BYTES).unwrap();
    let stream = big(ada.addr).await;
    file.set_len(2 * BIG_BYTES).unwrap();
    assert_eq!(received(stream).await, BIG_BYTES);
    file.set_len(BIG_BYTES).unwrap();
    let stream = big(ada.addr).await;
    file.set_len(BIG_BYTES / 2).unwrap();
    assert!(received(stream).await < BIG_BYTES);
}

#[tokio::test]
async fn big_files_that_nobody_takes_cost_a_piece_each() {
    let folder = place("big");
    let _gone = Gone("big");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::File::create(folder.join("big")).unwrap().set_len(BIG_BYTES).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut node = std::process::Command::new(env!("CARGO_BIN_EXE_picluster"))
        .args(["web", "--loopback", "--drain", "0s", "--log-level", "error", "--dir"])
        .arg(&folder)
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .spawn()
        .unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let started = Instant::now();
    while TcpStream::connect(addr).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "the node does not listen after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let resident_kib = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = resident_kib();
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(big(addr).await);
    }
    let more = resident_kib() - before;
    crate::lab::say(&format!("100 clients that take nothing of a big file: {more} KiB"));
    node.kill().unwrap();
    node.wait().unwrap();
    assert!(more < 100 * 48, "{more} KiB");
}

/// A node in front of an application that the test plays, one connection at a time.
async fn front() -> (Ada, tokio::net::TcpListener) {
    let app = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serves = Serves::App(AppConfig {
        ip: None,
        port: Some(app.local_addr().unwrap().port()),
        health: AppHealth::Tcp,
        command: Vec::new(),
        front: true,
        any_control_port: false,
    });
    (start(&WebConfig { serves, ..config("127.0.0.1:0") }), app)
}

/// The next connection with a request, and the head of that request.
async fn heard(app: &tokio::net::TcpListener) -> (TcpStream, String) {
    loop {
        let accepted = timeout(PATIENCE, app.accept()).await;
        let (mut stream, _) = accepted.expect("the front connects to its application").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                // The node looked whether the application listens.
                Err(_) => break,
            }
        }
        if !head.is_empty() {
            return (stream, String::from_utf8(head).unwrap().to_ascii_lowercase());
        }
    }
}

#[tokio::test]
async fn a_front_passes_requests_on_and_answers_back_without_what_is_of_one_hop() {
    let (ada, app) = front().await;
    let mut client = TcpStream::connect(ada.addr).await.unwrap();
    let request = "POST /a?b HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 5\r\n\
        Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n\r\nhello";
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut stream, head) = heard(&app).await;
    assert!(head.starts_with("post /a?b http/1.1\r"), "{head}");
    for line in
        ["host: x\r", "x-forwarded-for: 1.2.3.4\r", "content-length: 5\r", "connection: close\r"]
    {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert!(!head.contains("x-mine") && !head.contains("keep-alive"), "{head}");
    let mut body = [0; 5];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"hello");
    let answer = b"HTTP/1.1 201 Made\r\nX-App: 1\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    stream.write_all(b"3\r\none\r\n").await.unwrap();
    // The beginning arrives before the end is sent.
    let got = read_until(&mut client, "one\r\n").await;
    assert!(
        got.starts_with("HTTP/1.1 201") && got.contains("x-app: 1") && !got.contains("keep-alive")
    );
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut end = [0; 5];
    client.read_exact(&mut end).await.unwrap();
    assert_eq!(&end, b"0\r\n\r\n");
}

#[tokio::test]
async fn a_front_refuses_an_answer_of_two_lengths_and_promises_no_lost_trailers() {
    let (ada, app) = front().await;
    let answered = async |answer: &[u8], asked: &str| {
        let mut client = TcpStream::connect(ada.addr).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{asked}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut stream, _) = heard(&app).await;
        stream.write_all(answer).await.unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        got.to_ascii_lowercase()
    };
    let both = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\n";
    let got = answered(both, "").await;
    assert!(got.starts_with("http/1.1 502") && got.contains("not valid http"), "{got}");
    let trailers = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n";
    let got = answered(trailers, "").await;
    assert!(got.contains("abc") && !got.contains("trailer:") && !got.contains("x-sum"), "{got}");
    let got = answered(trailers, "TE: trailers\r\n").await;
    assert!(got.contains("trailer: x-sum\r") && got.contains("x-sum: 6\r"), "{got}");
}

#[tokio::test]
async fn a_front_lets_a_web_socket_through_both_ways() {
    let (ada, app) = front().await;
    let mut client = TcpStream::connect(ada.addr).await.unwrap();
    let request =
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(request).await.unwrap();
    let (mut stream, head) = heard(&app).await;
    assert!(
        head.contains("upgrade: websocket\r") && head.contains("connection: upgrade\r"),
        "{head}"
    );
    let answer = b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: websocket\r"), "{head}");
    let mut byte = [0];
    client.write_all(b"a").await.unwrap();
    stream.read_exact(&mut byte).await.unwrap();
    stream.write_all(b"b").await.unwrap();
    client.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"b");
}

#[tokio::test]
async fn a_front_says_that_nobody_is_behind_it_and_keeps_its_own_paths() {
    let (ada, app) = front().await;
    drop(app);
    let (head, body) = get(ada.addr, "GET /", "").await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert!(head.contains("x-picluster-state: app-down\r"), "{head}");
    assert!(body.starts_with("the application on this node takes no connection"), "{body}");
    assert!(get(ada.addr, "GET /.picluster/x", "").await.0.starts_with("http/1.1 404"));
    // From then on its health answer says so too.
    assert!(get(ada.addr, "GET /.picluster/health", "").await.1.contains("app-down"));
}

/// A POST from a program of this machine. Returns the head and the body of the answer.
async fn post(addr: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
        addr.port()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_node_drained_by_hand_says_so_and_goes_on_until_it_is_taken_back() {
    let ada = start(&config("[::]:0"));
    let v4 = SocketAddr::from(([127, 0, 0, 1], ada.addr.port()));
    for addr in [v4, ada.addr] {
        for _ in 0..2 {
            let (head, body) = post(addr, "/.picluster/drain").await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(body.contains("\"name\":\"ada\",\"state\":\"draining\""), "{body}");
        }
        let (head, body) = get(addr, "GET /.picluster/health", "").await;
        assert!(head.starts_with("http/1.1 503") && body.contains("\"draining\""), "{head} {body}");
        let (head, body) = get(addr, "GET /", "").await;
        assert!(head.contains("x-picluster-state: draining") && body == "ada\n", "{head} {body}");
        let (_, body) = post(addr, "/.picluster/undrain").await;
        assert!(body.contains("\"state\":\"up\""), "{body}");
        let (head, _) = get(addr, "GET /", "").await;
        assert!(head.starts_with("http/1.1 200") && !head.contains("draining"), "{head}");
    }
    assert!(get(v4, "GET /.picluster/drain", "").await.0.starts_with("http/1.1 405"));
    assert!(get(v4, "POST /.picluster/drain", "").await.0.starts_with("http/1.1 403"));
}

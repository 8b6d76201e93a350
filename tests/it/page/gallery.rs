//! Every state, board and length of name at once, as no real cluster has them: the page shows a
//! pool made by hand, in this process. It is photographed in both colour schemes, on a phone, a
//! screen and a projector.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use picluster::admin::accept::Accept;
use picluster::admin::serve::serve as serve_pages;
use picluster::admin::{self, Admin, Live};
use picluster::cluster::health::Health;
use picluster::cluster::node::{NodeId, Offer};
use picluster::cluster::pi::Pi;
use picluster::cluster::pool::{self, Member, Share};
use picluster::os::listen;
use picluster::os::shutdown;
use picluster::telemetry::journal::{Journal, JournalEntry};
use serde_json::json;

use super::browser::Browser;
use crate::sample;

/// The page runs this long, so that there is something in the heartbeat bars.
const ALIVE: Duration = Duration::from_secs(8);

#[test]
#[ignore = "slow tier: a real browser"]
fn every_state_is_distinguishable_on_every_screen() {
    let Some(browser) = Browser::here() else { return };
    let (sender, addr) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            sender.send(serve()).expect("the test waits");
            std::future::pending::<()>().await;
        });
    });
    let addr = addr.recv().expect("it serves");
    let url = format!("http://{addr}/");
    browser.open(&url, &json!({}));
    browser.run(&format!("await page.waitForTimeout({})", ALIVE.as_millis()));
    for scheme in ["light", "dark"] {
        for (width, height) in [(360, 740), (800, 900), (1280, 800)] {
            let viewport = json!({ "width": width, "height": height });
            browser.open(&url, &json!({ "viewport": viewport, "colorScheme": scheme }));
            browser.wait_until("document.getElementById('page').classList.contains('alive')");
            browser.run("await page.waitForTimeout(1200)");
            browser.photograph(&format!("gallery-{width}-{scheme}"));
            browser.assert_in_order(&url);
        }
        let viewport = json!({ "width": 1920, "height": 1080 });
        browser
            .open(&format!("{url}?kiosk"), &json!({ "viewport": viewport, "colorScheme": scheme }));
        browser.run("await page.waitForTimeout(1200)");
        browser.photograph(&format!("kiosk-1920-{scheme}"));
        browser.assert_in_order(&url);
    }
    // The browser comes over loopback, so there are buttons, and each wants a second click.
    browser.open(&url, &json!({}));
    browser.run("await page.route('**/drain', route => route.fulfill({ status: 409, json: { error: 'the last node' } }))");
    browser.run("await page.locator('tr[data-name=ada] button', { hasText: /^Drain$/ }).click()");
    browser.run(
        "await page.locator('tr[data-name=ada] button', { hasText: 'Really drain?' }).click()",
    );
    browser.run("await page.locator('tr[data-name=ada] [role=alert]', { hasText: 'the last node' }).waitFor()");
    browser.run("await page.locator('tr[data-name=pi-draining] button', { hasText: /^Undrain$/ }).waitFor()");
}

/// Serves the page for a pool that lives as long as the test program.
fn serve() -> SocketAddr {
    let (publisher, pool) = pool::channel();
    let (trigger, shutdown) = shutdown::channel();
    let journal = Journal::default();
    let admin = Admin {
        pool: pool.clone(),
        cluster: "class-3b".into(),
        started: tokio::time::Instant::now() - Duration::from_secs(11_100),
        shutdown,
        orders: tokio::sync::mpsc::channel(1).0,
        counts: Arc::default(),
        journal: journal.clone(),
        live: Live::new(256),
    };
    let now = admin.started.elapsed();
    publisher.publish(members(now), now);
    for (node, what, detail, warning) in [
        ("ada", "joined (mDNS)", "", false),
        ("raspberrypi-b2fkq7", "lost", "no answer within 250 ms on 10.0.0.4:8080, 2 tries", true),
        ("eve", "left: goodbye", "", false),
    ] {
        let (node, detail, at) = (node.into(), detail.into(), SystemTime::now());
        journal.write(JournalEntry { number: 0, at, node, what, detail, warning });
    }
    tokio::spawn(admin::sample(admin.clone()));
    tokio::spawn(async move {
        let _kept = (publisher, trigger);
        let mut rng = fastrand::Rng::with_seed(7);
        loop {
            tokio::time::sleep(Duration::from_millis(90)).await;
            for (at, member) in pool.borrow().members().iter().enumerate() {
                answer(member, at, &mut rng);
            }
        }
    });
    let listener = listen::bind("127.0.0.1:0".parse().expect("an address"), "--admin");
    let listener = listener.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let accept = Accept::new(listener, 64).expect("a runtime runs");
    tokio::spawn(serve_pages(accept, admin::router(admin), std::future::pending()));
    addr
}

fn answer(member: &Member, at: usize, rng: &mut fastrand::Rng) {
    let counters = &member.counters;
    counters.inflight.store(rng.u32(0..4), Relaxed);
    if member.health == Health::Up && rng.u8(0..10) < 7 {
        let took = Duration::from_micros(rng.u64(400..2500) * (at as u64 + 1));
        counters.latency.add(took);
        counters.requests.fetch_add(1, Relaxed);
    } else if member.health == Health::Ejected && rng.u8(0..40) == 0 {
        counters.failures.fetch_add(1, Relaxed);
    }
}

fn members(now: Duration) -> Vec<Member> {
    let well = Pi {
        model: Some("Raspberry Pi 4 Model B Rev 1.4".into()),
        temperature_c: Some(48.3),
        under_voltage: Some(false),
        under_voltage_since_boot: Some(false),
        throttled: Some(false),
        throttled_since_boot: Some(false),
        speed: Some(1.0),
    };
    let hot = Pi {
        model: Some("Raspberry Pi 3 Model B Plus Rev 1.3".into()),
        temperature_c: Some(84.7),
        under_voltage: Some(true),
        throttled: Some(true),
        speed: Some(0.5),
        ..well.clone()
    };
    let tired = Pi { under_voltage_since_boot: Some(true), ..well.clone() };
    let slow = Share::Quarters(2);
    let all = [
        ("ada", Health::Up, "answered the last probe", Share::WHOLE, Some(well.clone())),
        ("bob", Health::Up, "answered the last probe", Share::WHOLE, Some(tired)),
        ("pi-hot", Health::Up, "answered the last probe", slow.clone(), Some(hot)),
        ("pi-back", Health::Up, "answers again; gets 50 % of its share for now", slow, None),
        (
            "raspberrypi-with-the-longest-name-that-anybody-would-give-to-it",
            Health::Starting,
            "just seen, has not answered a probe yet",
            Share::WHOLE,
            None,
        ),
        (
            "pi-draining",
            Health::Draining,
            "says that it is draining",
            Share::WHOLE,
            Some(well.clone()),
        ),
        (
            "pi-suspect",
            Health::Suspect,
            "no answer within 250 ms on 10.0.0.7:8080, 2 tries",
            Share::WHOLE,
            Some(well),
        ),
        (
            "pi-ejected",
            Health::Ejected,
            "connection refused on 192.168.1.31:8080, 3 tries",
            Share::WHOLE,
            None,
        ),
        (
            "raspberrypi-b2fkq7",
            Health::Down,
            "no answer within 250 ms on 10.0.0.4:8080, 14 tries",
            Share::WHOLE,
            None,
        ),
    ];
    let member = |(at, (name, health, why, share, pi)): (usize, (&str, _, &str, _, _))| {
        let endpoint = SocketAddr::from(([10, 0, 0, at as u8 + 1], 8080));
        let mut member = sample::member(at as u64, endpoint);
        let id = format!("b2fkq7aaaaaa{}", char::from(b'a' + at as u8));
        member.node.id = NodeId::new(&id).expect("letters and digits are legal");
        member.node.name = name.into();
        if name == "bob" {
            let hosts = vec!["blog.local".into()];
            let offer = Offer { service: "blog".into(), hosts, ..Offer::default() };
            member.node.offer = Arc::new(offer);
        }
        Member {
            health,
            why: why.into(),
            since: now.saturating_sub(Duration::from_secs(7 + 400 * at as u64)),
            advertised: health != Health::Down,
            share,
            pi: Arc::new(std::sync::Mutex::new(pi)),
            ..member
        }
    };
    all.into_iter().enumerate().map(member).collect()
}

//! The pages as people meet them: a real browser in front of a real cluster, and 200 watchers.
//!
//! The tests keep pictures of all pages under `target/screenshots`; `docs/page.png` is one of them
//! at a smaller size.

mod browser;
mod gallery;

use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::{Lab, PATIENCE, Process, wait_until};
use browser::Browser;

/// The time from the balancer's knowledge to the page. The bar is 1 s; the rest is for a busy
/// machine.
const SEEN_MAX: Duration = Duration::from_secs(3);

/// The most that 200 watchers may add to the balancer's resident memory.
const WATCHERS_KIB_MAX: u64 = 10 * 1024;

fn phone() -> Value {
    json!({ "viewport": { "width": 360, "height": 740 } })
}

#[test]
#[ignore = "slow tier: a real browser"]
fn tiles_join_leave_and_drain_before_ones_eyes() {
    let Some(lab) = Lab::under_load("tiles") else { return };
    let lb = lab.lb();
    lb.wait_until_it_answers();
    let Some(browser) = Browser::on(&lab.client()) else { return };
    browser.open(&lb.admin("/"), &json!({}));
    browser.wait_until("document.getElementById('empty').checkVisibility()");
    browser.photograph("empty-1280-light");
    browser.assert_in_order(&lb.admin(""));
    let nodes: Vec<Process> = ["ada", "bob", "eve", "kim"]
        .iter()
        .map(|name| lab.pi(name).web().named().start())
        .collect();
    lb.wait_for_nodes(4);
    let all_up = "document.querySelectorAll('#nodes > tr.up').length === 4";
    let began = std::time::Instant::now();
    browser.wait_until(all_up);
    lab.figure("the page's way to 4 tiles", format!("{:?}", began.elapsed()), "1 s");
    assert!(began.elapsed() < SEEN_MAX);
    assert_eq!(browser.text("#failed dd"), "0");
    assert!(browser.text("#log").contains("joined (mDNS)"));
    assert!(browser.text("#said").contains("joined"), "a screen reader is told");

    let load = lab.client().load(&lb.url()).clients(2).pausing(Duration::from_millis(50)).start();
    browser.wait_until("document.querySelectorAll('.beats .a[d*=h]').length === 4");
    browser.wait_until(
        "[...document.querySelectorAll('[data-f=p99]')].every(p => p.innerText !== '-')",
    );
    browser.run("await page.mouse.move(0, 0); await page.waitForTimeout(12000)");
    browser.photograph("page-1280-light");
    browser.assert_in_order(&lb.admin(""));

    nodes[3].freeze();
    browser.wait_until("document.querySelector('tr[data-name=kim].down')");
    assert!(browser.text("tr[data-name=kim] [data-f=why]").contains("no answer"));
    nodes[3].thaw();
    nodes[2].sigterm();
    browser.wait_until("!document.querySelector('tr[data-name=eve]')");
    let log = browser.text("#log");
    assert!(log.contains("eve is draining") && log.contains("eve left: goodbye"), "{log}");
    let served = "return await page.innerText('#served')";
    assert_ne!(browser.run(served), "0");
    nodes[1].kill9();
    browser.wait_until("document.querySelector('tr[data-name=bob]:is(.ejected, .down)')");
    let why = browser.text("tr[data-name=bob] [data-f=why]");
    assert!(why.contains(&format!("connection refused on {}", nodes[1].endpoint())), "{why}");
    browser.photograph("faults-1280-light");
    load.stop();
    browser.assert_in_order(&lb.admin(""));
    // The page offers its buttons on the balancer's machine alone.
    assert_eq!(browser.run("return await page.locator('button').count()"), 0);
}

#[test]
#[ignore = "slow tier: a real browser"]
fn a_balancer_that_falls_silent_is_said_to_be_and_the_page_finds_it_again() {
    let Some(lab) = Lab::new("silent") else { return };
    let lb = lab.lb();
    lb.wait_until_it_answers();
    let Some(browser) = Browser::on(&lab.client()) else { return };
    browser.open(&lb.admin("/"), &json!({}));
    lb.process().kill9();
    browser.wait_until("document.getElementById('line').checkVisibility()");
    assert!(browser.text("#line").contains("No word from the balancer"));
    lb.process().restart();
    browser.wait_until("!document.getElementById('line').checkVisibility()");
}

#[test]
#[ignore = "slow tier: a real browser"]
fn the_page_polls_where_events_do_not_come_through() {
    let Some(lab) = Lab::new("polls") else { return };
    let lb = lab.lb();
    lb.wait_until_it_answers();
    let Some(browser) = Browser::on(&lab.client()) else { return };
    browser.open("about:blank", &json!({}));
    browser.run("await page.route('**/events', route => route.abort())");
    browser.run(&format!("await page.goto('{}')", lb.admin("/")));
    lab.pi("ada").web().start();
    browser.wait_until("document.querySelectorAll('#nodes > tr.up').length === 1");
}

#[test]
#[ignore = "slow tier: a real browser"]
fn without_a_script_the_table_is_there() {
    let Some(lab) = Lab::new("noscript") else { return };
    let lb = lab.lb();
    lb.wait_until_it_answers();
    let Some(browser) = Browser::on(&lab.client()) else { return };
    browser.open(&lb.admin("/"), &json!({ "javaScriptEnabled": false }));
    lab.pi("ada").web().named().start();
    // The page reloads itself.
    browser.run("await page.locator('tr.up').waitFor()");
    assert!(browser.text("#nodes").contains("ada"));
    assert_eq!(browser.run("return await page.locator('button:visible').count()"), 0);
    browser.photograph("noscript-1280-light");
}

#[test]
#[ignore = "slow tier: a real browser"]
fn the_empty_page_turns_into_the_app_by_itself() {
    let Some(lab) = Lab::new("teach") else { return };
    let lb = lab.lb();
    lb.wait_until_it_answers();
    let Some(browser) = Browser::on(&lab.client()) else { return };
    let before = |browser: &Browser| {
        browser.run("await page.getByText('Ready for the first node').waitFor()");
        assert_eq!(browser.run("return await the.barriers()"), json!([]));
    };
    browser.open(&lb.url(), &phone());
    before(&browser);
    browser.photograph("teach-360-light");
    browser.open(&lb.url(), &json!({ "colorScheme": "dark" }));
    before(&browser);
    browser.photograph("teach-1280-dark");
    // A form that was sent to the empty cluster is not sent again. It is sent from a blank page,
    // which does not look for nodes and so leaves the form where it is.
    browser.run(
        "const url = page.url(); await page.goto('about:blank'); \
         await page.setContent(`<form method=post action=${url}><button>go`); \
         await page.click('button')",
    );
    assert_ne!(browser.run("return page.url()"), json!("about:blank"));
    before(&browser);
    browser
        .run("the.methods = []; page.on('request', request => the.methods.push(request.method()))");
    let ada = lab.pi("ada").web().named().start();
    lb.wait_until_up(&ada, PATIENCE);
    let began = std::time::Instant::now();
    browser.run("await page.locator('h1', { hasText: /^ada$/ }).waitFor()");
    lab.figure("the empty page's way to the app", format!("{:?}", began.elapsed()), "1 s");
    assert!(began.elapsed() < SEEN_MAX);
    assert_eq!(browser.run("return the.methods.filter(method => method !== 'GET')"), json!([]));
    browser.photograph("node-1280-dark");
    assert_eq!(browser.run("return await the.barriers()"), json!([]));
    browser.open(&lb.url(), &phone());
    browser.photograph("node-360-light");
    assert_eq!(browser.run("return await the.barriers()"), json!([]));
    // Without a script the meta element does it, though later.
    ada.sigterm();
    lb.process().sigterm();
    lb.process().restart();
    lb.wait_until_it_answers();
    browser.open(&lb.url(), &json!({ "javaScriptEnabled": false }));
    before_without_script(&browser);
    ada.restart();
    browser.run("await page.locator('h1', { hasText: /^ada$/ }).waitFor()");
}

fn before_without_script(browser: &Browser) {
    browser.run("await page.getByText('Ready for the first node').waitFor()");
}

#[test]
fn two_hundred_watchers_cost_less_than_ten_megabytes() {
    let Some(lab) = Lab::busy("watchers") else { return };
    let lb = lab.lb();
    let pis: Vec<_> = (1..=10).map(|n| lab.pi(&format!("pi{n}"))).collect();
    for pi in &pis {
        pi.web().start();
    }
    lb.wait_for_nodes(10);
    let load = lab.load(&lb, 4);
    load.wait_until("a warm balancer", |report| report.ok > 500);
    let before = lb.resident_kib();
    let admin = lb.admin("").trim_start_matches("http://").parse().expect("an address");
    let _watchers = lab.client().watch(admin, 200);
    // The watchers receive the first document, some later ones, and changes in between.
    let told = load.wait_until("time to pass", |_| true).ok;
    pis[0].unplug();
    load.wait_until("a few seconds", |report| report.ok > told + 1500);
    let cost = lb.resident_kib().saturating_sub(before);
    lab.figure("200 watchers of 10 nodes", format!("{cost} KiB"), "10,240 KiB");
    assert!(cost < WATCHERS_KIB_MAX, "{cost} KiB");
    wait_until("the unplugged node is out", || lb.nodes().iter().any(|node| !node.is_up()));
    load.stop();
}

#[test]
#[ignore = "slow tier: a real browser"]
fn the_buttons_drain_and_undrain_a_node_on_the_balancers_machine_alone() {
    let Some(lab) = Lab::new("buttons") else { return };
    let front = lab.pi("front");
    let lb = front.lb().start();
    let nodes = ["ada", "bob"].map(|name| lab.pi(name).web().named().start());
    lb.wait_for_nodes(2);
    let Some(browser) = Browser::on(&front) else { return };
    let origin = "http://127.0.0.1:7070/";
    browser.open(origin, &json!({}));
    let click = |button: &str| {
        browser.run(&format!(
            "await page.locator('tr[data-name=bob] button:text-is(\"{button}\")').click()"
        ));
    };
    click("Drain");
    click("Really drain?");
    browser.wait_until("document.querySelector('tr[data-name=bob].draining')");
    assert!(!lb.node(&nodes[1]).expect("it is shown").is_up());
    browser.wait_until("document.getElementById('log').innerText.includes('bob is draining')");
    click("Undrain");
    browser.wait_until("document.querySelector('tr[data-name=bob].up')");
    browser.assert_in_order(origin);
}

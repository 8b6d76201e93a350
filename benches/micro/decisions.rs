//! The decisions: which node, whether again, and what a new view of the cluster costs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use picluster::balance::Balance;
use picluster::health::Health;
use picluster::node::{Node, NodeId, Source};
use picluster::picker::{self, Asked};
use picluster::pool::{self, Member, Share};
use picluster::retry::{self, Attempt, Failure, RetryPolicy, Safety};

/// The most that a cluster has.
const NODES: u64 = 256;

fn members(count: u64, share: impl Fn(u64) -> Share) -> Vec<Member> {
    let member = |epoch| Member {
        node: Node {
            id: NodeId::new(&format!("node{epoch}")).unwrap(),
            name: format!("raspberrypi-{epoch}"),
            hostname: "raspberrypi".to_owned(),
            endpoint: ([10, 0, (epoch / 250) as u8, (epoch % 250) as u8], 8080).into(),
            boot: None,
            source: Source::Mdns,
        },
        health: Health::Up,
        why: "answered the last probe".to_owned(),
        since: Duration::ZERO,
        advertised: true,
        last_resort: false,
        silent: false,
        left_silent: None,
        share: share(epoch),
        epoch,
        counters: Arc::default(),
        pi: Arc::default(),
    };
    (0..count).map(member).collect()
}

/// With the counting of what is in flight, and the end of it.
#[divan::bench(args = [1, 3, NODES])]
fn pick(bencher: Bencher<'_, '_>, nodes: u64) {
    let (publisher, watch) = pool::channel();
    publisher.publish(members(nodes, |_| Share::WHOLE), Duration::ZERO);
    let pool = watch.borrow();
    bencher.bench_local(|| picker::pick(black_box(&pool), &[]).unwrap().member().epoch);
}

/// While some are in slow start.
#[divan::bench(args = [3, NODES])]
fn pick_by_weight(bencher: Bencher<'_, '_>, nodes: u64) {
    let (publisher, watch) = pool::channel();
    let share = |epoch| Share::Quarters(1 + (epoch % 4) as u8);
    publisher.publish(members(nodes, share), Duration::ZERO);
    let pool = watch.borrow();
    bencher.bench_local(|| picker::pick(black_box(&pool), &[]).unwrap().member().epoch);
}

/// By the other policies, for a key that is another each time.
#[divan::bench(args = [3, NODES])]
fn choose_least_requests(bencher: Bencher<'_, '_>, nodes: u64) {
    choose(bencher, "least-requests", nodes);
}

#[divan::bench(args = [3, NODES])]
fn choose_p2c(bencher: Bencher<'_, '_>, nodes: u64) {
    choose(bencher, "p2c", nodes);
}

#[divan::bench(args = [3, NODES])]
fn choose_hash(bencher: Bencher<'_, '_>, nodes: u64) {
    choose(bencher, "hash", nodes);
}

#[divan::bench(args = [3, NODES])]
fn choose_first(bencher: Bencher<'_, '_>, nodes: u64) {
    choose(bencher, "first", nodes);
}

fn choose(bencher: Bencher<'_, '_>, policy: &str, nodes: u64) {
    let (publisher, watch) = pool::channel();
    let publisher = publisher.balancing(Balance::parse(policy).unwrap(), None);
    publisher.publish(members(nodes, |_| Share::WHOLE), Duration::ZERO);
    let (pool, mut rng) = (watch.borrow(), fastrand::Rng::with_seed(1));
    let mut asked = Asked { came: Duration::from_secs(1), ..Asked::default() };
    bencher.bench_local(|| {
        asked.key += 1;
        picker::choose(black_box(&pool), &asked, &mut rng).unwrap().member().epoch
    });
}

#[divan::bench]
fn retry_decision(bencher: Bencher<'_, '_>) {
    let attempt = Attempt {
        failure: Failure::Died,
        written: 100,
        head_sent: false,
        safety: Safety::Idempotent,
        body_held: true,
        on_trial: false,
        died_before: false,
        cleared: false,
        node_left: false,
        tries: 0,
        elapsed: Duration::ZERO,
    };
    let policy = RetryPolicy { attempts: 4, within: Duration::from_secs(15) };
    bencher.bench_local(|| retry::decide(black_box(&attempt), black_box(&policy)));
}

/// What the discovery task pays for a change; a worker pays for one `Arc`.
#[divan::bench(args = [3, NODES])]
fn publish(bencher: Bencher<'_, '_>, nodes: u64) {
    let (publisher, _watch) = pool::channel();
    bencher
        .with_inputs(|| members(nodes, |_| Share::WHOLE))
        .bench_local_values(|members| publisher.publish(members, Duration::ZERO));
}

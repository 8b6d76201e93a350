//! The decisions: the choice of a node, the repetition of a request, and the cost of a new view of
//! the cluster.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use picluster::cluster::balance::Balance;
use picluster::cluster::node::Offer;
use picluster::cluster::picker::{self, Criteria};
use picluster::cluster::pool::{self, Member, Share};
use picluster::cluster::retry::{self, Attempt, Failure, Reach, RetryPolicy, Safety, Suspicion};

use crate::sample;

/// The largest number of nodes in a cluster.
const NODES: u64 = 256;

fn members(count: u64, share: impl Fn(u64) -> Share) -> Vec<Member> {
    let member = |epoch: u64| {
        let endpoint = ([10, 0, (epoch / 250) as u8, (epoch % 250) as u8], 8080).into();
        Member { share: share(epoch), ..sample::member(epoch, endpoint) }
    };
    (0..count).map(member).collect()
}

/// Includes the counting of the request in flight, and its end.
#[divan::bench(args = [1, 3, NODES])]
fn pick(bencher: Bencher<'_, '_>, nodes: u64) {
    let (publisher, watch) = pool::channel();
    publisher.publish(members(nodes, |_| Share::WHOLE), Duration::ZERO);
    let pool = watch.borrow();
    bencher.bench_local(|| picker::pick(black_box(&pool), &[]).unwrap().member().epoch);
}

/// A pick while some members are in slow start.
#[divan::bench(args = [3, NODES])]
fn pick_by_weight(bencher: Bencher<'_, '_>, nodes: u64) {
    let (publisher, watch) = pool::channel();
    let share = |epoch| Share::Quarters(1 + (epoch % 4) as u8);
    publisher.publish(members(nodes, share), Duration::ZERO);
    let pool = watch.borrow();
    bencher.bench_local(|| picker::pick(black_box(&pool), &[]).unwrap().member().epoch);
}

/// The application of a request: the first and the last of many, each with its own host.
#[divan::bench(args = [1, 50])]
fn route_by_host(bencher: Bencher<'_, '_>, services: u64) {
    let offer = |n: u64| Offer { hosts: vec![format!("app-{n}.local")], ..Offer::default() };
    bench_route(bencher, services, offer, "app-49.local:80", "/index.html");
}

/// The application of a request by its path alone.
#[divan::bench(args = [1, 50])]
fn route_by_path(bencher: Bencher<'_, '_>, services: u64) {
    let offer = |n: u64| Offer { path: format!("/app-{n}"), ..Offer::default() };
    bench_route(bencher, services, offer, "picluster.local", "/app-1/index.html");
}

/// A single service takes everything; otherwise the last one takes the requests that no other
/// takes.
fn bench_route(
    bencher: Bencher<'_, '_>,
    services: u64,
    offer: impl Fn(u64) -> Offer,
    host: &str,
    target: &str,
) {
    let (publisher, watch) = pool::channel();
    let mut members = members(services, |_| Share::WHOLE);
    for (n, member) in (1..services).zip(&mut members) {
        let offer = Offer { service: format!("app-{n}"), ..offer(n) };
        member.node.offer = Arc::new(offer);
    }
    publisher.publish(members, Duration::ZERO);
    let pool = watch.borrow();
    bencher.bench_local(|| {
        let to = pool.route(black_box(host), black_box(target)).unwrap();
        black_box(pool.of(to).unwrap());
    });
}

/// The other policies, with a different key each time.
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
    let mut asked = Criteria { came: Duration::from_secs(1), ..Criteria::default() };
    bencher.bench_local(|| {
        asked.key += 1;
        picker::choose(black_box(&pool), &asked, &mut rng).unwrap().member().epoch
    });
}

#[divan::bench]
fn retry_decision(bencher: Bencher<'_, '_>) {
    let attempt = Attempt {
        failure: Failure::Died,
        reach: Reach::Sent,
        safety: Safety::Idempotent,
        body_held: true,
        suspicion: Suspicion::None,
        others_untried: true,
        on_trial: false,
        node_left: false,
        tries: 0,
        elapsed: Duration::ZERO,
    };
    let policy = RetryPolicy { attempts: 4, within: Duration::from_secs(15) };
    bencher.bench_local(|| retry::decide(black_box(&attempt), black_box(&policy)));
}

/// The cost of a change for the discovery task; a worker pays for one `Arc`.
#[divan::bench(args = [3, NODES])]
fn publish(bencher: Bencher<'_, '_>, nodes: u64) {
    let (publisher, _watch) = pool::channel();
    bencher
        .with_inputs(|| members(nodes, |_| Share::WHOLE))
        .bench_local_values(|members| publisher.publish(members, Duration::ZERO));
}

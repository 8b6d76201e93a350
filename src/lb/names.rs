//! The names that lead to the balancer: its own, and those under `.local` that its nodes want for their
//! applications. Names of other domains are set up in the DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cluster::health::Health;
use crate::cluster::pool::{self, Pool};
use crate::cluster::route::CLUSTER_HOST;

/// The time that a name stays after the last node that wants it has left. A node that is started again is
/// back by then, and no client has learned that the name is gone.
const STAYS_AFTER_LAST: Duration = Duration::from_secs(10);

/// Follows the pool, and publishes the names whenever they change. The machine's own hostname is left out,
/// because its mDNS responder answers for it.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn follow(mut pool: pool::Watch, hostname: &str) -> watch::Receiver<BTreeSet<String>> {
    let own = local(hostname);
    let (sender, wanted) = watch::channel(BTreeSet::from([CLUSTER_HOST.to_owned()]));
    tokio::spawn(async move {
        let mut seen = BTreeMap::from([(CLUSTER_HOST.to_owned(), Instant::now())]);
        loop {
            let now = Instant::now();
            let names = names(&pool.borrow_and_update(), &own);
            seen.extend(names.iter().map(|name| (name.clone(), now)));
            seen.retain(|name, at| names.contains(name) || *at + STAYS_AFTER_LAST > now);
            let all: BTreeSet<String> = seen.keys().cloned().collect();
            sender.send_if_modified(|wanted| std::mem::replace(wanted, all.clone()) != all);
            let unwanted = seen.iter().filter(|(name, _)| !names.contains(*name));
            let next = unwanted.map(|(_, at)| *at + STAYS_AFTER_LAST).min();
            tokio::select! {
                changed = pool.changed() => if changed.is_err() { return },
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            }
        }
    });
    wanted
}

/// The names that are wanted now. Those of a node that has not proved itself do not count.
fn names(pool: &Pool, own: &str) -> BTreeSet<String> {
    let proven = pool.members().iter().filter(|member| member.health != Health::Starting);
    let hosts = proven.flat_map(|member| &member.node.offer.hosts);
    let names = hosts.filter(|host| host.ends_with(".local")).map(|host| format!("{host}."));
    names.filter(|name| *name != own).chain([CLUSTER_HOST.to_owned()]).collect()
}

/// The mDNS name of a machine.
fn local(hostname: &str) -> String {
    let first = hostname.split('.').next().unwrap_or_default();
    format!("{}.local.", first.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::node::Offer;
    use crate::cluster::pool::Member;

    fn member(hosts: &[&str], health: Health) -> Member {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        let mut member = Member { health, ..Member::sample(1) };
        member.node.offer = Arc::new(Offer { hosts, ..Offer::default() });
        member
    }

    async fn next(wanted: &mut watch::Receiver<BTreeSet<String>>) -> Vec<String> {
        wanted.changed().await.expect("it is followed");
        wanted.borrow_and_update().iter().cloned().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn names_under_local_are_wanted_until_a_while_after_their_last_node() {
        let (publisher, pool) = pool::channel();
        let mut wanted = follow(pool, "FrontDoor.lan");
        assert_eq!(wanted.borrow().len(), 1);
        let hosts = ["blog.local", "www.example", "frontdoor.local"];
        publisher.publish(vec![member(&hosts, Health::Up)], Duration::ZERO);
        assert_eq!(next(&mut wanted).await, ["blog.local.", CLUSTER_HOST]);
        let left = Instant::now();
        publisher.publish(vec![member(&["forged.local"], Health::Starting)], Duration::ZERO);
        assert_eq!(next(&mut wanted).await, [CLUSTER_HOST]);
        assert!(left.elapsed() >= STAYS_AFTER_LAST - Duration::from_secs(1));
    }
}

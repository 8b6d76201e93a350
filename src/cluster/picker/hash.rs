//! The same member for the same key each time, so that a node is asked again for what it has
//! cached.

use std::sync::Arc;

use super::eligible::{Eligible, inflight};
use crate::cluster::pool::Member;

/// The key of a text: the same number at each balancer (FNV-1a, which is quick for short texts).
pub fn key(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |key, byte| {
        (key ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A member with fewer requests than this is never passed over. In an idle cluster five quarters of a
/// part are one request, and a browser, which opens six connections, would come to several nodes.
const INFLIGHT_ALWAYS: u64 = 8;

/// The eligible member that is nearest to the key, of those that have not more than five quarters
/// of their part of all requests ("consistent hashing with bounded loads", Mirrokni and others,
/// 2017): the requests for a key that everybody asks for spread over the next members.
///
/// Each pair of key and member has a distance of its own ("rendezvous hashing"), so a member that
/// goes moves its own keys and no others, and moves them evenly to all the others.
pub(super) fn choose<'a>(eligible: &Eligible<'a>, key: u64) -> Option<&'a Arc<Member>> {
    let quarters = |member: &Member| u64::from(member.quarters());
    let (all, whole) = eligible.all().iter().fold((1, 0), |(all, whole), member| {
        (all + u64::from(inflight(member)), whole + quarters(member))
    });
    let is_light = |member: &Member| {
        let bound = (5 * all * quarters(member)).div_ceil(4 * whole);
        u64::from(inflight(member)) < bound.max(INFLIGHT_ALWAYS)
    };
    let nearest = |members: &mut dyn Iterator<Item = &'a Arc<Member>>| {
        let ranked = members.map(|member| (distance(key, member), member));
        ranked.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, member)| member)
    };
    nearest(&mut eligible.members().filter(|member| is_light(member)))
        .or_else(|| nearest(&mut eligible.members()))
}

/// The distance of the key from the member. The logarithm turns a uniform number into an
/// exponentially distributed one, divided by the weight. The least of such numbers belongs to a
/// member of `n` times the weight exactly `n` times as often, so it gets `n` times the keys. `libm`
/// computes the logarithm, not the C library, so that every machine gets the same number.
fn distance(key: u64, member: &Member) -> f64 {
    let number = mixed(key ^ member.node.id.sticky_key().get()) >> 11;
    let uniform = (number as f64 + 0.5) / (1_u64 << 53) as f64;
    -libm::log(uniform) / f64::from(member.quarters())
}

/// Every bit of the result depends on every bit of the number (the finaliser of splitmix64).
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::picker::samples::{balanced, up, with_share};
    use crate::cluster::picker::{Criteria, Pick, choose};
    use crate::cluster::pool::{Pool, Share};

    /// The epoch to which each of `keys` keys comes while no request is under way.
    fn homes(pool: &Pool, keys: u64) -> Vec<u64> {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut home = |number: u64| {
            let criteria = Criteria { key: key(&number.to_le_bytes()), ..Criteria::default() };
            choose(pool, &criteria, &mut rng).expect("all are up").member().epoch
        };
        (0..keys).map(&mut home).collect()
    }

    fn count(homes: &[u64], epoch: u64) -> usize {
        homes.iter().filter(|home| **home == epoch).count()
    }

    #[test]
    fn keys_are_spread_evenly_and_a_leaving_node_moves_only_its_own() {
        const KEYS: u64 = 20_000;
        for nodes in [2, 3, 10, 40] {
            let all = balanced("hash", None, up(nodes));
            let before = homes(&all.borrow(), KEYS);
            let mean = KEYS as f64 / nodes as f64;
            for epoch in 1..=nodes {
                let part = count(&before, epoch) as f64 / mean;
                assert!((0.8..1.2).contains(&part), "{part} of {nodes}");
            }
            let rest = up(nodes).into_iter().filter(|member| member.epoch != 1).collect();
            let after = homes(&balanced("hash", None, rest).borrow(), KEYS);
            let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
            assert!(moved.iter().all(|(home, _)| **home == 1), "others stay where they are");
            assert!((moved.len() as f64) < 1.2 * mean, "{} of {nodes}", moved.len());
        }
    }

    #[test]
    fn a_growing_node_gets_keys_by_its_weight_and_moves_no_others() {
        let members = |quarters| {
            vec![
                with_share(1, Share::WHOLE),
                with_share(2, Share::Quarters(quarters)),
                with_share(3, Share::WHOLE),
            ]
        };
        let mut before: Option<Vec<u64>> = None;
        for quarters in 1..=4 {
            let homes = homes(&balanced("hash", None, members(quarters)).borrow(), 20_000);
            let due = 20_000.0 * f64::from(quarters) / f64::from(8 + quarters);
            let part = count(&homes, 2) as f64 / due;
            assert!((0.9..1.1).contains(&part), "{part} with {quarters} quarters");
            if let Some(before) = &before {
                assert!(before.iter().zip(&homes).all(|(old, new)| old == new || *new == 2));
            }
            before = Some(homes);
        }
    }

    #[test]
    fn a_popular_key_gives_one_node_at_most_five_quarters_of_the_mean() {
        for keys in [1, 3, 1000] {
            let watch = balanced("hash", None, up(10));
            let (pool, mut rng) = (watch.borrow(), fastrand::Rng::with_seed(keys));
            let mut picks: Vec<Pick> = Vec::new();
            for _ in 0..2000 {
                // Requests end in random order, which may leave more on a node than it would get
                // now.
                if picks.len() == 200 {
                    picks.swap_remove(rng.usize(0..200));
                }
                let criteria = Criteria { key: rng.u64(0..keys), ..Criteria::default() };
                let pick = choose(&pool, &criteria, &mut rng).expect("all are up");
                let given = f64::from(inflight(pick.member()));
                picks.push(pick);
                let mean = picks.len() as f64 / 10.0;
                assert!(given <= (1.25 * mean).ceil().max(8.0), "{given}, {mean} on average");
            }
        }
    }

    #[test]
    fn in_an_idle_cluster_each_key_keeps_its_node_for_all_its_connections() {
        let watch = balanced("hash", None, up(5));
        let (pool, mut rng) = (watch.borrow(), fastrand::Rng::with_seed(1));
        for key in 0..32 {
            let criteria = Criteria { key, ..Criteria::default() };
            let picks: Vec<Pick> =
                (0..6).map(|_| choose(&pool, &criteria, &mut rng).expect("up")).collect();
            let home = picks[0].member().epoch;
            assert!(picks.iter().all(|pick| pick.member().epoch == home), "{key}");
        }
        let criteria = Criteria { key: 7, ..Criteria::default() };
        let busy: Vec<Pick> =
            (0..64).map(|_| choose(&pool, &criteria, &mut rng).expect("up")).collect();
        assert_eq!(busy.len(), 64);
        let most = pool.members().iter().map(|member| inflight(member)).max();
        assert!(most <= Some(17), "one hot key spreads: {most:?}");
    }

    #[test]
    fn a_key_that_finds_its_node_full_goes_to_the_same_next_one() {
        let watch = balanced("hash", None, up(5));
        let (pool, mut rng) = (watch.borrow(), fastrand::Rng::with_seed(1));
        let order = |rng: &mut _| -> Vec<u64> {
            let picks: Vec<Pick> =
                (0..20).map(|_| choose(&pool, &Criteria::default(), rng).expect("up")).collect();
            picks.iter().map(|pick| pick.member().epoch).collect()
        };
        let first = order(&mut rng);
        assert!((0..10).all(|_| order(&mut rng) == first));
    }
}

//! The member with the fewest requests under way for its weight.

use std::sync::Arc;

use fastrand::Rng;

use super::eligible::{Eligible, inflight};
use crate::cluster::pool::Member;

/// The eligible member with the fewest requests for its weight. Among equals the next in turn is
/// chosen, so that an idle cluster behaves like round robin.
///
/// A member with half the weight of the heaviest takes part in half of the choices: with few
/// requests under way most members have none, and counting alone would make them all equal.
pub(super) fn choose<'a>(eligible: &Eligible<'a>, rng: &mut Rng) -> Option<&'a Arc<Member>> {
    let heaviest = eligible.members().map(|member| member.quarters()).max()?;
    let level = rng.u32(0..heaviest);
    let takes_part = |member: &Member| member.quarters() > level && eligible.has(member);
    let all = eligible.all();
    let (before, from) = all.split_at(eligible.pool.next_turn() % all.len());
    from.iter().chain(before).filter(|member| takes_part(member)).min_by_key(|member| load(member))
}

/// The requests of a member for its weight, as a fraction with 32 binary places.
fn load(member: &Member) -> u64 {
    (u64::from(inflight(member)) << 32) / u64::from(member.quarters())
}

#[cfg(test)]
mod tests {
    use super::inflight;
    use crate::cluster::picker::samples::{balanced, up, with_share};
    use crate::cluster::picker::{Criteria, Pick, choose};
    use crate::cluster::pool::{Pool, Share};

    /// The part of the choices that each member gets while `under_way` requests are under way,
    /// which end in random order.
    fn parts(pool: &Pool, under_way: usize) -> Vec<f64> {
        const ROUNDS: usize = 20_000;
        let mut rng = fastrand::Rng::with_seed(1);
        let mut picks: Vec<Pick> = Vec::new();
        let mut chosen = vec![0.0; pool.members().len()];
        for _ in 0..ROUNDS {
            while picks.len() >= under_way {
                picks.swap_remove(rng.usize(0..picks.len()));
            }
            let pick = choose(pool, &Criteria::default(), &mut rng).expect("all are up");
            chosen[pick.member().epoch as usize - 1] += 1.0 / ROUNDS as f64;
            picks.push(pick);
        }
        chosen
    }

    #[test]
    fn the_node_with_the_fewest_requests_is_chosen() {
        let watch = balanced("least-requests", None, up(3));
        let (pool, mut rng) = (watch.borrow(), fastrand::Rng::with_seed(1));
        let mut pick = || choose(&pool, &Criteria::default(), &mut rng).expect("all are up");
        let mut picks: Vec<Pick> = (0..30).map(|_| pick()).collect();
        assert!(pool.members().iter().all(|member| inflight(member) == 10));
        picks.retain(|pick| pick.member().epoch != 2);
        assert!((0..10).map(|_| pick()).collect::<Vec<_>>().iter().all(|p| p.member().epoch == 2));
    }

    #[test]
    fn an_idle_cluster_takes_each_node_in_turn() {
        let watch = balanced("least-requests", None, up(3));
        assert!(parts(&watch.borrow(), 1).iter().all(|part| (part - 1.0 / 3.0).abs() < 1e-3));
    }

    #[test]
    fn a_weight_counts_with_few_requests_and_with_many() {
        let members = vec![
            with_share(1, Share::WHOLE),
            with_share(2, Share::Quarters(1)),
            with_share(3, Share::WHOLE),
        ];
        let watch = balanced("least-requests", None, members);
        for under_way in [1, 2, 4, 9, 90] {
            let part = parts(&watch.borrow(), under_way)[1];
            assert!((0.06..0.15).contains(&part), "{part} of {under_way}, not a ninth");
        }
    }
}

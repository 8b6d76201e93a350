//! Fewest requests under way, by weight.

use std::sync::Arc;

use fastrand::Rng;

use super::{Eligible, inflight};
use crate::cluster::pool::Member;

/// The open member with the fewest requests for its weight. Among equals it is the next in turn, so
/// that a cluster with nothing to do goes round like round robin.
///
/// A member with half the weight of the heaviest stands in half of the choices: with few requests under
/// way most members have none, and counting alone would make them all equal.
pub(super) fn choose<'a>(open: &Eligible<'a>, rng: &mut Rng) -> Option<&'a Arc<Member>> {
    let heaviest = open.members().map(|member| member.quarters()).max()?;
    let level = rng.u32(0..heaviest);
    lightest(open, |member| member.quarters() > level)
}

fn lightest<'a>(open: &Eligible<'a>, stands: impl Fn(&Member) -> bool) -> Option<&'a Arc<Member>> {
    let line = open.eligible();
    let (before, from) = line.split_at(open.pool.turn() % line.len());
    from.iter()
        .chain(before)
        .filter(|member| stands(member) && open.has(member))
        .min_by_key(|member| load(member))
}

/// The requests of a member for its weight, as a fraction with 32 binary places.
fn load(member: &Member) -> u64 {
    (u64::from(inflight(member)) << 32) / u64::from(member.quarters())
}

#[cfg(test)]
mod tests {
    use crate::cluster::picker::tests::{balanced, up, with_share};
    use crate::cluster::picker::{Asked, Pick, choose, inflight};
    use crate::cluster::pool::{Pool, Share};

    /// What the members have with so many requests under way, one of which ends after another by
    /// chance; the mean of many looks.
    fn carried(pool: &Pool, under_way: usize) -> Vec<f64> {
        const ROUNDS: usize = 20_000;
        let mut rng = fastrand::Rng::with_seed(1);
        let mut picks: Vec<Pick> = Vec::new();
        let mut chosen = vec![0.0; pool.members().len()];
        for _ in 0..ROUNDS {
            while picks.len() >= under_way {
                picks.swap_remove(rng.usize(0..picks.len()));
            }
            let pick = choose(pool, &Asked::default(), &mut rng).expect("all are up");
            chosen[pick.member().epoch as usize - 1] += 1.0 / ROUNDS as f64;
            picks.push(pick);
        }
        chosen
    }

    #[test]
    fn the_one_with_the_fewest_requests_is_chosen() {
        let watch = balanced("least-requests", None, up(3));
        let (pool, mut rng) = (watch.borrow(), fastrand::Rng::with_seed(1));
        let mut pick = || choose(&pool, &Asked::default(), &mut rng).expect("all are up");
        let mut picks: Vec<Pick> = (0..30).map(|_| pick()).collect();
        assert!(pool.members().iter().all(|member| inflight(member) == 10));
        picks.retain(|pick| pick.member().epoch != 2);
        assert!((0..10).map(|_| pick()).collect::<Vec<_>>().iter().all(|p| p.member().epoch == 2));
    }

    #[test]
    fn a_cluster_with_nothing_to_do_goes_round() {
        let watch = balanced("least-requests", None, up(3));
        assert!(carried(&watch.borrow(), 1).iter().all(|part| (part - 1.0 / 3.0).abs() < 1e-3));
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
            let part = carried(&watch.borrow(), under_way)[1];
            assert!((0.06..0.15).contains(&part), "{part} of {under_way}, not a ninth");
        }
    }
}

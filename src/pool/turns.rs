//! In which order the members of a rotation take their turns when their weights differ.

use std::sync::Arc;

use super::Member;

/// A number that 1, 2, 3 and 4 divide: the beat on which turns of all weights fall.
const BEAT: u32 = 12;

/// One round of the rotation, as places in `line`, in which each member has as many turns as it has
/// quarters; empty if all have the same. At most four turns for each member.
///
/// The turns of one member are spread evenly over the round: of `w` turns the `j`-th falls at
/// `(2j + 1) / 2w` of it. So between two turns of one member every other one has had its part of
/// turns, rounded down or up: what smooth weighted round robin is about.
pub(super) fn of(line: &[Arc<Member>]) -> Vec<u16> {
    let quarters: Vec<u32> = line.iter().map(|member| member.quarters()).collect();
    spread(&quarters)
}

fn spread(quarters: &[u32]) -> Vec<u16> {
    if quarters.windows(2).all(|pair| pair[0] == pair[1]) {
        return Vec::new();
    }
    let turns = (0..).zip(quarters).flat_map(|(at, quarters)| {
        let step = BEAT / quarters;
        (0..*quarters).map(move |turn| ((2 * turn + 1) * step, at))
    });
    let mut turns: Vec<(u32, u16)> = turns.collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_weights_need_no_order_of_their_own() {
        for quarters in [&[][..], &[4], &[1], &[4, 4, 4], &[1, 1]] {
            assert_eq!(spread(quarters), [0_u16; 0]);
        }
    }

    #[test]
    fn a_node_that_comes_back_stands_among_the_others_and_never_twice_in_a_row() {
        assert_eq!(spread(&[4, 1, 4]), [0, 2, 0, 2, 1, 0, 2, 0, 2]);
        assert_eq!(spread(&[4, 2, 4]), [0, 2, 1, 0, 2, 0, 2, 1, 0, 2]);
        assert_eq!(spread(&[4, 4, 3]), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1].map(|at| at));
    }

    proptest! {
        #[test]
        fn each_window_of_a_round_gives_each_its_weight_and_gaps_are_even(
            quarters in proptest::collection::vec(1_u32..=4, 2..40),
        ) {
            let round = spread(&quarters);
            prop_assume!(!round.is_empty());
            let endless: Vec<usize> =
                round.iter().cycle().take(3 * round.len()).map(|at| usize::from(*at)).collect();
            for window in endless.windows(round.len()) {
                for (at, weight) in quarters.iter().enumerate() {
                    let turns = window.iter().filter(|turn| **turn == at).count();
                    prop_assert_eq!(turns, *weight as usize);
                }
            }
            for (at, own) in quarters.iter().enumerate() {
                let turns: Vec<usize> = (0..endless.len()).filter(|n| endless[*n] == at).collect();
                for gap in turns.windows(2) {
                    let between = &endless[gap[0] + 1..gap[1]];
                    for (other, weight) in quarters.iter().enumerate().filter(|(n, _)| *n != at) {
                        let had = between.iter().filter(|turn| **turn == other).count();
                        let least = (weight / own) as usize;
                        let most = weight.div_ceil(*own) as usize;
                        prop_assert!((least..=most).contains(&had), "{own} {weight}: {had}");
                    }
                }
            }
        }
    }
}

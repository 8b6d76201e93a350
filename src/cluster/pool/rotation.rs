//! The order in which the members of a rotation take their turns when their weights differ.

use std::sync::Arc;

use super::member::Member;

/// One round of the rotation: the members, each in as many slots as its weight gives it.
#[derive(Clone, Copy)]
pub(crate) struct Round<'a> {
    members: &'a [Arc<Member>],
    /// As [`of`] returns it for these members: empty when each has one slot.
    slots: &'a [u16],
}

impl<'a> Round<'a> {
    pub(super) fn new(members: &'a [Arc<Member>], slots: &'a [u16]) -> Self {
        Self { members, slots }
    }

    /// The slots of the round; 0 if no member takes requests.
    pub(crate) fn len(self) -> usize {
        if self.slots.is_empty() { self.members.len() } else { self.slots.len() }
    }

    /// The member in this slot, which has to be less than [`Self::len`].
    pub(crate) fn member(self, slot: usize) -> &'a Arc<Member> {
        &self.members[self.slots.get(slot).map_or(slot, |at| usize::from(*at))]
    }
}

/// One round of the rotation, as indices into `members`, in which the turns of all members have the
/// ratio of their weights; empty if all weights are equal. The round has at most as many turns as
/// all members weigh together, in quarters.
///
/// The turns of one member are spread evenly over the round: of `w` turns the `j`-th falls at
/// `(2j + 1) / 2w` of it. So between two turns of one member every other member has had its part of
/// turns, rounded down or up. Smooth weighted round robin has the same aim.
pub(super) fn of(members: &[Arc<Member>]) -> Vec<u16> {
    let weights: Vec<u32> = members.iter().map(|member| member.quarters()).collect();
    spread(&weights)
}

fn spread(weights: &[u32]) -> Vec<u16> {
    if weights.windows(2).all(|pair| pair[0] == pair[1]) {
        return Vec::new();
    }
    let divisor = weights.iter().copied().fold(0, gcd);
    let turns = (0..).zip(weights).flat_map(|(at, weight)| {
        let weight = weight / divisor;
        (0..weight).map(move |turn| (2 * turn + 1, weight, at))
    });
    let mut turns: Vec<(u32, u32, u16)> = turns.collect();
    // By `turn / weight`, without the division. The sort is stable: equal ones stay in order.
    turns.sort_by(|(a, of_a, _), (b, of_b, _)| (a * of_b).cmp(&(b * of_a)));
    turns.into_iter().map(|(_, _, at)| at).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_weights_need_no_list_of_turns() {
        for weights in [&[][..], &[4], &[1], &[4, 4, 4], &[1, 1]] {
            assert_eq!(spread(weights), [0_u16; 0]);
        }
    }

    #[test]
    fn a_returning_node_stands_among_the_others_and_never_twice_in_a_row() {
        assert_eq!(spread(&[4, 1, 4]), [0, 2, 0, 2, 1, 0, 2, 0, 2]);
        assert_eq!(spread(&[4, 2, 4]), [0, 2, 1, 0, 2]);
        assert_eq!(spread(&[4, 4, 3]), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1].map(|at| at));
    }

    #[test]
    fn a_round_is_as_short_as_the_weights_allow() {
        assert_eq!(spread(&[400, 4]).len(), 101);
        assert_eq!(spread(&[12, 4, 8]), [0, 2, 0, 1, 2, 0]);
    }

    proptest! {
        #[test]
        fn each_window_gives_each_member_its_weight_with_even_gaps(
            weights in prop_oneof![
                proptest::collection::vec(1_u32..=4, 2..40),
                proptest::collection::vec(1_u32..=400, 2..6),
            ],
        ) {
            let round = spread(&weights);
            prop_assume!(!round.is_empty());
            let divisor = weights.iter().copied().fold(0, gcd);
            let weights: Vec<u32> = weights.iter().map(|weight| weight / divisor).collect();
            let endless: Vec<usize> =
                round.iter().cycle().take(3 * round.len()).map(|at| usize::from(*at)).collect();
            for window in endless.windows(round.len()) {
                for (at, weight) in weights.iter().enumerate() {
                    let turns = window.iter().filter(|turn| **turn == at).count();
                    prop_assert_eq!(turns, *weight as usize);
                }
            }
            for (at, own) in weights.iter().enumerate() {
                let turns: Vec<usize> = (0..endless.len()).filter(|n| endless[*n] == at).collect();
                for gap in turns.windows(2) {
                    let between = &endless[gap[0] + 1..gap[1]];
                    for (other, weight) in weights.iter().enumerate().filter(|(n, _)| *n != at) {
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

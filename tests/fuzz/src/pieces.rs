//! Ways to cut an input into pieces. They depend on the bytes alone, so a replay gives the same
//! crash, and a corpus file is plain HTTP.

/// Returns the ends of the pieces for four ways to cut: one piece, single bytes, and twice by
/// chance. The ends rise, and the last one is the end of `bytes`.
pub(crate) fn cuts(bytes: &[u8]) -> [Vec<usize>; 4] {
    let all = bytes.len();
    let mut chance = seed(bytes);
    let mut by_chance = |longest: u64| {
        let mut ends = Vec::new();
        let mut at = 0;
        while at < all {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            at = all.min(at + 1 + (chance % longest) as usize);
            ends.push(at);
        }
        ends
    };
    [vec![all], (1..=all).collect(), by_chance(7), by_chance(90)]
}

/// Returns a seed by FNV-1a. It is never 0, a state that xorshift would not leave.
fn seed(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
        | 1
}

//! Ways to cut an input into pieces. They follow from the bytes, so that a replayed crash is the
//! same crash, and a corpus file is plain HTTP.

/// The ends of the pieces, in rising order; the last is the end of `bytes`. There are four ways:
/// all at once, byte by byte, and twice by chance.
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

/// FNV-1a. It is never 0, because xorshift would stay there.
fn seed(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
        | 1
}

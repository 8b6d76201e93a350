//! Bodies larger than anybody may hold, sent and compared piece by piece.

use std::io::{Read, Write};
use std::time::Duration;

use super::wire::Wire;

/// The pattern repeats after this many bytes. It is a prime, so that the loss, repetition or move
/// of a piece of any power of two shows.
const PERIOD: usize = 251;

/// Whole periods, so that one block continues the other.
const BLOCK: usize = 256 * PERIOD;

/// The first `len` bytes of the pattern.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % PERIOD) as u8).collect()
}

impl Wire {
    /// Sends the first `len` bytes of the pattern.
    pub(super) fn send_pattern(&mut self, len: usize) {
        let block = pattern(BLOCK);
        let mut left = len;
        while left > 0 {
            let piece = &block[..left.min(BLOCK)];
            self.send(piece);
            left -= piece.len();
        }
    }

    /// Checks that the next bytes are the first `len` of the pattern.
    #[track_caller]
    pub(super) fn expect_pattern(&mut self, len: usize) {
        let block = pattern(BLOCK + PERIOD);
        let mut came = vec![0; BLOCK];
        let mut at = 0;
        while at < len {
            let most = BLOCK.min(len - at);
            let n = self.0.read(&mut came[..most]).unwrap();
            assert!(n > 0, "it ended after {at} of {len} bytes");
            let expected = &block[at % PERIOD..][..n];
            assert!(came[..n] == *expected, "other bytes came after {at} of {len}");
            at += n;
        }
    }

    /// Sends the pattern until the other side takes nothing for a while or ever again, or until
    /// `most` bytes are sent. Returns the number of bytes sent.
    pub(super) fn send_pattern_until_stuck(&mut self, most: usize) -> usize {
        let stuck_after = Duration::from_millis(300);
        let before = self.0.write_timeout().unwrap();
        self.0.set_write_timeout(Some(stuck_after)).unwrap();
        let block = pattern(BLOCK);
        let mut sent = 0;
        while sent < most {
            match self.0.write(&block[sent % BLOCK..]) {
                Ok(n) => sent += n,
                Err(_) => break,
            }
        }
        self.0.set_write_timeout(before).unwrap();
        sent
    }
}

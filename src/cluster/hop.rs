//! The mark of a balancer in a request. By it the balancer knows its own requests again, which would run
//! in a loop, and the page of a node names its balancer.
//!
//! The mark stands in `Forwarded` as `by=_pc0_NAME`, an obfuscated identifier (RFC 7239 section 6.3).
//! Where no `Forwarded` goes on, it stands in `X-Picluster-Hop` as seven characters made from the name,
//! and the same digit. `Via` (RFC 9110 section 7.6.3) would be the field for it, but a stock nginx sends
//! no compressed answer to a request that has one.
//!
//! The digit counts the balancers that the request came through before. A balancer removes the mark of
//! another one, because any client could have written it; so in a loop through two of them neither sees
//! its own. The count goes on, and ends the loop.

use crate::cluster::picker;

/// The most balancers that a request may come through before this one: the most that a digit counts.
const HOPS_MAX: u8 = 9;

/// The begin of every mark in `Forwarded`; the digit follows.
const PREFIX: &str = "_pc";

/// The place of the digit behind `by=_pc`.
const DIGIT_AT: usize = 3 + PREFIX.len();

/// The mark of one balancer.
#[derive(Debug)]
pub struct Hop {
    /// Its name, as far as an obfuscated identifier may spell it.
    name: String,
    /// `by=` and the mark of a request that came through no other balancer.
    first: String,
    /// The seven characters that stand for the name.
    short: String,
}

/// The marks that a request came with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hops {
    /// The number of balancers that it came through.
    pub count: u8,
    /// It came through this balancer, or through more than a request may: it runs in a loop.
    pub is_loop: bool,
}

impl Hop {
    /// The mark of the balancer of this name, which no other has.
    pub fn new(name: &str) -> Self {
        let spelt = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let short = format!("{:016x}", picker::key(name.as_bytes()));
        let name: String = name.chars().map(spelt).collect();
        Self { first: format!("by={PREFIX}0_{name}"), name, short: short[..7].to_owned() }
    }

    /// Appends `by=` and the mark, for a request that came through `count` balancers before.
    pub fn append_by(&self, count: u8, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(self.first.as_bytes());
        if count > 0 {
            out[begin + DIGIT_AT] = b'0' + count.min(HOPS_MAX);
        }
    }

    /// Appends the value of `X-Picluster-Hop`: 8 characters.
    pub fn append_short(&self, count: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(self.short.as_bytes());
        out.push(b'0' + count.min(HOPS_MAX));
    }

    /// Takes in a value of `Forwarded`.
    pub fn read_forwarded(&self, value: &[u8], hops: &mut Hops) {
        for (count, name) in marks(value) {
            hops.pass(count, name == self.name.as_bytes());
        }
    }

    /// Takes in a value of `X-Picluster-Hop`. One that is no mark is no hop.
    pub fn read_short(&self, value: &[u8], hops: &mut Hops) {
        if let [short @ .., digit @ b'0'..=b'9'] = value
            && short.len() == self.short.len()
        {
            hops.pass(digit - b'0', short == self.short.as_bytes());
        }
    }
}

impl Hops {
    fn pass(&mut self, count: u8, is_ours: bool) {
        self.is_loop |= is_ours || count == HOPS_MAX;
        self.count = self.count.max(count + 1).min(HOPS_MAX);
    }
}

/// The name of the last balancer that a value of `Forwarded` names.
pub fn last_balancer(forwarded: &[u8]) -> Option<&[u8]> {
    marks(forwarded).last().map(|(_, name)| name)
}

/// The marks of balancers in a value of `Forwarded`: the count and the name of each.
fn marks(forwarded: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let pairs = forwarded.split(|&b| matches!(b, b',' | b';')).map(<[u8]>::trim_ascii);
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_at_checked(3)?;
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        let value =
            value.strip_prefix(PREFIX.as_bytes()).filter(|_| name.eq_ignore_ascii_case(b"by="))?;
        match value {
            [digit @ b'0'..=b'9', b'_', name @ ..] => Some((digit - b'0', name)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(hop: &Hop, count: u8) -> String {
        let mut out = b"for=10.0.0.9;".to_vec();
        hop.append_by(count, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn seen(hop: &Hop, value: &str) -> Hops {
        let mut hops = Hops::default();
        hop.read_forwarded(value.as_bytes(), &mut hops);
        hops
    }

    #[test]
    fn a_balancer_knows_its_own_mark_and_no_other_program_s() {
        let hop = Hop::new("pi_ada-lb");
        assert_eq!(forwarded(&hop, 0), "for=10.0.0.9;by=_pc0_pi-ada-lb");
        for mine in
            ["a=b, BY=_pc0_pi-ada-lb", "by=\"_pc0_pi-ada-lb\";proto=http", "by=_pc3_pi-ada-lb"]
        {
            assert!(seen(&hop, mine).is_loop, "{mine}");
        }
        for other in
            ["by=_pc0_pi-ada", "by=_pc0_pi-ada-lb2", "for=_pc0_pi-ada-lb", "by=_gazonk", "by="]
        {
            assert!(!seen(&hop, other).is_loop, "{other}");
        }
        assert_eq!(seen(&hop, "by=_secret_9").count, 0, "not a balancer's");
    }

    #[test]
    fn a_loop_through_balancers_that_remove_each_other_s_marks_ends() {
        let (ada, bob) = (Hop::new("ada"), Hop::new("bob"));
        let (mut value, mut rounds) = (forwarded(&ada, 0), 0);
        loop {
            // Each of them sees the mark of the other one alone.
            let hop = if rounds % 2 == 0 { &bob } else { &ada };
            let hops = seen(hop, &value);
            if hops.is_loop {
                break;
            }
            value = forwarded(hop, hops.count);
            rounds += 1;
        }
        assert_eq!(rounds, u32::from(HOPS_MAX));
    }

    #[test]
    fn the_short_mark_has_eight_characters_and_is_read_like_the_long_one() {
        let (ada, bob) = (Hop::new("pi-ada-lb"), Hop::new("pi-bob-lb"));
        let mut value = Vec::new();
        ada.append_short(2, &mut value);
        assert_eq!(value.len(), 8);
        let seen = |hop: &Hop, value: &[u8]| {
            let mut hops = Hops::default();
            hop.read_short(value, &mut hops);
            hops
        };
        assert!(seen(&ada, &value).is_loop);
        assert_eq!(seen(&bob, &value), Hops { count: 3, is_loop: false });
        assert_eq!(seen(&bob, b"rubbish"), Hops::default());
        assert_eq!(seen(&bob, b"rubbish\xff"), Hops::default());
    }

    #[test]
    fn the_last_balancer_of_a_list_is_named() {
        let name = |value: &'static str| last_balancer(value.as_bytes());
        assert_eq!(name("for=a;by=_pc0_ada, for=b;by=_pc1_bob"), Some(&b"bob"[..]));
        assert_eq!(name("for=a;proto=http"), None);
        assert_eq!(name("rubbish"), None);
    }
}

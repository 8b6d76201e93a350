//! The self-check: whether the network has heard of us. mdns-sd keeps a failed bind of its port to
//! itself, so what it does report, an announcement, is waited for.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::interfaces::Link;

/// An announcement goes out about 1 s after there is an address; later than this something is wrong.
pub(super) const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);

/// How often the self-check looks until the first announcement went out: halfway it asks again.
pub(super) const CHECK_EVERY: Duration = Duration::from_millis(1500);

/// What the self-check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is well, or there is no network to be heard on.
    Fine,
    /// An address that was there before is announced without a word; asked again, it is reported.
    AskAgain,
    /// This daemon cannot be heard.
    Unheard,
}

/// Whether an announcement went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// It did.
    Yes,
    /// Not yet; `since` is when there was an address to do so from.
    No { since: Option<Instant> },
}

impl Announced {
    /// Not yet, with these addresses in use.
    pub(super) fn not_yet(used: &[Link], now: Instant) -> Self {
        Self::No { since: (!used.is_empty()).then_some(now) }
    }

    /// An announcement went out at `place`; says whether it is the first that counts.
    pub(super) fn on_announcement(&mut self, place: &str, used: &[Link]) -> bool {
        let first = *self != Self::Yes && counts(place, used);
        if first {
            *self = Self::Yes;
        }
        first
    }

    /// An address came or went (`added`), these are left. On loopback alone nobody else has heard of us
    /// yet; without an address, not any more; and a first address is yet to be announced.
    pub(super) fn on_address_change(&mut self, added: Option<IpAddr>, used: &[Link], now: Instant) {
        let loopback_only = used.iter().all(|link| link.ip.is_loopback());
        let first = added.is_some_and(|ip| used.iter().all(|link| link.ip == ip));
        if loopback_only || first {
            *self = Self::not_yet(used, now);
        }
    }

    /// Looks whether an announcement is overdue.
    pub(super) fn check(&mut self, used: &[Link], now: Instant) -> Verdict {
        let Self::No { since } = self else {
            return Verdict::Fine;
        };
        if used.is_empty() {
            *since = None;
            return Verdict::Fine;
        }
        if now.duration_since(*since.get_or_insert(now)) < ANNOUNCED_WITHIN {
            return Verdict::AskAgain;
        }
        Verdict::Unheard
    }
}

/// Whether an announcement at `place` is worth the name. mdns-sd writes either `host:interface` or a
/// list of addresses. One on loopback counts only if loopback is all we use.
fn counts(place: &str, used: &[Link]) -> bool {
    let on_loopback = match place.strip_prefix('[') {
        Some(list) => list
            .trim_end_matches(']')
            .split(", ")
            .all(|ip| ip.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())),
        None => place.rsplit(':').next() == Some("lo"),
    };
    !on_loopback || used.iter().all(|link| link.ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::interfaces::link;
    use super::*;

    #[test]
    fn an_announcement_on_loopback_counts_only_when_there_is_nothing_else() {
        let (lo, eth) = (link("lo", 1, "127.0.0.1/8"), link("eth0", 2, "10.0.0.1/24"));
        for (place, alone, with_eth) in [
            ("[127.0.0.1, ::1]", true, false),
            ("pc-a.local.:lo", true, false),
            ("[127.0.0.1, 10.0.0.1]", true, true),
            ("pc-a.local.:eth0", true, true),
        ] {
            assert_eq!(counts(place, std::slice::from_ref(&lo)), alone, "{place}");
            assert_eq!(counts(place, &[lo.clone(), eth.clone()]), with_eth, "{place}");
        }
    }

    #[test]
    fn silence_counts_from_the_first_address() {
        let (t0, eth) = (Instant::now(), [link("eth0", 2, "10.0.0.1/24")]);
        let mut heard = Announced::not_yet(&[], t0);
        assert_eq!(heard.check(&[], t0 + ANNOUNCED_WITHIN * 9), Verdict::Fine);
        let t1 = t0 + ANNOUNCED_WITHIN * 10;
        heard.on_address_change(Some("10.0.0.1".parse().unwrap()), &eth, t1);
        assert_eq!(heard.check(&eth, t1 + CHECK_EVERY), Verdict::AskAgain);
        assert_eq!(heard.check(&eth, t1 + ANNOUNCED_WITHIN), Verdict::Unheard);
        assert!(heard.on_announcement("pc-a.local.:eth0", &eth));
        assert_eq!(heard.check(&eth, t1 + ANNOUNCED_WITHIN), Verdict::Fine);
        assert!(!heard.on_announcement("pc-a.local.:eth0", &eth));
    }

    #[test]
    fn a_second_address_starts_no_new_wait_but_the_loss_of_the_last_does() {
        let now = Instant::now();
        let (eth, wlan) = (link("eth0", 2, "10.0.0.1/24"), link("wlan0", 3, "10.0.0.2/24"));
        let mut heard = Announced::Yes;
        heard.on_address_change(Some(wlan.ip), &[eth, wlan.clone()], now);
        assert_eq!(heard, Announced::Yes);
        heard.on_address_change(None, &[wlan], now);
        assert_eq!(heard, Announced::Yes);
        heard.on_address_change(None, &[], now);
        assert_eq!(heard, Announced::No { since: None });
    }
}

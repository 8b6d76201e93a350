//! The self-check: whether the network has heard of us. mdns-sd does not report that it failed to
//! bind its port. It does report announcements, so the check waits for one. The check only judges;
//! its owner acts.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::interfaces::Link;

/// An announcement goes out about 1 s after there is an address. If it takes longer than this,
/// something is wrong.
pub(super) const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);

/// The time between two checks until the first announcement goes out. The check halfway through
/// [`ANNOUNCED_WITHIN`] makes the daemon announce again.
pub(super) const CHECK_EVERY: Duration = Duration::from_millis(1500);

/// The result of a self-check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is well, or there is no network to be heard on.
    Fine,
    /// There is no report yet. The daemon announces an address that was there before without a
    /// report; if it has to announce again, it reports that.
    AskAgain,
    /// This daemon cannot be heard.
    Unheard,
}

/// The state of the self-check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// An announcement went out that others can hear.
    Yes,
    /// None yet. There has been an address to announce from since `since`; `None` means no address.
    No { since: Option<Instant> },
}

impl Announced {
    /// Starts without an announcement, with these addresses in use.
    pub(super) fn not_yet(used: &[Link], now: Instant) -> Self {
        Self::No { since: (!used.is_empty()).then_some(now) }
    }

    /// Takes note of an announcement at `place`. Returns whether it is the first that counts.
    pub(super) fn on_announcement(&mut self, place: &str, used: &[Link]) -> bool {
        let first = *self != Self::Yes && counts(place, used);
        if first {
            *self = Self::Yes;
        }
        first
    }

    /// Takes note that an address came (`added`) or went; `used` are the addresses in use now. With
    /// loopback alone nobody else has heard of us yet, without an address nobody can hear us any
    /// more, and a first address is yet to be announced: each of them starts a new wait.
    pub(super) fn on_address_change(&mut self, added: Option<IpAddr>, used: &[Link], now: Instant) {
        let loopback_only = used.iter().all(|link| link.ip.is_loopback());
        let first = added.is_some_and(|ip| used.iter().all(|link| link.ip == ip));
        if loopback_only || first {
            *self = Self::not_yet(used, now);
        }
    }

    /// Checks whether an announcement is overdue.
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

/// Returns whether an announcement at `place` counts. mdns-sd writes `place` either as
/// `host:interface` or as a list of addresses. An announcement on loopback counts only if we use
/// nothing but loopback.
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

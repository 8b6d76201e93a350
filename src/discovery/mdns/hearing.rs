//! Turns an event of mdns-sd into a sighting: the instance, its checked TXT record, and those of
//! its addresses that pass the filter. It reports what it ignores, and bounds those reports.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ScopedIp};
use tracing::{debug, warn};

use super::filter::{Heard, Refusal, Trust, endpoints, judge};
use super::interfaces::{Interfaces, Link};
use crate::cluster::counts::Counts;
use crate::cluster::node::{Advertisement, NodeId, Sighting, TxtError, printable};

/// The most instances whose warning is remembered; of a flood the first few are enough.
const WARNED_MAX: usize = 64;

/// The time for which a warning about an instance is not repeated.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// A TXT record that comes later than this after the rest of its instance counts as missing.
const TXT_LATE: Duration = Duration::from_secs(3);

/// Returns whether an id at a port belongs to a node of this machine.
type IsOwn = Box<dyn Fn(&NodeId, u16) -> bool + Send>;

/// The least time between two warnings, whatever they are about.
const WARN_APART: Duration = Duration::from_secs(1);

/// Judges the resolved instances of one service.
pub(super) struct Hearing {
    service: &'static str,
    interfaces: Arc<Interfaces>,
    trust: Trust,
    is_own: IsOwn,
    warnings: Warnings,
    without_txt: WithoutTxt,
    counts: Arc<Counts>,
}

impl Hearing {
    pub(super) fn new(
        service: &'static str,
        interfaces: Arc<Interfaces>,
        trust: Trust,
        is_own: impl Fn(&NodeId, u16) -> bool + Send + 'static,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            service,
            interfaces,
            trust,
            is_own: Box::new(is_own),
            warnings: Warnings::default(),
            without_txt: WithoutTxt::default(),
            counts,
        }
    }

    /// Returns the sighting that a resolved service amounts to, or `None` if it cannot be used.
    pub(super) fn sighting(&mut self, service: &ResolvedService, now: Instant) -> Option<Sighting> {
        let instance = instance_label(&service.fullname, self.service)?;
        let txt = &service.txt_properties;
        let value = |key: &str| std::str::from_utf8(txt.get_property_val(key)??).ok();
        let advertisement = match Advertisement::parse(value) {
            Ok(advertisement) => advertisement,
            Err(error) => {
                self.report_txt_error(instance, &error, now);
                return None;
            }
        };
        self.without_txt.0.remove(instance);
        let heard: Vec<Heard> = service.addresses.iter().map(heard).collect();
        let links = self.interfaces.links();
        // A picluster node that was heard on loopback alone is on this machine, whatever id it was
        // given. Its health answer must still prove that it is the node of this id.
        let local =
            |id: &NodeId| (self.is_own)(id, service.port) || only_on_loopback(&heard, &links);
        let own = advertisement.id.as_ref().is_some_and(local);
        let endpoints = endpoints(&self.trust, &links, &heard, service.port, own);
        if endpoints.is_empty() {
            self.counts.mdns.ignored.add("no_address");
            self.report_refusals(instance, service.port, own, &heard, now);
            return None;
        }
        Some(Sighting {
            instance: instance.to_owned(),
            target: service.host.strip_suffix(".local.").unwrap_or(&service.host).to_owned(),
            endpoints,
            advertisement,
        })
    }

    /// Counts a TXT record that cannot be used, and logs the reason.
    fn report_txt_error(&mut self, instance: &str, error: &TxtError, now: Instant) {
        let missing = *error == TxtError::NotYet;
        self.counts.mdns.ignored.add(match error {
            TxtError::NotYet => "txt_missing",
            TxtError::Version(_) => "txt_version",
            TxtError::Malformed(_) => "txt_malformed",
        });
        if missing && !self.without_txt.is_overdue(instance, now) {
            return;
        }
        let may_warn = self.warnings.may_warn(instance, &error.to_string(), now);
        let instance = printable(instance, 63);
        match (missing, may_warn) {
            (true, true) => warn!(
                instance, %error,
                "ignored an advertised node; correct its txt record, for example \
                 `avahi-publish -s NAME _picluster._tcp PORT v=1`"
            ),
            (false, true) => warn!(
                instance, %error,
                "ignored an advertised node; correct its txt record or update the older side"
            ),
            (true, false) => {}
            (false, false) => debug!(instance, %error, "ignored an advertised node"),
        }
    }

    /// Counts and logs the reasons why no address of an instance is used. There is no warning about
    /// an IPv6 address, because it often comes before the IPv4 address of the same instance.
    fn report_refusals(
        &mut self,
        instance: &str,
        port: u16,
        own: bool,
        heard: &[Heard],
        now: Instant,
    ) {
        let links = self.interfaces.links();
        for heard in heard {
            let Err(refusal) = judge(&self.trust, &links, heard, port, own) else {
                continue;
            };
            self.counts.mdns.addresses_refused.add(refusal.as_str());
            let instance_text = printable(instance, 63);
            debug!(instance = instance_text, ip = %heard.ip, ?refusal, "address refused");
            if refusal == Refusal::OffLink
                && heard.ip.is_ipv4()
                && self.warnings.may_warn(instance, "off link", now)
            {
                warn!(
                    instance = instance_text, ip = %heard.ip,
                    "ignored an advertised node: its address is in no subnet of this machine; \
                     use --allow-off-link if it is meant"
                );
            }
        }
    }
}

/// The instances that are known without their TXT record, each with the time when it was first
/// heard. The record often comes a moment after the rest; a record that is still missing when the
/// daemon repeats the instance is not on its way.
#[derive(Default)]
struct WithoutTxt(HashMap<String, Instant>);

impl WithoutTxt {
    /// Returns whether this instance has been without its record for too long.
    fn is_overdue(&mut self, instance: &str, now: Instant) -> bool {
        if let Some(since) = self.0.get(instance) {
            return now.duration_since(*since) >= TXT_LATE;
        }
        if self.0.len() >= WARNED_MAX {
            self.0.retain(|_, since| now.duration_since(*since) < WARN_AGAIN_AFTER);
        }
        if self.0.len() < WARNED_MAX {
            self.0.insert(instance.to_owned(), now);
        }
        false
    }
}

/// The warnings that were written, so that they stay rare. A suppressed warning gets another
/// chance: the daemon repeats every instance each time it browses.
#[derive(Default)]
struct Warnings {
    /// The time and the fault of the last warning about each instance.
    instances: HashMap<String, (Instant, String)>,
    /// The time of the last warning about any instance.
    last: Option<Instant>,
}

impl Warnings {
    /// Returns whether a warning about this fault of this instance may be written now, and if so
    /// takes it as written.
    fn may_warn(&mut self, instance: &str, fault: &str, now: Instant) -> bool {
        let recent = |at: &Instant| now.duration_since(*at) < WARN_AGAIN_AFTER;
        let known = |(at, warned_of): &(Instant, String)| recent(at) && warned_of == fault;
        if self.last.is_some_and(|at| now.duration_since(at) < WARN_APART)
            || self.instances.get(instance).is_some_and(known)
        {
            return false;
        }
        if self.instances.len() >= WARNED_MAX {
            self.instances.retain(|_, (at, _)| recent(at));
        }
        if self.instances.len() >= WARNED_MAX {
            return false;
        }
        self.instances.insert(instance.to_owned(), (now, fault.to_owned()));
        self.last = Some(now);
        true
    }
}

/// Returns the instance label of a full name, or `None` if the name is not of this service. mdns-sd
/// hands out names as they were on the wire, without escapes: dots and backslashes belong to the
/// label, and only the type is cut off.
pub(super) fn instance_label<'a>(fullname: &'a str, service: &str) -> Option<&'a str> {
    let split = fullname.len().checked_sub(service.len() + 1)?;
    let (label, rest) = fullname.split_at_checked(split)?;
    let is_service = rest.strip_prefix('.').is_some_and(|ty| ty.eq_ignore_ascii_case(service));
    (is_service && !label.is_empty()).then_some(label)
}

/// Returns whether these addresses were heard on the loopback interface alone.
fn only_on_loopback(heard: &[Heard], links: &[Link]) -> bool {
    let is_loopback =
        |index: &u32| links.iter().any(|link| link.index == *index && link.ip.is_loopback());
    heard.iter().all(|heard| !heard.on.is_empty() && heard.on.iter().all(is_loopback))
}

fn heard(address: &ScopedIp) -> Heard {
    let on = match address {
        ScopedIp::V4(v4) => v4.interface_ids().iter().map(|id| id.index).collect(),
        ScopedIp::V6(v6) => vec![v6.scope_id().index],
        _ => Vec::new(),
    };
    Heard { ip: address.to_ip_addr(), on }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::SERVICE;

    #[test]
    fn an_instance_label_may_hold_anything() {
        for label in ["pc-abc", "My NAS", "a.b", r"back\slash", r"dot\.ted", "küche", "_tcp"] {
            let fullname = format!("{label}.{SERVICE}");
            assert_eq!(instance_label(&fullname, SERVICE), Some(label));
        }
        assert_eq!(instance_label("x._PiCluster._TCP.Local.", SERVICE), Some("x"));
        for other in ["", SERVICE, &format!(".{SERVICE}"), "x._http._tcp.local.", "ü_picluster"] {
            assert_eq!(instance_label(other, SERVICE), None, "{other}");
        }
    }

    #[test]
    fn warnings_are_rare_and_the_memory_of_them_is_bounded() {
        let (mut warnings, mut now) = (Warnings::default(), Instant::now());
        assert!(warnings.may_warn("a", "v=2", now));
        assert!(!warnings.may_warn("b", "v=2", now));
        assert!(warnings.may_warn("b", "v=2", now + WARN_APART));
        assert!(!warnings.may_warn("a", "v=2", now + 2 * WARN_APART));
        assert!(warnings.may_warn("a", "cluster", now + 2 * WARN_APART));
        assert!(warnings.may_warn("a", "cluster", now + 2 * WARN_AGAIN_AFTER));
        now += 4 * WARN_AGAIN_AFTER;
        let mut warnings_written = 0;
        for n in 0..200 {
            warnings_written +=
                usize::from(warnings.may_warn(&n.to_string(), "v=2", now + n * WARN_APART));
        }
        assert_eq!((warnings_written, warnings.instances.len()), (WARNED_MAX, WARNED_MAX));
        assert!(warnings.may_warn("c", "v=2", now + 2 * WARN_AGAIN_AFTER));
    }

    #[test]
    fn a_late_txt_record_is_awaited_briefly_and_strangers_fill_no_memory() {
        let (mut without, now) = (WithoutTxt::default(), Instant::now());
        assert!(!without.is_overdue("a", now));
        assert!(!without.is_overdue("a", now + TXT_LATE / 2));
        assert!(without.is_overdue("a", now + TXT_LATE));
        for n in 0..200 {
            without.is_overdue(&n.to_string(), now);
        }
        assert_eq!(without.0.len(), WARNED_MAX);
    }
}

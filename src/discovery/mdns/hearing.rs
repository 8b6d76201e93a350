//! What an event of mdns-sd means: the instance, its checked TXT record, and those of its addresses
//! that pass the filter.

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

/// How long a warning about an instance is not repeated.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// A TXT record that comes later than this after the rest is missing.
const TXT_LATE: Duration = Duration::from_secs(3);

/// Whether an id at a port is that of a node of this machine.
type IsOwn = Box<dyn Fn(&NodeId, u16) -> bool + Send>;

/// The least time between two warnings, whatever they are about.
const WARN_APART: Duration = Duration::from_secs(1);

/// Judges what was heard.
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

    /// What a resolved service says, if it can be used.
    pub(super) fn sighting(&mut self, service: &ResolvedService, now: Instant) -> Option<Sighting> {
        let instance = instance_label(&service.fullname, self.service)?;
        let txt = &service.txt_properties;
        let value = |key: &str| std::str::from_utf8(txt.get_property_val(key)??).ok();
        let advertisement = match Advertisement::parse(value) {
            Ok(advertisement) => advertisement,
            Err(error @ TxtError::NotYet) => {
                self.counts.mdns.ignored.add("txt_missing");
                if self.without_txt.is_overdue(instance, now)
                    && self.warnings.may_warn(instance, &error.to_string(), now)
                {
                    warn!(
                        instance = printable(instance, 63), %error,
                        "ignored an advertised node; correct its txt record, for example \
                         `avahi-publish -s NAME _picluster._tcp PORT v=1`"
                    );
                }
                return None;
            }
            Err(error) => {
                let version = matches!(error, TxtError::Version(_));
                let reason = if version { "txt_version" } else { "txt_malformed" };
                self.counts.mdns.ignored.add(reason);
                let (may, instance) = (
                    self.warnings.may_warn(instance, &error.to_string(), now),
                    printable(instance, 63),
                );
                if may {
                    warn!(
                        instance, %error,
                        "ignored an advertised node; correct its txt record or update the older side"
                    );
                } else {
                    debug!(instance, %error, "ignored an advertised node");
                }
                return None;
            }
        };
        self.without_txt.0.remove(instance);
        let heard: Vec<Heard> = service.addresses.iter().map(heard).collect();
        let links = self.interfaces.links();
        // A picluster node heard on loopback alone is on this machine, whatever id it was given; that
        // it is the node of this id its health answer must show.
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

    /// Says why no address of an instance is used. IPv6 alone is no news: it often comes before IPv4.
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

/// Since when instances are known without their TXT record. It often comes a moment after the rest; one
/// that is not there when the daemon repeats the instance is not on its way.
#[derive(Default)]
struct WithoutTxt(HashMap<String, Instant>);

impl WithoutTxt {
    /// Whether this instance has been without for too long.
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

/// When each instance was last warned about, and when anything was. What is passed over comes again: the
/// daemon repeats every instance each time it browses.
#[derive(Default)]
struct Warnings {
    /// When, and of what.
    instances: HashMap<String, (Instant, String)>,
    last: Option<Instant>,
}

impl Warnings {
    /// Whether to warn about this fault of this instance now.
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

/// The instance label of a full name. mdns-sd hands names out as they were on the wire, without
/// escapes, so dots and backslashes in the label are its own and only the type is cut off.
pub(super) fn instance_label<'a>(fullname: &'a str, service: &str) -> Option<&'a str> {
    let split = fullname.len().checked_sub(service.len() + 1)?;
    let (label, rest) = fullname.split_at_checked(split)?;
    let is_service = rest.strip_prefix('.').is_some_and(|ty| ty.eq_ignore_ascii_case(service));
    (is_service && !label.is_empty()).then_some(label)
}

/// Whether these addresses were heard on the loopback interface and nowhere else.
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
    fn warnings_are_rare_and_what_is_remembered_of_them_is_bounded() {
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
    fn a_txt_record_may_be_late_but_not_for_long_and_strangers_without_one_fill_no_memory() {
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

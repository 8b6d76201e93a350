//! The services that are advertised, and their DNS-SD names. It does not talk to a daemon.

use std::net::IpAddr;

use data_encoding::BASE32_NOPAD;
use mdns_sd::{Result, ServiceInfo};
use sha2::{Digest, Sha256};

use crate::cluster::node::{Advertisement, LB_SERVICE, NodeId, SERVICE};
use crate::cluster::route::CLUSTER_HOST;

/// The longest part of an id in a label. A label has at most 63 bytes: the other 17 are `pc-`, nine
/// bytes for the kind of service, and a suffix of five.
const ID_CHARS_MAX: usize = 46;

/// One service to advertise.
#[derive(Clone, Debug)]
pub enum Advert {
    /// A node that takes requests at `port`.
    Node {
        /// Its id, which is also its label.
        id: NodeId,
        /// The port it serves on.
        port: u16,
        /// Its TXT record, the same for the life of the process.
        txt: Advertisement,
    },
    /// A balancer, for the tools to find.
    Balancer {
        /// Its id, which is also its label.
        id: NodeId,
        /// Its admin port.
        port: u16,
        /// Its TXT record.
        txt: Advertisement,
    },
    /// A name that leads to a balancer, as a web server at `port`: [`CLUSTER_HOST`], or the name of
    /// an application. One balancer of the link holds it, the others stand by.
    Host {
        /// The name, with the dot at its end.
        name: String,
        /// The balancer's own id, which goes into the label of the service.
        id: NodeId,
        /// The port that clients connect to.
        port: u16,
    },
}

/// One service and its label.
pub(super) struct Service {
    advert: Advert,
    /// The address its listener is bound to.
    bound: IpAddr,
    label: String,
}

impl Service {
    pub(super) fn new(advert: Advert, bound: IpAddr) -> Self {
        let label = label(&advert);
        Self { advert, bound, label }
    }

    /// Takes a fresh label, because another machine answers for the present one.
    pub(super) fn rename(&mut self) {
        self.label = format!("{}-{:04x}", label(&self.advert), fastrand::u16(..));
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Returns the host name. Its label is the instance label: a goodbye withdraws the addresses of
    /// its host, so no two registrations may share one.
    pub(super) fn host(&self) -> String {
        match &self.advert {
            Advert::Host { name, .. } => name.clone(),
            Advert::Node { .. } | Advert::Balancer { .. } => format!("{}.local.", self.label),
        }
    }

    pub(super) fn fullname(&self) -> String {
        format!("{}.{}", self.label, self.ty())
    }

    fn ty(&self) -> &'static str {
        match self.advert {
            Advert::Node { .. } => SERVICE,
            Advert::Balancer { .. } => LB_SERVICE,
            Advert::Host { .. } => "_http._tcp.local.",
        }
    }

    /// Returns the registration. If the listener is bound to all addresses, the daemon fills them
    /// in: it knows them by interface and follows their changes. Without `probe` the names are
    /// known to be ours, and the daemon announces them at once.
    ///
    /// # Errors
    ///
    /// mdns-sd refuses a name or a TXT record.
    pub(super) fn info(&self, probe: bool) -> Result<ServiceInfo> {
        let (port, txt) = match &self.advert {
            Advert::Node { port, txt, .. } | Advert::Balancer { port, txt, .. } => {
                (*port, txt.to_txt())
            }
            Advert::Host { port, .. } => (*port, Vec::new()),
        };
        let one = (!self.bound.is_unspecified()).then_some(self.bound);
        let ips = one.as_slice();
        let mut info = ServiceInfo::new(self.ty(), &self.label, &self.host(), ips, port, &txt[..])?;
        info.set_requires_probe(probe);
        Ok(if one.is_some() { info } else { info.enable_addr_auto() })
    }

    /// Returns whether a record named `name` is ours.
    pub(super) fn owns(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(&self.fullname()) || name.eq_ignore_ascii_case(&self.host())
    }
}

fn label(advert: &Advert) -> String {
    let (id, role) = match advert {
        Advert::Node { id, .. } => (id, String::new()),
        Advert::Balancer { id, .. } => (id, "-lb".to_owned()),
        Advert::Host { id, name, .. } if name == CLUSTER_HOST => (id, "-http".to_owned()),
        // The name itself may be too long for a label.
        Advert::Host { id, name, .. } => {
            let digest = BASE32_NOPAD.encode(&Sha256::digest(name)[..5]).to_ascii_lowercase();
            (id, format!("-{digest}"))
        }
    };
    let id = id.as_str();
    format!("pc-{}{role}", &id[..id.len().min(ID_CHARS_MAX)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txt() -> Advertisement {
        Advertisement::parse(|key| (key == "v").then_some("1")).unwrap()
    }

    fn services(id: &str) -> [Service; 4] {
        let id = NodeId::new(id).unwrap();
        [
            Advert::Node { id: id.clone(), port: 8080, txt: txt() },
            Advert::Balancer { id: id.clone(), port: 7070, txt: txt() },
            Advert::Host { name: CLUSTER_HOST.to_owned(), id: id.clone(), port: 80 },
            Advert::Host { name: "blog.local.".to_owned(), id, port: 80 },
        ]
        .map(|advert| Service::new(advert, IpAddr::from([0, 0, 0, 0])))
    }

    #[test]
    fn each_registration_has_a_host_label_of_its_own() {
        let [node, lb, host, blog] = services("b2fkq7abcdefg");
        assert_eq!(node.fullname(), "pc-b2fkq7abcdefg._picluster._tcp.local.");
        assert_eq!(node.host(), "pc-b2fkq7abcdefg.local.");
        assert_eq!(lb.fullname(), "pc-b2fkq7abcdefg-lb._picluster-lb._tcp.local.");
        assert_eq!(lb.host(), "pc-b2fkq7abcdefg-lb.local.");
        assert_eq!(host.fullname(), "pc-b2fkq7abcdefg-http._http._tcp.local.");
        assert_eq!(host.host(), CLUSTER_HOST);
        assert_eq!(blog.host(), "blog.local.");
        assert_ne!(blog.fullname(), host.fullname());
    }

    #[test]
    fn the_longest_id_still_makes_legal_labels_after_a_conflict() {
        for mut service in services(&"x".repeat(63)) {
            let before = service.label().to_owned();
            service.rename();
            assert_ne!(service.label(), before);
            assert!(service.label().len() <= 63, "{}", service.label());
            assert!(service.info(true).is_ok());
        }
    }

    #[test]
    fn a_lost_name_counts_as_ours_until_it_is_replaced() {
        let [mut node, ..] = services("abc");
        assert!(node.owns("PC-abc.local.") && node.owns("pc-abc._picluster._tcp.local."));
        node.rename();
        assert!(!node.owns("pc-abc.local."));
    }
}

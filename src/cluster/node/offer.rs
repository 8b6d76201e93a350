//! What a node offers: which application it serves, which requests that takes, and how large a part
//! of them this node wants.

use std::ops::RangeInclusive;

use super::txt::{TxtError, is_cluster_name};
use crate::cluster::balance::Balance;
use crate::cluster::route::{self, Route};

/// The service of everybody who did not say another (`app` absent in TXT).
pub const DEFAULT_SERVICE: &str = "default";

/// The hosts that one node may name.
pub const HOSTS_MAX: usize = 16;

/// What a node may weigh.
pub const WEIGHTS: RangeInclusive<u8> = 1..=100;

/// What these keys may take of a TXT record, so that the whole of it stays under 400 bytes.
pub const TXT_BYTES_MAX: usize = 200;

/// The application of a node, as it advertises it. Fixed for one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `app`: nodes of one service stand in for each other, whatever routes each of them names.
    pub service: String,
    /// `host`: the names that lead here, separated by commas; none means any.
    pub hosts: Vec<String>,
    /// `path`: what lies here and below is taken; `/` means all.
    pub path: String,
    /// `strip`: the path is cut off before the node sees it.
    pub strip: bool,
    /// `weight`: how many turns of the rotation it has for one of a node that says nothing.
    pub weight: u8,
    /// `lb`: how requests are shared among the nodes of its service, whatever the balancer's flag. Who
    /// does not know the policy goes by the flag.
    pub balance: Option<Balance>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            service: DEFAULT_SERVICE.to_owned(),
            hosts: Vec::new(),
            path: "/".to_owned(),
            strip: false,
            weight: 1,
            balance: None,
        }
    }
}

impl Offer {
    /// Reads the keys of a TXT record. `value` gives that of a key unless it is empty.
    pub(super) fn parse<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Result<Self, TxtError> {
        let malformed = TxtError::Malformed;
        let hosts = |text: &str| -> Option<Vec<String>> {
            let hosts: Option<Vec<_>> = text.split(',').map(route::host).collect();
            hosts.filter(|hosts| hosts.len() <= HOSTS_MAX)
        };
        let weight = |text: &str| text.parse().ok().filter(|weight| WEIGHTS.contains(weight));
        Ok(Self {
            service: match value("app") {
                None => DEFAULT_SERVICE.to_owned(),
                Some(name) if is_service_name(name) => name.to_owned(),
                Some(_) => return Err(malformed("app")),
            },
            hosts: value("host").map_or(Some(Vec::new()), hosts).ok_or(malformed("host"))?,
            path: route::path(value("path").unwrap_or("/")).ok_or(malformed("path"))?,
            strip: match value("strip") {
                None | Some("0") => false,
                Some("1") => true,
                Some(_) => return Err(malformed("strip")),
            },
            weight: value("weight").map_or(Some(1), weight).ok_or(malformed("weight"))?,
            balance: value("lb").and_then(Balance::parse),
        })
    }

    /// Writes the keys of a TXT record; nothing for what is as it is without a word.
    pub(super) fn to_txt(&self, mut put: impl FnMut(&'static str, Option<String>)) {
        put("app", (self.service != DEFAULT_SERVICE).then(|| self.service.clone()));
        put("host", (!self.hosts.is_empty()).then(|| self.hosts.join(",")));
        put("path", (self.path != "/").then(|| self.path.clone()));
        put("strip", self.strip.then(|| "1".to_owned()));
        put("weight", (self.weight != 1).then(|| self.weight.to_string()));
        put("lb", self.balance.as_ref().map(ToString::to_string));
    }

    /// The bytes it takes of a TXT record: each key with its value and a byte for the length.
    pub fn txt_bytes(&self) -> usize {
        let mut bytes = 0;
        self.to_txt(|key, value| bytes += value.map_or(0, |value| key.len() + value.len() + 2));
        bytes
    }

    /// What it serves, for people: `blog at blog.local, www.example`. `None` if that is what a node serves
    /// that says nothing.
    pub fn serves(&self) -> Option<String> {
        let everything = self.hosts.is_empty() && self.path == "/";
        let routes: Vec<_> = self.routes().map(|route| route.to_string()).collect();
        match (everything, self.service == DEFAULT_SERVICE) {
            (true, true) => None,
            (true, false) => Some(self.service.clone()),
            (false, _) => Some(format!("{} at {}", self.service, routes.join(", "))),
        }
    }

    /// The routes it names: its path at each of its hosts.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        let any = self.hosts.is_empty().then_some(None);
        let hosts = self.hosts.iter().cloned().map(Some).chain(any);
        hosts.map(|host| Route { host, path: self.path.clone() })
    }
}

/// Whether a service may be called so: 1 to 32 of `[A-Za-z0-9._-]`, as a cluster.
pub fn is_service_name(text: &str) -> bool {
    is_cluster_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_takes_no_more_of_a_record_than_it_says() {
        assert_eq!(Offer::default().txt_bytes(), 0);
        let offer = Offer { service: "blog".to_owned(), weight: 20, ..Offer::default() };
        assert_eq!(offer.txt_bytes(), "-app=blog-weight=20".len());
    }

    #[test]
    fn the_routes_of_an_offer_are_its_path_at_each_of_its_hosts() {
        let written = |offer: &Offer| offer.routes().map(|r| r.to_string()).collect::<Vec<_>>();
        assert_eq!(written(&Offer::default()), ["all that has no other route"]);
        let hosts = vec!["a.local".to_owned(), "b.local".to_owned()];
        let blog = Offer { hosts, path: "/blog".to_owned(), ..Offer::default() };
        assert_eq!(written(&blog), ["a.local/blog", "b.local/blog"]);
        assert_eq!(blog.serves().unwrap(), "default at a.local/blog, b.local/blog");
        assert_eq!(Offer::default().serves(), None);
        let service = "shop".to_owned();
        assert_eq!(Offer { service, ..Offer::default() }.serves().unwrap(), "shop");
    }
}

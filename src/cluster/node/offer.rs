//! The offer of a node: the application that it serves, the requests that this takes, and the part
//! of them that the node wants.

use std::ops::RangeInclusive;

use super::txt::{TxtError, is_cluster_name};
use crate::cluster::balance::Balance;
use crate::cluster::route::{self, Route};

/// The service of all nodes that name none (`app` absent in TXT).
pub const DEFAULT_SERVICE: &str = "default";

/// The most hosts that one node may name.
pub const HOSTS_MAX: usize = 16;

/// The weights that a node may have.
pub const WEIGHTS: RangeInclusive<u8> = 1..=100;

/// The most bytes that these keys may take of a TXT record, so that the whole of it stays under 400
/// bytes.
pub const TXT_BYTES_MAX: usize = 200;

/// The fields by which a node learns of the client of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardFields {
    /// `all`: `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix`, `Forwarded`, `X-Request-Id`, and
    /// `Via` if the balancer sends one.
    #[default]
    All,
    /// `for`: `X-Forwarded-For` alone, for a device with little room for a head.
    For,
    /// `none`: not one, for a server that refuses what it was not told to trust.
    None,
}

impl ForwardFields {
    /// Reads the value of the key `fwd`.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::All, Self::For, Self::None].into_iter().find(|fields| fields.as_str() == word)
    }

    /// The value of the key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::For => "for",
            Self::None => "none",
        }
    }
}

/// The application of a node, as it advertises it. Fixed for one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `app`: the name of the service. Nodes of one service stand in for each other, whatever
    /// routes each of them names.
    pub service: String,
    /// `host`: the hosts whose requests are taken, separated by commas; none means any host.
    pub hosts: Vec<String>,
    /// `path`: the requests for this path and below it are taken; `/` means all.
    pub path: String,
    /// `strip`: whether the path is cut off before the node sees the request.
    pub strip: bool,
    /// `weight`: the number of its turns in the rotation for each turn of a node that names no
    /// weight; one of [`WEIGHTS`].
    pub weight: u8,
    /// `lb`: the policy by which requests are shared among the nodes of its service, whatever the
    /// flag of the balancer. A balancer that does not know the policy uses its flag.
    pub balance: Option<Balance>,
    /// `fwd`: the fields that name the client in a request. A picluster node that says nothing gets
    /// all; a foreign device gets `for`, because it may have room for a short head only.
    pub forward: ForwardFields,
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
            forward: ForwardFields::All,
        }
    }
}

impl Offer {
    /// Reads the keys of a TXT record. `value` returns the value of a key, unless it is absent or
    /// empty.
    pub(super) fn parse<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Result<Self, TxtError> {
        let malformed = TxtError::Malformed;
        let hosts = |text: &str| -> Option<Vec<String>> {
            let hosts: Option<Vec<_>> = text.split(',').map(route::host).collect();
            hosts.filter(|hosts| hosts.len() <= HOSTS_MAX)
        };
        let weight = |text: &str| text.parse().ok().filter(|weight| WEIGHTS.contains(weight));
        let by_default =
            if value("id").is_some() { ForwardFields::All } else { ForwardFields::For };
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
            forward: value("fwd")
                .map_or(Some(by_default), ForwardFields::parse)
                .ok_or(malformed("fwd"))?,
        })
    }

    /// Writes the keys of a TXT record; none for a value that a record without the key has as well.
    pub(super) fn to_txt(&self, mut put: impl FnMut(&'static str, Option<String>)) {
        put("app", (self.service != DEFAULT_SERVICE).then(|| self.service.clone()));
        put("host", (!self.hosts.is_empty()).then(|| self.hosts.join(",")));
        put("path", (self.path != "/").then(|| self.path.clone()));
        put("strip", self.strip.then(|| "1".to_owned()));
        put("weight", (self.weight != 1).then(|| self.weight.to_string()));
        put("lb", self.balance.as_ref().map(ToString::to_string));
        let forward = self.forward;
        put("fwd", (forward != ForwardFields::All).then(|| forward.as_str().to_owned()));
    }

    /// The bytes that it takes of a TXT record: each key with `=`, its value and a byte for the
    /// length.
    pub fn txt_bytes(&self) -> usize {
        let mut bytes = 0;
        self.to_txt(|key, value| bytes += value.map_or(0, |value| key.len() + value.len() + 2));
        bytes
    }

    /// The service and its routes, for people: `blog at blog.local, www.example`. `None` if they
    /// are those of a node that names none.
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

/// Returns whether the text is a legal name of a service: 1 to 32 characters of `[A-Za-z0-9._-]`,
/// as for a cluster.
pub fn is_service_name(text: &str) -> bool {
    is_cluster_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_takes_as_many_bytes_of_a_record_as_it_reports() {
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

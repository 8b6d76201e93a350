//! Routes: the rules for their hosts and paths, and the table in which the route of a request is
//! looked up. Nothing is decoded: the text of a route is compared with the bytes of the request.

use std::cmp::Ordering;
use std::fmt;

use crate::cluster::protocol::PRIVATE_SEGMENT;

/// The host name that a balancer claims, so that nobody types an address.
pub const CLUSTER_HOST: &str = "picluster.local.";

/// The longest path of a route, in bytes: its length fits a byte, with room.
pub const PATH_BYTES_MAX: usize = 64;

/// The longest name of DNS, in bytes of text (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// A route: it takes the requests for one host, or for any, whose path is this one or below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// As [`host`] returns it; `None` takes the requests for all hosts that have no route of their
    /// own for the path.
    pub host: Option<String>,
    /// As [`path`] returns it; `/` takes all.
    pub path: String,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.path.as_str()) {
            (None, "/") => f.write_str("all that has no other route"),
            (None, path) => f.write_str(path),
            (Some(host), "/") => f.write_str(host),
            (Some(host), path) => write!(f, "{host}{path}"),
        }
    }
}

/// A host in the one spelling by which routes are compared: a name of DNS in lower case without a
/// dot at its end.
///
/// `None` for any other text, for an address, and for [`CLUSTER_HOST`]: a node that had that name
/// to itself would take all requests from all others.
pub fn host(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(legal)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of an IPv4 address is a number; the last label of a name never is.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = name.len() <= HOST_BYTES_MAX
        && name.split('.').all(label)
        && !last.bytes().all(|b| b.is_ascii_digit());
    let is_ours =
        CLUSTER_HOST.strip_suffix('.').is_some_and(|ours| name.eq_ignore_ascii_case(ours));
    (is_name && !is_ours).then(|| name.to_ascii_lowercase())
}

/// A path in the one spelling by which routes are compared: segments of letters, digits and
/// `. _ ~ @ + -`, without a slash at its end unless the slash is all of it.
///
/// `None` for any text that could be read in two ways, and for the paths that balancer and node
/// keep for themselves.
pub fn path(text: &str) -> Option<String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._~@+-".contains(&b);
    let segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(legal);
    match text {
        "/" => Some(text.to_owned()),
        _ if text.len() > PATH_BYTES_MAX => None,
        _ => {
            let mut segments = path.strip_prefix('/')?.split('/');
            let private = segments.clone().next().is_some_and(|s| s.starts_with(PRIVATE_SEGMENT));
            (!private && segments.all(segment)).then(|| path.to_owned())
        }
    }
}

/// Routes and their targets. For a request the routes of its exact host come before those of any
/// host, and of these the longest path comes first.
///
/// ```
/// use picluster::cluster::route::{Route, Table, host, path};
///
/// let blog = Route { host: host("Blog.local."), path: path("/").unwrap() };
/// let wiki = Route { host: None, path: path("/wiki/").unwrap() };
/// let table = Table::new([(&blog, "blog"), (&wiki, "wiki")]);
///
/// // The number is the length of the route's path in the target: a node may not want to see it.
/// assert_eq!(table.find("blog.local:80", "/wiki/x"), Some(("blog", 0)));
/// assert_eq!(table.find("pi.local", "/wiki/x?y"), Some(("wiki", 5)));
/// assert_eq!(table.find("pi.local", "/wikipedia"), None);
/// ```
#[derive(Debug)]
pub struct Table<T> {
    /// In the order of [`by_length`], for a binary search.
    hosts: Vec<(Box<str>, Paths<T>)>,
    any: Paths<T>,
}

/// Paths, the longest first. `/` is stored as the empty text, with which every path begins.
type Paths<T> = Vec<(Box<str>, T)>;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { hosts: Vec::new(), any: Vec::new() }
    }
}

impl<T: Copy> Table<T> {
    /// The table of these routes, no two of which are equal.
    pub fn new<'a>(routes: impl IntoIterator<Item = (&'a Route, T)>) -> Self {
        let mut table = Self::default();
        for (route, to) in routes {
            let paths = match &route.host {
                None => &mut table.any,
                Some(host) => {
                    let at = match table.index(host) {
                        Ok(at) => at,
                        Err(at) => {
                            table.hosts.insert(at, (host.as_str().into(), Vec::new()));
                            at
                        }
                    };
                    &mut table.hosts[at].1
                }
            };
            let path = if route.path == "/" { "" } else { &route.path };
            let at = paths.partition_point(|(other, _)| other.len() >= path.len());
            paths.insert(at, (path.into(), to));
        }
        table
    }

    /// The target of the route that takes a request, and the length of the route's path in bytes, 0
    /// for `/`. `host` is the host of the request, with its port if it has one; `target` is the
    /// target of its request line, with the query.
    pub fn find(&self, host: &str, target: &str) -> Option<(T, usize)> {
        let of_host = if self.hosts.is_empty() { None } else { self.index(name(host)).ok() };
        let in_order = of_host.map(|at| &self.hosts[at].1).into_iter().chain([&self.any]);
        in_order
            .flatten()
            .find(|(path, _)| is_below(target, path))
            .map(|(path, to)| (*to, path.len()))
    }

    fn index(&self, host: &str) -> Result<usize, usize> {
        self.hosts.binary_search_by(|(other, _)| by_length(other, host))
    }
}

/// Compares two hosts, by length first, which distinguishes most hosts at once. `a` is in lower
/// case.
fn by_length(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.bytes().cmp(b.bytes().map(|b| b.to_ascii_lowercase())))
}

/// The host without its port and the dot that DNS puts at the end. The colons of an IPv6 address
/// are in brackets; no route is for one.
fn name(host: &str) -> &str {
    let name = match host.rfind(':') {
        Some(at) if !host.ends_with(']') => &host[..at],
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns whether the path of a target is this one or below it, by whole segments.
fn is_below(target: &str, path: &str) -> bool {
    let rest = target.as_bytes().strip_prefix(path.as_bytes());
    rest.is_some_and(|rest| path.is_empty() || matches!(rest.first(), None | Some(b'/' | b'?')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(host: &str, path: &str) -> Route {
        let host = (!host.is_empty()).then(|| super::host(host).unwrap());
        Route { host, path: super::path(path).unwrap() }
    }

    fn table(routes: &[(&str, &str)]) -> Table<usize> {
        let routes: Vec<_> = routes.iter().map(|(host, path)| route(host, path)).collect();
        Table::new(routes.iter().zip(0..))
    }

    #[test]
    fn an_exact_host_comes_before_any_and_a_longer_path_before_a_shorter() {
        let table = table(&[
            ("", "/"),
            ("", "/blog"),
            ("blog.local", "/"),
            ("blog.local", "/admin"),
            ("blog.local", "/admin/users"),
        ]);
        for (host, target, to) in [
            ("picluster.local", "/", (0, 0)),
            ("picluster.local", "/blog", (1, 5)),
            ("picluster.local", "/blog/x?y", (1, 5)),
            ("picluster.local", "/blog?x=/y", (1, 5)),
            ("picluster.local", "/blogger", (0, 0)),
            ("picluster.local", "/Blog", (0, 0)),
            ("picluster.local", "/%62log", (0, 0)),
            ("blog.local", "/blog", (2, 0)),
            ("blog.local", "/admin/", (3, 6)),
            ("blog.local", "/admin/users/1", (4, 12)),
            ("blog.local", "/admin/usersx", (3, 6)),
            ("BLOG.Local.:8080", "/", (2, 0)),
            ("blog.local:", "?x", (2, 0)),
            ("[::1]:80", "*", (0, 0)),
            ("[::1]", "/blog", (1, 5)),
            ("", "/blog", (1, 5)),
        ] {
            assert_eq!(table.find(host, target), Some(to), "{host} {target}");
        }
    }

    #[test]
    fn a_host_without_a_matching_route_has_those_of_any_host() {
        let table = table(&[("blog.local", "/x"), ("", "/y")]);
        assert_eq!(table.find("blog.local", "/y/1"), Some((1, 2)));
        assert_eq!(table.find("blog.local", "/"), None);
        assert_eq!(table.find("other.local", "/x"), None);
    }

    #[test]
    fn a_host_is_a_name_in_one_spelling_and_no_address() {
        assert_eq!(host("Blog.Local."), Some("blog.local".to_owned()));
        assert_eq!((host("Picluster.Local"), host("picluster.local.")), (None, None));
        let long = format!("{}.local", "x".repeat(64));
        let legal = ["blog", "a-b.c_d.local", "3d.local", "xn--bcher-kva.example"];
        assert!(legal.iter().all(|text| host(text).is_some()));
        for text in [
            "",
            ".",
            "a..b",
            ".local",
            "a b",
            "a/b",
            "a:80",
            "*.local",
            "-a.local",
            "a-.local",
            "10.0.0.1",
            "[::1]",
            "b\u{fc}cher.local",
            "a,b",
            "a.local..",
            &long,
        ] {
            assert_eq!(host(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_is_plain_segments_in_one_spelling() {
        for (text, canonical) in
            [("/", "/"), ("/blog", "/blog"), ("/blog/", "/blog"), ("/a/B.c~1/d", "/a/B.c~1/d")]
        {
            assert_eq!(path(text).as_deref(), Some(canonical));
        }
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        for text in [
            "",
            "blog",
            "//",
            "/a//b",
            "/a//",
            "/.",
            "/a/..",
            "/../a",
            "/a b",
            "/a?b",
            "/a#b",
            "/%61",
            "/a;b",
            "/a\\b",
            "/\u{e9}",
            "/.picluster",
            "/.picluster/x",
            &long,
        ] {
            assert_eq!(path(text), None, "{text}");
        }
    }

    /// The same rules without the table, in a second form.
    fn best(routes: &[Route], host: &str, target: &str) -> Option<usize> {
        let raw = target.split('?').next().unwrap();
        let matches = |route: &Route| {
            let host_fits = route.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host));
            let below = raw.starts_with(&format!("{}/", route.path));
            host_fits && (route.path == "/" || raw == route.path || below)
        };
        let rank = |route: &Route| (route.host.is_some(), route.path.len());
        (0..routes.len()).filter(|at| matches(&routes[*at])).max_by_key(|at| rank(&routes[*at]))
    }

    proptest! {
        #[test]
        fn the_table_finds_the_same_as_the_plain_rules(
            routes in prop::collection::hash_set(
                (prop::option::of("[ab]{1,2}(\\.local)?"), "(/[ab]{1,2}){0,3}"), 0..50,
            ),
            host in "[abAB]{1,2}(\\.local)?",
            target in "/([ab]{1,2}/?){0,4}(\\?[ab/]{0,3})?",
        ) {
            let routes: Vec<Route> = routes
                .into_iter()
                .map(|(host, path)| route(&host.unwrap_or_default(), &format!("{path}/")))
                .collect();
            let table = Table::new(routes.iter().zip(0..));
            let found = table.find(&host, &target);
            prop_assert_eq!(found.map(|(at, _)| at), best(&routes, &host, &target));
            if let Some((at, len)) = found.filter(|(at, _)| routes[*at].path != "/") {
                prop_assert_eq!(&target[..len], routes[at].path.as_str());
            }
        }

        #[test]
        fn a_checked_route_passes_again_and_any_text_is_judged(text: String) {
            if let Some(name) = host(&text) {
                prop_assert_eq!(host(&name), Some(name));
            }
            if let Some(plain) = path(&text) {
                prop_assert_eq!(path(&plain), Some(plain));
            }
            let _ = table(&[("a.local", "/a"), ("", "/b")]).find(&text, &text);
        }
    }
}

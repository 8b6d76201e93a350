//! The right to act, and not only to read: a program of this machine has it that asks this very port.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::accept::{LocalAddr, PeerAddr};

/// Proof that a request may act. A handler that takes it as an argument is closed to all others.
///
/// A loopback peer alone proves little. A browser on this machine sends the requests of any page: its
/// `Origin` shows that. A page whose name was made to lead here is known by its `Host`, and a proxy on
/// this machine, which acts for others, by the fields that it adds.
#[derive(Clone, Copy, Debug)]
pub struct LocalOnly(());

/// The fields that a proxy adds.
const OF_PROXIES: [HeaderName; 3] =
    [header::VIA, header::FORWARDED, HeaderName::from_static("x-forwarded-for")];

impl<S: Sync> FromRequestParts<S> for LocalOnly {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let of = |parts: &Parts| {
            let ConnectInfo(PeerAddr(peer)) = parts.extensions.get().copied()?;
            let ConnectInfo(LocalAddr(local)) = parts.extensions.get().copied()?;
            peer.zip(local)
        };
        let refused = match of(parts) {
            Some((peer, local)) => refusal(peer, local.port(), &parts.headers),
            None => Some("it is not known where this request comes from\n"),
        };
        refused.map_or(Ok(Self(())), |sentence| Err((StatusCode::FORBIDDEN, sentence)))
    }
}

/// The reason why a request may not act; `None` if it may.
fn refusal(peer: SocketAddr, port: u16, headers: &HeaderMap) -> Option<&'static str> {
    let own = ["127.0.0.1", "[::1]", "localhost"].map(|host| format!("{host}:{port}"));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).filter(|_| hosts.next().is_none());
    let Some(host) = host.filter(|host| own.iter().any(|own| own.eq_ignore_ascii_case(host)))
    else {
        return Some("this is for programs of this machine, at 127.0.0.1 and this port\n");
    };
    let origin = format!("http://{host}");
    if !peer.ip().to_canonical().is_loopback() {
        Some("this is for programs of this machine; log in there and ask at 127.0.0.1\n")
    } else if headers.get_all(header::ORIGIN).iter().any(|other| *other != *origin) {
        Some("no other page may do this\n")
    } else if OF_PROXIES.iter().any(|name| headers.contains_key(name)) {
        Some("no proxy may do this\n")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(peer: &str, lines: &[(&str, &str)]) -> bool {
        let name = |name: &str| HeaderName::try_from(name).unwrap();
        let lines = lines.iter().map(|(key, value)| (name(key), value.parse().unwrap()));
        refusal(SocketAddr::new(peer.parse().unwrap(), 40_000), 7070, &lines.collect()).is_some()
    }

    #[test]
    fn only_who_is_on_this_machine_and_means_this_port_may_act() {
        for host in ["127.0.0.1:7070", "[::1]:7070", "localhost:7070", "LocalHost:7070"] {
            for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"] {
                assert!(!refused(peer, &[("host", host)]), "{peer} {host}");
            }
            assert!(refused("10.0.0.5", &[("host", host)]), "{host}");
            assert!(refused("::ffff:10.0.0.5", &[("host", host)]), "{host}");
        }
        for host in ["127.0.0.1", "127.0.0.1:80", "evil.example:7070", "10.0.0.5:7070", ""] {
            assert!(refused("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(refused("127.0.0.1", &[]));
    }

    #[test]
    fn no_other_page_and_no_proxy_may_act() {
        let host = ("host", "localhost:7070");
        assert!(!refused("::1", &[host, ("origin", "http://localhost:7070")]));
        for (name, value) in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "https://localhost:7070"),
            ("origin", "http://127.0.0.1:7070"),
            ("host", "127.0.0.1:7070"),
            ("x-forwarded-for", "10.0.0.9"),
            ("forwarded", "for=10.0.0.9"),
            ("via", "1.1 nginx"),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("host", "localhost:7070".parse().unwrap());
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
            let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
            assert!(refusal(peer, 7070, &headers).is_some(), "{name}: {value}");
        }
    }
}

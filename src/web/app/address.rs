//! The address at which an application is reached from this machine, found by the sockets that listen on
//! its port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::os::listen;

/// Finds the address of the application with this port. `stays_here`: only this machine connects to it.
///
/// # Errors
/// It listens on loopback alone, where no other machine reaches it, although others connect to it. The
/// text is the reason for the health answer, with the fix.
pub(super) fn find(port: u16, stays_here: bool) -> Result<SocketAddr, String> {
    let listeners = listen::listeners(port);
    let address = |ip: IpAddr| Ok(SocketAddr::new(ip, port));
    let any = |wanted: &dyn Fn(&IpAddr) -> bool| listeners.iter().copied().find(|ip| wanted(ip));
    if any(&|ip| *ip == Ipv4Addr::UNSPECIFIED).is_some() || listeners.is_empty() {
        // An application behind a packet filter, as in a container, has no listener that we see.
        return address(Ipv4Addr::LOCALHOST.into());
    }
    if any(&IpAddr::is_unspecified).is_some() {
        return address(Ipv6Addr::LOCALHOST.into());
    }
    match (any(&|ip| !ip.is_loopback()), any(&IpAddr::is_loopback)) {
        (_, Some(ip)) if stays_here => address(ip),
        (Some(ip), _) => address(ip),
        (None, Some(ip)) => Err(format!(
            "listens on {} alone, where no other machine reaches it: have it listen on 0.0.0.0, \
             or add --front",
            SocketAddr::new(ip, port)
        )),
        (None, None) => address(Ipv4Addr::LOCALHOST.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_application_is_checked_where_it_listens() {
        for (bound, reached) in [("0.0.0.0:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.1")] {
            let listener = TcpListener::bind(bound).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(find(port, true).unwrap().ip().to_string(), reached);
        }
    }

    #[test]
    fn an_application_on_loopback_alone_gets_a_reason_with_the_fix() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let why = find(listener.local_addr().unwrap().port(), false).unwrap_err();
        assert!(why.contains("0.0.0.0, or add --front") && why.len() <= 160, "{why}");
    }
}

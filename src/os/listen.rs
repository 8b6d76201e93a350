//! Listening sockets: dual-stack where the machine is, with an error that names the owner of the port and
//! the fix.

mod accept;
mod files;
mod handshakes;
mod owner;

use std::net::{SocketAddr, TcpListener};
use std::{fmt, io};

use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use accept::{is_of_one_connection, next_queued};
pub use files::{files_max, room};
pub(crate) use handshakes::refuse_new_handshakes;
pub use owner::{Owner, connections, listeners, owner, udp_owner};

use crate::cluster::config::ipv4_twin;

/// Connections that wait to be accepted. The kernel lowers it to `net.core.somaxconn` (4,096).
const BACKLOG: i32 = 1024;

/// Binds and listens. `flag` is the flag that chose the address, for the error's advice.
///
/// `[::]` takes IPv4 as well and falls back to `0.0.0.0` where the kernel has no IPv6. The socket
/// is non-blocking, ready for a runtime.
///
/// # Errors
/// A [`ListenError`] that names the cause and the fix.
pub fn bind(addr: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    listen(addr, false).map_err(|cause| ListenError::new(addr, flag, &cause))
}

/// The ports that [`bind_from`] tries before it takes any free one.
const TRIED_MAX: u16 = 100;

/// Listens on the first free port from that of `addr` on, so that it is the same one after a restart;
/// never on `not`.
///
/// # Errors
/// As for [`bind`], except that a port in use is no error.
pub fn bind_from(
    addr: SocketAddr,
    not: Option<u16>,
    flag: &'static str,
) -> Result<TcpListener, ListenError> {
    let ports = (0..TRIED_MAX).map_while(|more| addr.port().checked_add(more));
    let mut addrs =
        ports.filter(|port| Some(*port) != not).map(|port| SocketAddr::new(addr.ip(), port));
    match addrs.find_map(|addr| listen(addr, false).ok()) {
        Some(listener) => Ok(listener),
        None => bind(SocketAddr::new(addr.ip(), 0), flag),
    }
}

/// `count` listeners on one address, among which the kernel spreads connections: one a worker.
///
/// `SO_REUSEPORT` would hide that another process of the same user has the port already, so the
/// address is bound once without it first.
///
/// # Errors
/// As for [`bind`].
pub fn bind_shared(
    addr: SocketAddr,
    flag: &'static str,
    count: usize,
) -> Result<Vec<TcpListener>, ListenError> {
    let bind_all = || -> io::Result<Vec<_>> {
        let alone = socket(addr, false)?;
        let addr = alone.local_addr()?.as_socket().unwrap_or(addr);
        drop(alone);
        (0..count).map(|_| listen(addr, true)).collect()
    };
    bind_all().map_err(|cause| ListenError::new(addr, flag, &cause))
}

fn listen(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = socket(addr, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let twin = ipv4_twin(addr);
    match bound(addr, shared) {
        Err(cause) if twin != addr && has_no_ipv6(&cause) => bound(twin, shared),
        other => other,
    }
}

fn bound(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // Do not leave it to net.ipv6.bindv6only.
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the TIME_WAIT of its own last connections.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Without the kernel's IPv6 module the family is unknown; with IPv6 disabled the address is.
fn has_no_ipv6(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || cause.kind() == io::ErrorKind::AddrNotAvailable
}

/// An address cannot be listened on. The text is one sentence with the cause and the fix.
#[derive(Debug)]
pub struct ListenError {
    /// The address that was asked for.
    pub addr: SocketAddr,
    /// The flag that chooses it.
    pub flag: &'static str,
    /// The obstacle.
    pub cause: ListenCause,
}

/// The obstacle to listening.
#[derive(Debug)]
pub enum ListenCause {
    /// Another process listens there already; its owner, as far as this process may know it.
    InUse(Option<Owner>),
    /// The port needs a privilege.
    Denied,
    /// The address belongs to no interface of this machine.
    NotHere,
    /// Anything else, in the system's words.
    Other(String),
}

impl ListenError {
    fn new(addr: SocketAddr, flag: &'static str, cause: &io::Error) -> Self {
        let cause = match cause.kind() {
            io::ErrorKind::AddrInUse => ListenCause::InUse(owner(addr.port())),
            io::ErrorKind::PermissionDenied => ListenCause::Denied,
            io::ErrorKind::AddrNotAvailable => ListenCause::NotHere,
            _ => ListenCause::Other(cause.to_string()),
        };
        Self { addr, flag, cause }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, flag, cause } = self;
        let port = addr.port();
        let another = SocketAddr::new(addr.ip(), if port < 1024 { 8000 } else { port ^ 1 });
        match cause {
            ListenCause::InUse(Some(owner)) => {
                write!(f, "port {port} is taken by {owner}: {}", owner.fix(port))?;
                write!(f, ", or choose another with {flag} {another}")
            }
            ListenCause::InUse(None) => {
                write!(f, "port {port} is taken by another process: see whose it is with ")?;
                write!(f, "`sudo ss -ltnp sport = :{port}`, or choose another with ")?;
                write!(f, "{flag} {another}")
            }
            ListenCause::Denied => {
                let program = std::env::current_exe();
                let program = program.as_deref().unwrap_or("picluster".as_ref()).display();
                write!(
                    f,
                    "port {port} needs a privilege: use the systemd unit, which has it, or "
                )?;
                write!(f, "`sudo setcap cap_net_bind_service=+ep {program}`, or choose another ")?;
                write!(f, "with {flag} {another}")
            }
            ListenCause::NotHere => {
                let any = crate::cluster::config::any(port);
                write!(f, "{} is no address of this machine: take {flag} {any}", addr.ip())?;
                f.write_str(" for all of them")
            }
            ListenCause::Other(cause) => write!(f, "cannot listen on {flag} {addr}: {cause}"),
        }
    }
}

impl std::error::Error for ListenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config::any;

    #[test]
    fn any_takes_both_families_and_port_0_gives_one() {
        let listener = bind(any(0), "--listen").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_ne!(port, 0);
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            std::net::TcpStream::connect(("::1", port)).unwrap();
        }
    }

    #[test]
    fn a_port_in_use_names_the_port_its_owner_and_the_fix() {
        let taken = bind("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind(any(port), "--listen").unwrap_err();
        let ListenCause::InUse(Some(owner)) = &error.cause else { panic!("{error:?}") };
        assert_eq!(owner.pid, Some(std::process::id()));
        let text = error.to_string();
        assert!(text.contains(&format!("port {port} ")), "{text}");
        assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
        assert!(text.contains("--listen [::]:"), "{text}");
    }

    #[test]
    fn sharing_a_port_does_not_hide_that_it_is_taken() {
        let shared = bind_shared("127.0.0.1:0".parse().unwrap(), "--listen", 3).unwrap();
        assert_eq!(shared.len(), 3);
        let addr = shared[0].local_addr().unwrap();
        assert!(shared.iter().all(|listener| listener.local_addr().unwrap() == addr));
        let error = bind_shared(addr, "--listen", 2).unwrap_err();
        assert!(matches!(error.cause, ListenCause::InUse(_)), "{error:?}");
    }

    #[test]
    fn a_denied_port_names_the_capability_the_unit_and_the_flag() {
        let error = ListenError { addr: any(80), flag: "--listen", cause: ListenCause::Denied };
        let text = error.to_string();
        for word in ["port 80", "unit", "setcap cap_net_bind_service=+ep /", "--listen [::]:8000"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn an_address_of_another_machine_says_so() {
        let error = bind("192.0.2.1:8080".parse().unwrap(), "--admin").unwrap_err();
        assert!(error.to_string().contains("192.0.2.1 is no address of this machine"), "{error}");
    }
}

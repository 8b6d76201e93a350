//! The owner of a port and its addresses, read from `/proc` as far as this user may look.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// The process that listens on a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user it runs as; always known.
    pub uid: u32,
    /// Its process id; unknown when it is another user's and this one is not root.
    pub pid: Option<u32>,
    /// Its command name.
    pub command: Option<String>,
    /// The systemd unit it runs in, like `nginx.service`.
    pub unit: Option<String>,
}

/// The state of a TCP socket that listens, and of a UDP socket that is bound and not connected.
const LISTENS: &str = "0A";
/// The state of a TCP socket whose connection is open on both sides.
const ESTABLISHED: &str = "01";
const BOUND: &str = "07";

const TCP: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// A socket in the tables of the kernel.
struct SocketEntry {
    ip: IpAddr,
    uid: u32,
    inode: u64,
}

/// The process that listens on this TCP port, over any family; `None` if there is none or it cannot be read.
pub fn owner(port: u16) -> Option<Owner> {
    owner_in(TCP, port, LISTENS)
}

/// The addresses at which a process listens on this TCP port.
pub fn listeners(port: u16) -> Vec<IpAddr> {
    entries(TCP, port, LISTENS).map(|entry| entry.ip).collect()
}

/// The number of open connections to this port of this machine.
pub fn connections(port: u16) -> usize {
    entries(TCP, port, ESTABLISHED).count()
}

/// The process that has this UDP port, over any family; one of them where several share it.
pub fn udp_owner(port: u16) -> Option<Owner> {
    owner_in(["/proc/net/udp", "/proc/net/udp6"], port, BOUND)
}

fn owner_in(tables: [&str; 2], port: u16, state: &str) -> Option<Owner> {
    let SocketEntry { inode, uid, .. } = entries(tables, port, state).next()?;
    let Some(pid) = process_of(inode) else { return Some(Owner { uid, ..Owner::default() }) };
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    Some(Owner {
        uid,
        pid: Some(pid),
        command: read("comm").map(|comm| comm.trim().to_owned()),
        unit: read("cgroup").as_deref().and_then(unit_of),
    })
}

impl Owner {
    /// The fix, as a half sentence with a command.
    pub(super) fn fix(&self, port: u16) -> String {
        match (&self.unit, self.pid) {
            (Some(unit), _) => format!("stop it with `sudo systemctl stop {unit}`"),
            (None, Some(pid)) => format!("stop it with `kill {pid}`"),
            (None, None) => format!("see which with `sudo ss -ltnp sport = :{port}`"),
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.command, self.pid) {
            (Some(command), Some(pid)) => write!(f, "{command} (pid {pid})"),
            (None, Some(pid)) => write!(f, "the process {pid}"),
            (_, None) => match user_name(self.uid) {
                Some(name) => write!(f, "a process of the user {name}"),
                None => write!(f, "a process of the user {}", self.uid),
            },
        }
    }
}

fn entries(tables: [&str; 2], port: u16, state: &str) -> impl Iterator<Item = SocketEntry> {
    let tables = tables.into_iter().filter_map(|path| fs::read_to_string(path).ok());
    tables.flat_map(move |table| sockets(&table, port, state))
}

/// The sockets in this state on the port, in a table of the form of `/proc/net/tcp`:
/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ..`.
fn sockets(table: &str, port: u16, state: &str) -> Vec<SocketEntry> {
    let entry = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (ip, hex) = fields.get(1)?.rsplit_once(':')?;
        let is_it = *fields.get(3)? == state && u16::from_str_radix(hex, 16) == Ok(port);
        let (uid, inode) = (fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?);
        is_it.then_some(SocketEntry { ip: address(ip)?, uid, inode })
    };
    table.lines().skip(1).filter_map(entry).collect()
}

/// An address as the kernel prints it: words of 32 bits in the byte order of the machine.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if hex.len() == 8 {
        return Some(IpAddr::from(word(0)?));
    }
    let mut bytes = [0; 16];
    for (at, to) in bytes.chunks_exact_mut(4).enumerate() {
        to.copy_from_slice(&word(at * 8)?);
    }
    Some(IpAddr::from(bytes).to_canonical())
}

fn process_of(inode: u64) -> Option<u32> {
    let socket = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| *to == *socket)
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        holds(&entry.path()).then_some(pid)
    })
}

/// The service in the last part of a control group's path; a login session is no service.
fn unit_of(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.split('/')
        .rev()
        .find(|part| part.ends_with(".service") && !part.starts_with("user@"))
        .map(str::to_owned)
}

fn user_name(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 4711 1 0
   2: rubbish
";

    #[test]
    fn the_listening_socket_is_found_and_a_connection_is_not() {
        let [socket] = &sockets(TABLE, 80, LISTENS)[..] else { panic!("there is one") };
        assert_eq!((socket.inode, socket.uid, socket.ip.to_string()), (4711, 33, "0.0.0.0".into()));
        assert!(sockets(TABLE, 81, LISTENS).is_empty() && sockets("", 80, LISTENS).is_empty());
    }

    #[test]
    fn listeners_and_the_number_of_connections_of_a_port_are_read() {
        for ip in ["127.0.0.1", "::1", "0.0.0.0"] {
            let ip: IpAddr = ip.parse().unwrap();
            let Ok(listener) = std::net::TcpListener::bind((ip, 0)) else { continue };
            let addr = listener.local_addr().unwrap();
            assert_eq!(listeners(addr.port()), [ip]);
            assert_eq!(connections(addr.port()), 0);
            let client = std::net::TcpStream::connect(addr).unwrap();
            assert_eq!(connections(addr.port()), 1);
            drop(client);
        }
    }

    #[test]
    fn the_owner_of_a_udp_port_is_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(udp_owner(port).unwrap().pid, Some(std::process::id()));
    }

    #[test]
    fn the_unit_comes_from_the_control_group() {
        let unit = |text| unit_of(text);
        assert_eq!(unit("0::/system.slice/nginx.service\n").as_deref(), Some("nginx.service"));
        assert_eq!(unit("0::/user.slice/user-1000.slice/session-3.scope\n"), None);
        assert_eq!(unit("0::/user.slice/user@1000.service/app.slice/a.scope\n"), None);
    }

    #[test]
    fn an_owner_reads_as_a_person_would_say_it() {
        let owner = Owner {
            uid: 0,
            pid: Some(12),
            command: Some("nginx".into()),
            unit: Some("nginx.service".into()),
        };
        assert_eq!(owner.to_string(), "nginx (pid 12)");
        assert_eq!(owner.fix(80), "stop it with `sudo systemctl stop nginx.service`");
        let unknown = Owner { uid: 0, ..Owner::default() };
        assert_eq!(unknown.to_string(), "a process of the user root");
    }
}

//! The requests that arrive at a Pi, seen on its cable and not by its programs.
//!
//! This is stricter than a program's own report: a request that came and was never read, because
//! the program was frozen or killed, counts as one that may have been executed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::http::TEST_ID;
use super::inside::{self, Program};
use super::process::Pipes;
use super::{Pi, now_ms};

/// The protocol number for a packet socket: incoming IPv4. It is passed in network byte order.
const ETH_P_IP: u16 = 0x0800;

/// Longer than any head in a test.
const SNAP_BYTES: usize = 2048;

/// Holds a second of large uploads on a busy machine; the kernel may grant less.
const BUFFER_BYTES: usize = 8 << 20;

/// The interval at which an idle recorder checks whether it has to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Records the requests that arrive at a Pi from now on.
pub(crate) struct Recorder {
    pipes: Pipes,
}

/// One request as it arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arrival {
    pub(crate) method: String,
    /// Its `X-Test-Id`.
    pub(crate) id: String,
    /// The arrival time, by [`now_ms`].
    pub(crate) at_ms: u64,
    /// The connection: the port of its other end, and the position in it.
    pub(crate) place: Place,
}

/// The position of a segment, by source port and sequence number: a repeated segment is no second
/// request.
type Place = (u16, u32);

impl Recorder {
    /// Starts the recorder; it records all that comes after this returns.
    pub(crate) fn start(pi: &Pi) -> Self {
        let (process, pipes) = pi.helper(&Program::Record);
        process.wait_for_log("recorder listens");
        Self { pipes }
    }

    /// Ends the recorder. Returns all arrivals, in no particular order.
    pub(crate) fn stop(self) -> Vec<Arrival> {
        drop(self.pipes.0);
        let line = self.pipes.1.recv().expect("the recorder ends with its list");
        serde_json::from_str(&line).expect("the recorder writes JSON")
    }
}

/// The program of the helper.
pub(super) fn run() {
    let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).expect("root of the lab");
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    socket.set_read_timeout(Some(LOOK_EVERY)).expect("a socket option");
    let ended = AtomicBool::new(false);
    let mut arrivals: BTreeMap<(String, Place), Arrival> = BTreeMap::new();
    inside::log("recorder listens");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            inside::wait_for_end_of_stdin();
            ended.store(true, Ordering::Relaxed);
        });
        let mut packet = [0; SNAP_BYTES];
        let mut own = addresses();
        while !ended.load(Ordering::Relaxed) {
            let Ok(length) = (&socket).read(&mut packet) else { continue };
            let Some((to, place, payload)) = tcp(&packet[..length]) else { continue };
            let Some((method, id)) = request(payload) else { continue };
            if !own.contains(&to) {
                own = addresses();
                if !own.contains(&to) {
                    continue;
                }
            }
            let arrival = Arrival { method, id: id.clone(), at_ms: now_ms(), place };
            arrivals.entry((id, place)).or_insert(arrival);
        }
    });
    inside::emit(&arrivals.into_values().collect::<Vec<_>>());
}

/// The Pi's own addresses. A switch that has just lost a port floods the packets for it to all
/// other ports. Network cards drop them, but a packet socket sees them.
fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

/// The destination, the place and the payload of an IPv4 TCP segment (RFC 791 section 3.1, RFC 9293
/// section 3.1).
fn tcp(packet: &[u8]) -> Option<(IpAddr, Place, &[u8])> {
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let is_tcp = *packet.get(9)? == 6;
    let segment = packet.get(usize::from(packet[0] & 0x0f) * 4..).filter(|_| is_tcp)?;
    let port = u16::from_be_bytes(segment.get(..2)?.try_into().ok()?);
    let sequence = u32::from_be_bytes(segment.get(4..8)?.try_into().ok()?);
    let payload = segment.get(usize::from(segment.get(12)? >> 4) * 4..)?;
    Some((to.into(), (port, sequence), payload))
}

/// The method and the id of a request whose head begins here. Balancers send a head in one piece.
fn request(payload: &[u8]) -> Option<(String, String)> {
    let is_method = payload.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    if is_method == 0 || payload.get(is_method) != Some(&b' ') {
        return None;
    }
    let text = String::from_utf8_lossy(payload);
    let mut lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let (_, id) = lines.find(|(name, _)| name.eq_ignore_ascii_case(TEST_ID))?;
    Some((text[..is_method].to_owned(), id.trim().to_owned()))
}

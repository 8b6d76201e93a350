//! The fields that name the client and its way here: `X-Forwarded-*`, `Forwarded`, `X-Request-Id`.

use std::net::{IpAddr, SocketAddr};

use crate::cluster::config::TrustedProxies;
use crate::cluster::hop::{Hop, Hops};
use crate::cluster::node::ForwardFields;
use crate::cluster::protocol::HOP_HEADER_WRITTEN;
use crate::http1::{Field, Fields, RequestHead, append_field};

/// The sender of a connection's requests. The lines that name it are the same in all of them: they are
/// rendered once, and copied into each.
pub struct Forwarding {
    /// Three lines: `X-Forwarded-For`, `X-Forwarded-Proto`, and `Forwarded` without its end, for it
    /// still lacks the host.
    lines: Box<str>,
    /// The sender is believed when it names those before it.
    pub(in crate::proxy) trusted: bool,
}

/// The fields that name the way of a request to its node.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    /// Those that the node wants.
    pub(super) fields: ForwardFields,
    /// Our mark, and the marks that the request came with.
    pub(super) hop: &'a Hop,
    pub(super) hops: Hops,
}

impl Forwarding {
    /// The sender that connects from `ip` over plain TCP. `trusted` is whether it is one of the user's
    /// own proxies.
    pub fn new(ip: IpAddr, trusted: bool) -> Self {
        Self { trusted, ..Self::of_client(ip, false) }
    }

    /// A client at `ip`, which is believed nothing; `tls` is whether it came by TLS.
    pub(crate) fn of_client(ip: IpAddr, tls: bool) -> Self {
        let ip = ip.to_canonical();
        // RFC 7239 section 6: an IPv6 address is bracketed, and quoted for its colons.
        let node = if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() };
        let proto = if tls { "https" } else { "http" };
        let lines = format!(
            "X-Forwarded-For: {ip}\r\nX-Forwarded-Proto: {proto}\r\nForwarded: for={node};proto={proto}"
        );
        Self { lines: lines.into(), trusted: false }
    }

    /// The address that requests are forwarded for.
    pub(crate) fn client(&self) -> &str {
        let start = self.lines.split("\r\n").next();
        start.and_then(|line| line.split_once(": ")).unwrap_or_default().1
    }

    /// The client that a trusted proxy names: the last address of `X-Forwarded-For` that is not itself
    /// a trusted proxy's, if all behind it are.
    pub(crate) fn named_client(
        &self,
        head: &RequestHead<'_>,
        proxies: &TrustedProxies,
    ) -> Option<IpAddr> {
        let is_list = |field: &Field<'_>| field.name.eq_ignore_ascii_case("x-forwarded-for");
        let fields: Vec<_> = head.fields.end_to_end().filter(is_list).map(|f| f.value).collect();
        let entries = fields.iter().rev().flat_map(|value| value.rsplit(|&b| b == b','));
        let addresses = entries.map_while(|entry| {
            let entry = str::from_utf8(entry).ok()?.trim();
            entry.parse().or_else(|_| entry.parse().map(|addr: SocketAddr| addr.ip())).ok()
        });
        addresses.filter(|_| self.trusted).find(|ip| !proxies.contains(*ip))
    }

    /// The id with which a request goes on: the one of a trusted proxy, or ours.
    pub(crate) fn request_id(&self, head: &RequestHead<'_>, ours: u128) -> String {
        let ours = hex(ours);
        String::from_utf8_lossy(self.believed_id(head).unwrap_or(&ours)).into_owned()
    }

    /// The id that a trusted proxy gave the request.
    pub(super) fn believed_id<'b>(&self, head: &RequestHead<'b>) -> Option<&'b [u8]> {
        if !self.trusted {
            return None;
        }
        let is_id = |field: &Field<'_>| field.name.eq_ignore_ascii_case(REQUEST_ID);
        head.fields.end_to_end().find(is_id).map(|field| field.value)
    }

    /// Appends the fields that name the way here, as far as the node wants them: for a client nothing
    /// but its own address, for a trusted proxy the fields that it sent with our own entry behind them.
    pub(super) fn append(&self, head: &RequestHead<'_>, way: Way<'_>, out: &mut Vec<u8>) {
        match way.fields {
            ForwardFields::All => {}
            ForwardFields::For => return self.append_client(head, way, out),
            ForwardFields::None => return,
        }
        let host = head.host.unwrap_or_default();
        if self.trusted {
            return self.append_behind(head, host, way, out);
        }
        out.extend_from_slice(self.lines.as_bytes());
        end_entry(host, way, out);
        if !host.is_empty() {
            append_field(out, "X-Forwarded-Host", host.as_bytes());
        }
    }

    /// The address of the client, and our mark.
    #[inline(never)]
    fn append_client(&self, head: &RequestHead<'_>, way: Way<'_>, out: &mut Vec<u8>) {
        if self.trusted {
            append_list("X-Forwarded-For", &head.fields, self.client(), out);
            out.extend_from_slice(b"\r\n");
        } else {
            append_field(out, "X-Forwarded-For", self.client().as_bytes());
        }
        out.extend_from_slice(HOP_HEADER_WRITTEN.as_bytes());
        out.extend_from_slice(b": ");
        way.hop.append_short(way.hops.count, out);
        out.extend_from_slice(b"\r\n");
    }

    fn append_behind(&self, head: &RequestHead<'_>, host: &str, way: Way<'_>, out: &mut Vec<u8>) {
        let has = |name| is_forwarded(head, name);
        for line in self.lines.split("\r\n") {
            let (name, own) = line.split_once(": ").unwrap_or_default();
            match name {
                "X-Forwarded-Proto" if has(name) => {}
                "X-Forwarded-Proto" => append_field(out, name, own.as_bytes()),
                _ => {
                    append_list(name, &head.fields, own, out);
                    if name == "Forwarded" {
                        end_entry(host, way, out);
                    } else {
                        out.extend_from_slice(b"\r\n");
                    }
                }
            }
        }
        if !host.is_empty() && !has("X-Forwarded-Host") {
            append_field(out, "X-Forwarded-Host", host.as_bytes());
        }
    }
}

/// Returns whether a field of this name came and was not named away by Connection.
fn is_forwarded(head: &RequestHead<'_>, name: &str) -> bool {
    head.fields.end_to_end().any(|field| field.name.eq_ignore_ascii_case(name))
}

/// Ends our entry of `Forwarded` with the host that was asked for and our mark. The host is quoted,
/// because it may have a port; a valid Host has neither a quote nor a backslash.
fn end_entry(host: &str, way: Way<'_>, out: &mut Vec<u8>) {
    if !host.is_empty() {
        for part in [";host=\"", host, "\""] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.push(b';');
    way.hop.append_by(way.hops.count, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends `name: ` and all values that came under this name as one list, ours last, without a line
/// end. Connection cannot name these fields away: they are read here, not forwarded. A value that ends
/// within quotes is left out, because ours would stand in them too.
fn append_list(name: &str, fields: &Fields<'_>, own: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let same = |field: &Field<'_>| field.name.eq_ignore_ascii_case(name);
    let goes_on =
        |field: &Field<'_>| !field.value.is_empty() && is_unquoted_at_its_end(field.value);
    for field in fields.iter().filter(same).filter(goes_on) {
        out.extend_from_slice(field.value);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(own.as_bytes());
}

/// Returns whether each quoted string in it is closed (RFC 9110 section 5.6.4).
fn is_unquoted_at_its_end(value: &[u8]) -> bool {
    let (mut quoted, mut bytes) = (false, value.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            _ => {}
        }
    }
    !quoted
}

/// The field by which a request is found in the logs of all programs that it passed.
pub(super) const REQUEST_ID: &str = "X-Request-Id";

/// A number as 32 hexadecimal digits.
pub(super) fn hex(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
    digits
}

/// The two digits of each byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

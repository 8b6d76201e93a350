//! The PROXY protocol, versions 1 and 2, by which a proxy of the user introduces its client before the
//! first request (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! A proxy for which it is set up has to send it: the specification forbids to guess (section 2).

use std::net::IpAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::net::TcpStream;

use crate::server::buffer::Buffer;

/// Why no client was introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyHeaderError {
    /// The connection ended: some proxies only look whether a port is open.
    Gone,
    /// The bytes are something else, or more than a buffer of the data line holds.
    Invalid,
}

/// The client that was introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProxiedClient {
    /// The client's address; `None` where the proxy speaks for itself or does not know.
    pub(super) client: Option<IpAddr>,
    /// The client came by TLS, which the proxy ended (only version 2 can state that).
    pub(super) tls: bool,
}

/// Reads the header at the start of a connection, up to its last byte and no further.
///
/// ## Cancel safety
/// The bytes that were read are in the buffer.
pub(super) async fn read(
    from: &mut TcpStream,
    inbox: &mut Buffer,
) -> Result<ProxiedClient, ProxyHeaderError> {
    loop {
        match ProxyHeader::parse(inbox.filled(), ParseConfig::default()) {
            Ok((header, len)) => {
                let client = header.proxied_address().map(|address| address.source.ip());
                let tls = header.ssl().is_some_and(|ssl| ssl.client_ssl());
                inbox.consume(len);
                return Ok(ProxiedClient { client, tls });
            }
            Err(Error::BufferTooShort) if !inbox.is_full() && !is_whole(inbox.filled()) => {}
            Err(_) => return Err(ProxyHeaderError::Invalid),
        }
        if !matches!(inbox.read_from(from).await, Ok(1..)) {
            return Err(ProxyHeaderError::Gone);
        }
    }
}

/// Returns whether all bytes of a header have come, so that a part that is missing in it does not come
/// later: version 1 is a line, version 2 holds its length.
fn is_whole(bytes: &[u8]) -> bool {
    match (bytes, bytes.get(14..16)) {
        ([b'P', ..], _) => bytes.contains(&b'\n'),
        (_, Some(&[high, low])) => bytes.len() - 16 >= u16::from_be_bytes([high, low]).into(),
        _ => false,
    }
}

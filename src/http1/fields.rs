//! The fields of a head, each with its reach: the next hop only, or the whole way.

use std::fmt;

use httparse::Header;

use super::limits::HEADERS_MAX;

const _: () = assert!(HEADERS_MAX <= 128, "a bit of a u128 stands for each field");

/// One header field. The name is a token; the value is without the space around it and free of
/// control bytes but HTAB.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'b> {
    /// As it was spelt.
    pub name: &'b str,
    /// Mostly ASCII, but any byte from 0x80 on is legal.
    pub value: &'b [u8],
    /// Whether the field ends here and is not forwarded.
    pub hop_by_hop: bool,
}

/// The fields of a head in wire order, duplicates kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fields<'b> {
    headers: &'b [Header<'b>],
    /// Bit n is set if field n ends here.
    hop_by_hop: u128,
}

impl<'b> Fields<'b> {
    /// The fields of these headers. Bit n of `hop_by_hop` is set if field n ends here.
    pub(super) const fn new(headers: &'b [Header<'b>], hop_by_hop: u128) -> Self {
        Self { headers, hop_by_hop }
    }

    /// Every field.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'b>> + use<'b> {
        let hop_by_hop = self.hop_by_hop;
        self.headers.iter().enumerate().map(move |(at, header)| Field {
            name: header.name,
            value: header.value,
            hop_by_hop: hop_by_hop & bit(at) != 0,
        })
    }

    /// The fields to forward: all but Connection, what it names, the other fields that RFC 9110
    /// 7.6.1 confines to one connection, and Host, which the sender writes first and by itself
    /// (RFC 9110 7.2). Content-Length stays, Transfer-Encoding goes: whoever forwards a body as
    /// [`Framing::Chunked`](super::Framing::Chunked) says so itself.
    pub fn end_to_end(&self) -> impl Iterator<Item = Field<'b>> + use<'b> {
        self.iter().filter(|field| !field.hop_by_hop)
    }

    /// The value of the first field of this name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    }

    /// How many fields there are.
    pub const fn len(&self) -> usize {
        self.headers.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Takes Content-Length out of what is forwarded.
    pub(super) fn withhold_length(&mut self) {
        for (at, header) in self.headers.iter().enumerate() {
            if Known::of(header.name) == Known::ContentLength {
                self.hop_by_hop |= bit(at);
            }
        }
    }
}

/// Names alone: values are other people's secrets.
impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.headers.iter().map(|header| header.name)).finish()
    }
}

/// The bit of a field, by its place in the head.
pub(super) const fn bit(at: usize) -> u128 {
    1 << at
}

/// A name that means something to the codec.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Connection,
    ContentLength,
    Expect,
    Host,
    TransferEncoding,
    Upgrade,
    /// Means nothing here, but ends here (RFC 9110 7.6.1).
    HopByHop,
    Other,
}

impl Known {
    /// By length first: most names are settled by that.
    pub(super) fn of(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("te") => Self::HopByHop,
            4 if is("host") => Self::Host,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::HopByHop,
            14 if is("content-length") => Self::ContentLength,
            16 if is("proxy-connection") => Self::HopByHop,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_show_in_debug_output() {
        let all = [Header { name: "Cookie", value: b"secret" }];
        assert_eq!(format!("{:?}", Fields::new(&all, 0)), r#"["Cookie"]"#);
    }
}

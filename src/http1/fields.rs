//! The fields of a head in the order of the wire, and the mark on those that are not forwarded.

use std::fmt;

use httparse::Header;

use super::limits::HEADERS_MAX;

const _: () = assert!(HEADERS_MAX <= 128, "a bit of a u128 stands for each field");

/// One header field. The name is a token. The value has no space around it, and no control byte but
/// HTAB.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'b> {
    /// The name in the sender's spelling.
    pub name: &'b str,
    /// The value. It is mostly ASCII, but any byte from 0x80 on is legal.
    pub value: &'b [u8],
    /// True if the field ends here: it is not forwarded.
    pub hop_by_hop: bool,
}

/// The fields of a head in the order of the wire, with duplicates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fields<'b> {
    headers: &'b [Header<'b>],
    /// Bit n is set if field n ends here.
    hop_by_hop: u128,
}

impl<'b> Fields<'b> {
    /// Makes the fields of parsed headers. Bit n of `hop_by_hop` is set if field n ends here.
    pub(super) const fn new(headers: &'b [Header<'b>], hop_by_hop: u128) -> Self {
        Self { headers, hop_by_hop }
    }

    /// Returns every field.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'b>> + use<'b> {
        let hop_by_hop = self.hop_by_hop;
        self.headers.iter().enumerate().map(move |(at, header)| Field {
            name: header.name,
            value: header.value,
            hop_by_hop: hop_by_hop & bit(at) != 0,
        })
    }

    /// Returns the name and the value of every field. It is for a look at the names: cheaper than
    /// [`iter`](Self::iter), which also tells which fields end here.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&'b str, &'b [u8])> + use<'b> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// Returns the fields to forward. These are all but Connection, the fields that Connection
    /// names, the other fields that RFC 9110 7.6.1 confines to one connection, and Host, which the
    /// caller writes first and by itself (RFC 9110 7.2). Content-Length is among them,
    /// Transfer-Encoding is not: a caller that forwards a body as
    /// [`Framing::Chunked`](super::Framing::Chunked) writes it.
    pub fn end_to_end(&self) -> impl Iterator<Item = Field<'b>> + use<'b> {
        self.iter().filter(|field| !field.hop_by_hop)
    }

    /// Returns the value of the first field of this name, in any case of its letters.
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    }

    /// Returns the number of fields.
    pub const fn len(&self) -> usize {
        self.headers.len()
    }

    /// Returns true if there is no field.
    pub const fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Takes Content-Length out of the forwarded fields.
    pub(super) fn withhold_length(&mut self) {
        for (at, header) in self.headers.iter().enumerate() {
            if Known::of(header.name) == Known::ContentLength {
                self.hop_by_hop |= bit(at);
            }
        }
    }
}

/// Shows names only, because values hold other people's secrets.
impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.headers.iter().map(|header| header.name)).finish()
    }
}

/// Returns the bit of the field at this place in the head.
pub(super) const fn bit(at: usize) -> u128 {
    1 << at
}

/// The names that have a meaning for the codec.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Connection,
    ContentLength,
    Expect,
    Host,
    Te,
    TransferEncoding,
    Upgrade,
    /// A name without a meaning here, of a field that ends here (RFC 9110 7.6.1).
    HopByHop,
    /// Any other name.
    Other,
}

impl Known {
    /// Recognises a name. It compares the length first, which decides most names.
    pub(super) fn of(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("te") => Self::Te,
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

//! The fields of a head, and what they say of the connection and the body: read in one pass.

use std::fmt;

use httparse::Header;

use super::limits::{BODY_BYTES_MAX, HEADERS_MAX};
use super::message::Version;
use super::refusal::Refusal;

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

const fn bit(at: usize) -> u128 {
    1 << at
}

/// A name that means something to the codec.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
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
    fn of(name: &str) -> Self {
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

/// What the fields say, before it is known whether they belong to a request or an answer.
pub(super) struct Survey<'b> {
    pub(super) fields: Fields<'b>,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: Option<&'b [u8]>,
    pub(super) host: Option<&'b [u8]>,
    pub(super) expect: Option<&'b [u8]>,
}

/// The options of all Connection fields (RFC 9110 7.6.1).
#[derive(Default)]
struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// Options that may name fields.
    named: bool,
    count: usize,
}

impl Options {
    fn read(&mut self, value: &[u8]) {
        for option in list(value) {
            self.count += 1;
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ => self.named = true,
            }
        }
    }
}

/// Reads all fields once, and a second time only if Connection names some of them.
pub(super) fn survey<'b>(
    version: Version,
    headers: &'b [Header<'b>],
) -> Result<Survey<'b>, Refusal> {
    let mut fields = Fields { headers, hop_by_hop: 0 };
    let mut options = Options::default();
    let (mut length, mut chunked) = (None, false);
    let (mut host, mut expect, mut upgrade, mut upgrades) = (None, None, None, 0);
    for (at, &Header { name, value }) in headers.iter().enumerate() {
        match Known::of(name) {
            Known::Other => continue,
            // Not hop-by-hop: it goes on as it came. Equal ones could be made one (RFC 9112 6.3), but
            // nobody who frames with care sends two.
            Known::ContentLength => {
                if length.replace(content_length(value)?).is_some() {
                    return Err(Refusal::BadLength);
                }
                continue;
            }
            // RFC 9110 10.1.1: to be ignored in HTTP/1.0. It ends here, because the request goes on
            // as HTTP/1.1, in which a node would heed it.
            Known::Expect if version == Version::Http10 => {}
            Known::Expect => {
                // Two of them are one list of two, which is not what is known (RFC 9110 5.3).
                if expect.replace(value).is_some() {
                    return Err(Refusal::BadExpectation);
                }
                continue;
            }
            Known::TransferEncoding => {
                // RFC 9112 6.1: a request with a coding that is not known is to be refused, and in
                // HTTP/1.0 any is faulty framing. `chunked` has no parameters (RFC 9112 7). A list
                // with an empty element would be legal (RFC 9110 5.6.1), but recipients differ in
                // how they read one, and nobody sends it.
                let one_chunked = value.eq_ignore_ascii_case(b"chunked") && !chunked;
                if !one_chunked || version == Version::Http10 {
                    return Err(Refusal::BadCoding);
                }
                chunked = true;
            }
            Known::Host => {
                if host.replace(value).is_some() {
                    return Err(Refusal::ManyHosts);
                }
            }
            Known::Upgrade => {
                upgrade = Some(value);
                upgrades += 1;
            }
            Known::Connection => options.read(value),
            Known::HopByHop => {}
        }
        fields.hop_by_hop |= bit(at);
    }
    // RFC 9112 6.3: the two disagree on where the message ends; the mark of request smuggling.
    if chunked && length.is_some() {
        return Err(Refusal::LengthAndCoding);
    }
    // Each option is compared with each field; more options than fields are not meant well.
    if options.count > HEADERS_MAX {
        return Err(Refusal::TooManyFields);
    }
    if options.named {
        fields.hop_by_hop |= named(headers);
    }
    // RFC 9110 7.8: Upgrade counts if Connection names it, and not in HTTP/1.0. RFC 9113 3.1 gave
    // up the upgrade to h2c, which would carry requests past us unseen.
    let offered = version == Version::Http11 && options.upgrade && upgrades == 1;
    let upgrade = upgrade.filter(|value| offered && !list(value).any(is_h2c));
    // RFC 9112 9.3. It forbids a proxy to persist for a client of HTTP/1.0, because such a client's
    // own blind proxy may lie in between. A gateway is the origin server to its clients (RFC 9110
    // 3.7), and an origin server may.
    let keep_alive = !options.close && (version == Version::Http11 || options.keep_alive);
    Ok(Survey { fields, length, chunked, keep_alive, upgrade, host, expect })
}

/// The fields that Connection names. Content-Length cannot be named away: the body would lose its
/// end (RFC 9110 7.6.1: an option never stands for a field meant for all recipients).
fn named(headers: &[Header<'_>]) -> u128 {
    let mut bits = 0;
    for header in headers.iter().filter(|header| Known::of(header.name) == Known::Connection) {
        for option in list(header.value) {
            for (at, Header { name, .. }) in headers.iter().enumerate() {
                if name.as_bytes().eq_ignore_ascii_case(option)
                    && Known::of(name) != Known::ContentLength
                {
                    bits |= bit(at);
                }
            }
        }
    }
    bits
}

/// The elements of a list (RFC 9110 5.6.1), empty ones left out.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

fn is_h2c(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c")
}

/// `1*DIGIT` (RFC 9110 8.6), leading zeros included; at most 19 of them, which a `u64` always holds.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if !(1..=19).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::BadLength);
    }
    let bytes = value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    if bytes <= BODY_BYTES_MAX { Ok(bytes) } else { Err(Refusal::BadLength) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'b>(headers: &'b [Header<'b>]) -> Result<Survey<'b>, Refusal> {
        survey(Version::Http11, headers)
    }

    fn headers<'b, const N: usize>(pairs: [(&'b str, &'b str); N]) -> [Header<'b>; N] {
        pairs.map(|(name, value)| Header { name, value: value.as_bytes() })
    }

    fn forwarded(headers: &[Header<'_>]) -> Vec<String> {
        let survey = read(headers).unwrap();
        survey.fields.end_to_end().map(|field| field.name.to_owned()).collect()
    }

    #[test]
    fn what_belongs_to_the_connection_is_not_forwarded() {
        let all = headers([
            ("Host", "pi"),
            ("A", "1"),
            ("connection", "close, X-Secret ,a-b"),
            ("Keep-Alive", "5"),
            ("Proxy-Connection", "x"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Upgrade", "websocket"),
            ("x-secret", "1"),
            ("A", "2"),
            ("Transfer-Encoding", "chunked"),
        ]);
        assert_eq!(forwarded(&all), ["A", "Trailer", "A"]);
    }

    #[test]
    fn connection_cannot_name_the_length_away() {
        let all = headers([("Content-Length", "5"), ("Connection", "content-length, host")]);
        assert_eq!(forwarded(&all), ["Content-Length"]);
    }

    #[test]
    fn a_length_is_one_plain_number() {
        let length = |text| read(&headers([("Content-Length", text)])).map(|survey| survey.length);
        assert_eq!(length("0"), Ok(Some(0)));
        assert_eq!(length("00005"), Ok(Some(5)));
        assert_eq!(length("9223372036854775807"), Ok(Some(BODY_BYTES_MAX)));
        for text in [
            "",
            "+5",
            "-5",
            "5, 5",
            "5,",
            "0x5",
            "5 5",
            "5;a",
            "5.0",
            "5e1",
            "9223372036854775808",
            "9999999999999999999",
            "18446744073709551621",
            "00000000000000000005",
            "٥",
        ] {
            assert_eq!(length(text), Err(Refusal::BadLength), "{text}");
        }
        let twice = headers([("Content-Length", "5"), ("content-length", "5")]);
        assert_eq!(read(&twice).err(), Some(Refusal::BadLength));
    }

    #[test]
    fn a_coding_is_one_chunked() {
        assert!(read(&headers([("Transfer-Encoding", "CHUNKED")])).unwrap().chunked);
        for text in [
            "",
            "identity",
            "gzip",
            "gzip, chunked",
            "chunked, gzip",
            "chunked, chunked",
            "chunked,",
            ",chunked",
            "chunked ,",
            "chunked;a=b",
            "chunked;",
            "\"chunked\"",
            "\x0bchunked",
            "xchunked",
            "chunkedx",
        ] {
            let got = read(&headers([("Transfer-Encoding", text)])).err();
            assert_eq!(got, Some(Refusal::BadCoding), "{text}");
        }
        let twice = headers([("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")]);
        assert_eq!(read(&twice).err(), Some(Refusal::BadCoding));
        assert_eq!(survey(Version::Http10, &twice[..1]).err(), Some(Refusal::BadCoding));
        let both = headers([("Content-Length", "5"), ("Transfer-Encoding", "chunked")]);
        assert_eq!(read(&both).err(), Some(Refusal::LengthAndCoding));
    }

    #[test]
    fn an_upgrade_counts_if_connection_names_it_and_it_is_not_h2c() {
        let upgrade = |connection, upgrade| {
            let all = headers([("Connection", connection), ("Upgrade", upgrade)]);
            read(&all).unwrap().upgrade.map(|value| String::from_utf8(value.to_vec()).unwrap())
        };
        assert_eq!(upgrade("keep-alive, Upgrade", "websocket").as_deref(), Some("websocket"));
        assert_eq!(upgrade("keep-alive", "websocket"), None);
        assert_eq!(upgrade("Upgrade, HTTP2-Settings", "h2c"), None);
        assert_eq!(upgrade("Upgrade", "websocket, H2C"), None);
        let all = headers([("Connection", "upgrade"), ("Upgrade", "a"), ("Upgrade", "b")]);
        assert_eq!(read(&all).unwrap().upgrade, None);
        assert_eq!(survey(Version::Http10, &all[..2]).unwrap().upgrade, None);
    }

    #[test]
    fn persistence_is_the_default_of_1_1_and_asked_for_in_1_0() {
        let keeps = |version, connection| {
            survey(version, &headers([("Connection", connection)])).unwrap().keep_alive
        };
        assert!(keeps(Version::Http11, ""));
        assert!(!keeps(Version::Http11, "Close"));
        assert!(!keeps(Version::Http10, ""));
        assert!(keeps(Version::Http10, "Keep-Alive"));
        assert!(!keeps(Version::Http10, "keep-alive, close"));
    }

    #[test]
    fn a_flood_of_connection_options_is_refused() {
        let options = "a,".repeat(HEADERS_MAX + 1);
        let got = read(&headers([("Connection", &options)])).err();
        assert_eq!(got, Some(Refusal::TooManyFields));
    }

    #[test]
    fn values_do_not_show_in_debug_output() {
        let all = headers([("Cookie", "secret")]);
        assert_eq!(format!("{:?}", read(&all).unwrap().fields), r#"["Cookie"]"#);
    }
}

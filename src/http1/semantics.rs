//! Reads in one pass what the fields of a head mean for the connection and for the body. The same
//! rules hold for requests and responses; `request` and `response` draw the consequences.

use httparse::Header;

use super::fields::{Fields, Known, bit};
use super::limits::{BODY_BYTES_MAX, HEADERS_MAX};
use super::message::Version;
use super::refusal::Refusal;

/// The meaning of the fields, before it is known whether they belong to a request or a response.
pub(super) struct Semantics<'b> {
    pub(super) fields: Fields<'b>,
    /// The value of Content-Length. It never stands beside `chunked`.
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    /// The framing was given in a form that is not the strict one, with one meaning all the same. The
    /// fields of Content-Length do not go on then.
    pub(super) loose: bool,
    /// True if the sender lets the connection persist.
    pub(super) keep_alive: bool,
    /// The protocols to which the sender offers to switch.
    pub(super) upgrade: Option<&'b [u8]>,
    /// True if the sender takes trailers behind the body of the answer.
    pub(super) trailers: bool,
    /// The value of Host, not checked.
    pub(super) host: Option<&'b [u8]>,
    /// The value of Expect, not checked; `None` in HTTP/1.0.
    pub(super) expect: Option<&'b [u8]>,
}

/// The tolerance towards the sender of a head.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tolerance {
    /// A request: nothing is tolerated, because the sender may want two recipients to differ.
    #[default]
    None,
    /// An answer: a framing with a single meaning is taken in a form that is not strict. Small devices
    /// send it, and it is written on in the strict form.
    SingleMeaning,
}

/// Reads all fields once, and a second time only if Connection may name some of them.
///
/// # Errors
///
/// The refusal of a field that is malformed, stands there twice, or contradicts another one.
pub(super) fn interpret<'b>(
    version: Version,
    headers: &'b [Header<'b>],
    tolerance: Tolerance,
) -> Result<Semantics<'b>, Refusal> {
    let mut found = Found { tolerance, ..Found::default() };
    let mut hop_by_hop = 0;
    for (at, header) in headers.iter().enumerate() {
        if found.take(version, header)? == Reach::HopByHop {
            hop_by_hop |= bit(at);
        }
    }
    // RFC 9112 6.3: the two disagree on the end of the message, which is the mark of request
    // smuggling. In an answer the coding counts.
    if found.chunked && found.length.take().is_some() {
        if tolerance == Tolerance::None {
            return Err(Refusal::LengthAndCoding);
        }
        found.loose = true;
    }
    // Each option is compared with each field. A sender of more options means no good.
    if found.options.count > HEADERS_MAX {
        return Err(Refusal::TooManyFields);
    }
    if found.options.may_name_fields {
        hop_by_hop |= named_by_connection(headers);
    }
    let mut fields = Fields::new(headers, hop_by_hop);
    if found.loose {
        fields.withhold_length();
    }
    Ok(Semantics {
        fields,
        length: found.length,
        chunked: found.chunked,
        loose: found.loose,
        keep_alive: found.options.keep_alive(version),
        upgrade: found.upgrade(version),
        trailers: found.trailers,
        host: found.host,
        expect: found.expect,
    })
}

/// The reach of a field (RFC 9110 7.6.1).
#[derive(PartialEq, Eq)]
enum Reach {
    /// The field is forwarded.
    EndToEnd,
    /// The field ends here.
    HopByHop,
}

/// The fields with a meaning for the codec, as far as they are read.
#[derive(Default)]
struct Found<'b> {
    tolerance: Tolerance,
    length: Option<u64>,
    chunked: bool,
    loose: bool,
    host: Option<&'b [u8]>,
    expect: Option<&'b [u8]>,
    trailers: bool,
    /// The value of the last Upgrade.
    upgrade: Option<&'b [u8]>,
    /// The number of Upgrade fields.
    upgrades: usize,
    options: Options,
}

impl<'b> Found<'b> {
    /// Takes the next field, and returns its reach.
    fn take(&mut self, version: Version, header: &Header<'b>) -> Result<Reach, Refusal> {
        let value = header.value;
        match Known::of(header.name) {
            Known::Other => return Ok(Reach::EndToEnd),
            Known::ContentLength => {
                self.take_length(value)?;
                // It is forwarded unchanged.
                return Ok(Reach::EndToEnd);
            }
            // RFC 9110 10.1.1: a server ignores it in HTTP/1.0. It ends here, because the request
            // is forwarded as HTTP/1.1, in which a node would obey it.
            Known::Expect if version == Version::Http10 => {}
            Known::Expect => {
                // Two of them are one list of two (RFC 9110 5.3), and no list is known here.
                if self.expect.replace(value).is_some() {
                    return Err(Refusal::BadExpectation);
                }
                return Ok(Reach::EndToEnd);
            }
            Known::TransferEncoding => self.take_coding(version, value)?,
            Known::Host => {
                if self.host.replace(value).is_some() {
                    return Err(Refusal::ManyHosts);
                }
            }
            // RFC 9110 10.1.4. HTTP/1.0 knows no chunks, and so no trailers.
            Known::Te if version == Version::Http11 => {
                self.trailers |= list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            Known::Upgrade => {
                self.upgrade = Some(value);
                self.upgrades += 1;
            }
            Known::Connection => self.options.take(value),
            Known::Te | Known::HopByHop => {}
        }
        Ok(Reach::HopByHop)
    }

    /// Takes a Content-Length. A recipient may make one of several equal ones (RFC 9112 6.3), in
    /// fields or in a list. No client that frames with care sends two; some devices do.
    fn take_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let one = content_length(value);
        if one.is_ok() && self.length.is_none() {
            self.length = one.ok();
            return Ok(());
        }
        if self.tolerance == Tolerance::None {
            return Err(Refusal::BadLength);
        }
        self.take_equal_lengths(value)
    }

    #[cold]
    fn take_equal_lengths(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for one in lengths(value) {
            let length = one?;
            if self.length.replace(length).is_some_and(|before| before != length) {
                return Err(Refusal::BadLength);
            }
        }
        self.loose = true;
        Ok(())
    }

    /// Takes a Transfer-Encoding, which must be one `chunked`.
    ///
    /// RFC 9112 6.1: a server refuses a request with an unknown coding, and in HTTP/1.0 every
    /// coding is faulty framing. `chunked` has no parameters (RFC 9112 7). A list with an empty
    /// element would be legal (RFC 9110 5.6.1), but recipients differ in reading one, and nobody
    /// sends it.
    fn take_coding(&mut self, version: Version, value: &[u8]) -> Result<(), Refusal> {
        let one_chunked = value.eq_ignore_ascii_case(b"chunked") && !self.chunked;
        if !one_chunked || version == Version::Http10 {
            return Err(Refusal::BadCoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// Returns the protocols to which the sender offers to switch. Upgrade counts only if
    /// Connection names it, and not in HTTP/1.0 (RFC 9110 7.8). The upgrade to h2c does not count:
    /// RFC 9113 3.1 gave it up, and it would carry requests past us unseen.
    fn upgrade(&self, version: Version) -> Option<&'b [u8]> {
        let offered = version == Version::Http11 && self.options.upgrade && self.upgrades == 1;
        self.upgrade.filter(|value| offered && !list(value).any(is_h2c))
    }
}

/// The options of all Connection fields (RFC 9110 7.6.1).
#[derive(Default)]
struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// There are other options, which may name fields.
    may_name_fields: bool,
    count: usize,
}

impl Options {
    fn take(&mut self, value: &[u8]) {
        for option in list(value) {
            self.count += 1;
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ => self.may_name_fields = true,
            }
        }
    }

    /// Returns true if the sender lets the connection persist. RFC 9112 9.3 forbids a proxy to
    /// persist for a client of HTTP/1.0, because a proxy that does not understand the option may
    /// lie in between. A gateway is the origin server to its clients (RFC 9110 3.7), and an origin
    /// server may persist.
    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Returns the bits of the fields that Connection names, except Content-Length: without it the body
/// would lose its end (RFC 9110 7.6.1: an option never stands for a field meant for all
/// recipients).
fn named_by_connection(headers: &[Header<'_>]) -> u128 {
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

/// Returns the elements of a list that are not empty (RFC 9110 5.6.1).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

fn is_h2c(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c")
}

/// Returns the first of the lengths in a list that was accepted.
pub(super) fn first_length(list: &[u8]) -> Option<u64> {
    lengths(list).next()?.ok()
}

fn lengths(list: &[u8]) -> impl Iterator<Item = Result<u64, Refusal>> {
    list.split(|&b| b == b',').map(|one| content_length(one.trim_ascii()))
}

/// Parses `1*DIGIT` (RFC 9110 8.6): at most 19 digits with leading zeros, which a `u64` always
/// holds.
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

    fn read<'b>(headers: &'b [Header<'b>]) -> Result<Semantics<'b>, Refusal> {
        interpret(Version::Http11, headers, Tolerance::None)
    }

    fn headers<'b, const N: usize>(pairs: [(&'b str, &'b str); N]) -> [Header<'b>; N] {
        pairs.map(|(name, value)| Header { name, value: value.as_bytes() })
    }

    fn forwarded(headers: &[Header<'_>]) -> Vec<String> {
        let semantics = read(headers).unwrap();
        semantics.fields.end_to_end().map(|field| field.name.to_owned()).collect()
    }

    #[test]
    fn a_field_of_the_connection_is_not_forwarded() {
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
    fn connection_cannot_remove_the_length() {
        let all = headers([("Content-Length", "5"), ("Connection", "content-length, host")]);
        assert_eq!(forwarded(&all), ["Content-Length"]);
    }

    #[test]
    fn a_length_is_one_plain_number() {
        let length =
            |text| read(&headers([("Content-Length", text)])).map(|semantics| semantics.length);
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
        assert_eq!(
            interpret(Version::Http10, &twice[..1], Tolerance::None).err(),
            Some(Refusal::BadCoding)
        );
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
        assert_eq!(interpret(Version::Http10, &all[..2], Tolerance::None).unwrap().upgrade, None);
    }

    #[test]
    fn http_1_1_persists_by_default_and_http_1_0_on_request() {
        let keeps = |version, connection| {
            interpret(version, &headers([("Connection", connection)]), Tolerance::None)
                .unwrap()
                .keep_alive
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
}

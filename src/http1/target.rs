//! Checks the destination of a request, its target and its Host, byte by byte. It never decodes
//! them.

use std::net::Ipv6Addr;

use super::head::HostRoom;
use super::refusal::Refusal;

/// Returns the target to forward, and the authority of a target in absolute-form.
///
/// Of the forms of RFC 9112 3.2, origin-form stays, and absolute-form is cut down to it, because a
/// gateway is the origin server to its clients. `*` is for OPTIONS alone. Authority-form, which
/// only CONNECT has, is refused.
pub(super) fn to_origin_form<'b>(
    method: &str,
    target: &'b str,
) -> Result<(&'b str, Option<&'b str>), Refusal> {
    // A target has no fragment (RFC 9112 3.2), and a URI no byte beyond ASCII (RFC 3986 2). The
    // visible bytes that RFC 3986 leaves out (`|`, `{`, `"` and similar ones) pass: browsers send
    // them unescaped, and no two recipients read them differently.
    if let Some(byte) = target.bytes().find(|&b| b == b'#' || b >= 0x80) {
        return Err(Refusal::BadTarget(Some(byte)));
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((target, None));
    }
    let rest = after_scheme(target).ok_or(Refusal::BadTarget(None))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // Every server must accept absolute-form (RFC 9112 3.2.2). RFC 9110 4.2.4 asks for the refusal
    // of userinfo, which is no part of a host.
    parse_host(authority.as_bytes(), &mut [0; 56]).map_err(|refusal| match refusal {
        Refusal::BadHost(byte) => Refusal::BadTarget(byte),
        other => other,
    })?;
    let path = match path.as_bytes().first() {
        // A path that begins with `?` gets its slash when it is written: here is none to borrow.
        Some(_) => path,
        // OPTIONS without a path is meant for the server as a whole (RFC 9112 3.2.4).
        None if method == "OPTIONS" => "*",
        None => "/",
    };
    Ok((path, Some(authority)))
}

/// Returns the text after `http://` or `https://`. The case of a scheme has no meaning (RFC 3986
/// 3.1).
fn after_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Checks `uri-host [ ":" port ]` (RFC 9110 7.2, RFC 3986 3.2.2) and returns it as text. An empty
/// host is refused (RFC 9110 4.2.1). The only IP literal that exists is the IPv6 address. Its zone
/// means something on the client's machine alone and is cut off (RFC 6874 1); the text without it is
/// written into `room`.
pub(super) fn parse_host<'b>(value: &'b [u8], room: &'b mut HostRoom) -> Result<&'b str, Refusal> {
    let text = str::from_utf8(value)
        .map_err(|error| Refusal::BadHost(value.get(error.valid_up_to()).copied()))?;
    // One look at each byte is enough for most hosts.
    if !value.is_empty() && value.iter().all(|&b| IS_PLAIN[usize::from(b)]) {
        return Ok(text);
    }
    if let Some(rest) = text.strip_prefix('[') {
        return literal(text, rest, room);
    }
    let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    check_name(name.as_bytes())?;
    check_port(port)?;
    Ok(text)
}

/// Checks an IPv6 address in brackets; `rest` is `text` without the first of them.
fn literal<'b>(text: &'b str, rest: &str, room: &'b mut HostRoom) -> Result<&'b str, Refusal> {
    let (address, port) = rest.split_once(']').ok_or(Refusal::BadHost(None))?;
    check_port(port)?;
    let (address, zone) = match address.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (address, None),
    };
    if address.parse::<Ipv6Addr>().is_err() {
        return Err(Refusal::BadHost(None));
    }
    let Some(zone) = zone else { return Ok(text) };
    check_name(zone.as_bytes())?;
    let parts = ["[", address, "]", port];
    let mut len = 0;
    for part in parts {
        let place = room.get_mut(len..len + part.len()).ok_or(Refusal::BadHost(None))?;
        place.copy_from_slice(part.as_bytes());
        len += part.len();
    }
    str::from_utf8(&room[..len]).map_err(|_| Refusal::BadHost(None))
}

/// Checks a `reg-name` of RFC 3986 3.2.2 that is not empty. It covers IPv4 addresses.
fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if let Some(byte) = name.iter().find(|&&b| b != b'%' && !IS_PLAIN[usize::from(b)]) {
        return Err(Refusal::BadHost(Some(*byte)));
    }
    let is_escape =
        |rest: &[u8]| rest.iter().take(2).filter(|b| b.is_ascii_hexdigit()).count() == 2;
    if name.contains(&b'%') && !name.split(|&b| b == b'%').skip(1).all(is_escape) {
        return Err(Refusal::BadHost(Some(b'%')));
    }
    if name.is_empty() { Err(Refusal::BadHost(None)) } else { Ok(()) }
}

/// The bytes that may stand anywhere in a name, by themselves. A table, because every request has a host.
const IS_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let (mut byte, others) = (0, b"-._~!$&'()*+,;=");
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// Checks `[ ":" port ]`. The port may be empty (RFC 3986 3.2.3).
fn check_port(text: &str) -> Result<(), Refusal> {
    let Some(port) = text.strip_prefix(':') else {
        return text.bytes().next().map_or(Ok(()), |byte| Err(Refusal::BadHost(Some(byte))));
    };
    if let Some(byte) = port.bytes().find(|b| !b.is_ascii_digit()) {
        return Err(Refusal::BadHost(Some(byte)));
    }
    if port.is_empty() || port.parse::<u16>().is_ok() {
        Ok(())
    } else {
        Err(Refusal::BadHost(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_form_stays_as_it_is() {
        for target in ["/", "/a?b=c", "//a", "/%2e%2e/\\|{}", "/?/a:b@c"] {
            assert_eq!(to_origin_form("GET", target), Ok((target, None)));
        }
    }

    #[test]
    fn absolute_form_is_cut_down_to_origin_form() {
        assert_eq!(to_origin_form("GET", "http://pi/a?b"), Ok(("/a?b", Some("pi"))));
        assert_eq!(to_origin_form("GET", "HTTPS://pi:80"), Ok(("/", Some("pi:80"))));
        assert_eq!(to_origin_form("GET", "http://pi?a/b"), Ok(("?a/b", Some("pi"))));
        assert_eq!(to_origin_form("OPTIONS", "http://[::1]:80"), Ok(("*", Some("[::1]:80"))));
        assert_eq!(to_origin_form("OPTIONS", "http://pi?a"), Ok(("?a", Some("pi"))));
    }

    #[test]
    fn other_targets_are_refused() {
        for target in [
            "*",
            "a",
            "pi:80",
            "?a",
            "/a#b",
            "/é",
            "ftp://pi/",
            "http:/pi",
            "http:///a",
            "http://",
            "http://a@pi/",
            "http://?a",
            "http://pi:x/",
            "http://p\\i/",
        ] {
            let refused = to_origin_form("GET", target);
            assert!(matches!(refused, Err(Refusal::BadTarget(_))), "{target}: {refused:?}");
        }
        assert_eq!(to_origin_form("OPTIONS", "*"), Ok(("*", None)));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for text in ["pi", "pi.local:8080", "10.0.0.1", "[fe80::1]:80", "[::]", "a:", "p%C3%AF"] {
            assert_eq!(parse_host(text.as_bytes(), &mut [0; 56]), Ok(text));
        }
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:1:2",
            "a:+1",
            "a:65536",
            "[::1",
            "::1",
            "[a]",
            "[::1]a",
            "[fe80::1%25]",
            "[fe80::1%]",
            "[fe80::1%25eth 0]",
            "[%25eth0]",
            "a%",
            "a%4",
            "a%zz",
            "a\"b",
            "ï",
            "a\tb",
            "http://a",
        ] {
            let mut room = [0; 56];
            let refused = parse_host(text.as_bytes(), &mut room);
            assert!(matches!(refused, Err(Refusal::BadHost(_))), "{text}: {refused:?}");
        }
        assert_eq!(parse_host(b"a\xff", &mut [0; 56]), Err(Refusal::BadHost(Some(0xff))));
    }

    #[test]
    fn a_refusal_names_the_byte_that_is_not_allowed() {
        for (host, byte) in [
            ("a b", Some(b' ')),
            ("a<b", Some(b'<')),
            ("\u{ef}", Some(0xc3)),
            ("a:8x", Some(b'x')),
            ("a:99999", None),
        ] {
            assert_eq!(
                parse_host(host.as_bytes(), &mut [0; 56]),
                Err(Refusal::BadHost(byte)),
                "{host}"
            );
        }
        for (target, byte) in [
            ("/a#b", Some(b'#')),
            ("/\u{e9}", Some(0xc3)),
            ("http://p<i/", Some(b'<')),
            ("a", None),
        ] {
            assert_eq!(to_origin_form("GET", target), Err(Refusal::BadTarget(byte)), "{target}");
        }
    }

    #[test]
    fn a_zone_is_cut_off_an_address() {
        for (text, without) in [
            ("[fe80::1%25eth0]:8080", "[fe80::1]:8080"),
            ("[fe80::1%eth0]", "[fe80::1]"),
            ("[fe80::1%25en%C3%A9]:", "[fe80::1]:"),
            (
                "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%2]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
            ),
        ] {
            assert_eq!(parse_host(text.as_bytes(), &mut [0; 56]), Ok(without));
        }
    }
}

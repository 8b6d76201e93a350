//! Checks the destination of a request, its target and its Host, byte by byte. It never decodes
//! them.

use std::net::Ipv6Addr;

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
    if target.bytes().any(|b| b == b'#' || b >= 0x80) {
        return Err(Refusal::BadTarget);
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((target, None));
    }
    let rest = after_scheme(target).ok_or(Refusal::BadTarget)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // Every server must accept absolute-form (RFC 9112 3.2.2). RFC 9110 4.2.4 asks for the refusal
    // of userinfo, which is no part of a host.
    let authority = parse_host(authority.as_bytes()).map_err(|_| Refusal::BadTarget)?;
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
/// host is refused (RFC 9110 4.2.1). The only IP literal that exists is the IPv6 address.
pub(super) fn parse_host(value: &[u8]) -> Result<&str, Refusal> {
    let text = str::from_utf8(value).map_err(|_| Refusal::BadHost)?;
    let (is_host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_reg_name(name.as_bytes()), port)
        }
    };
    if is_host && is_port(port) { Ok(text) } else { Err(Refusal::BadHost) }
}

/// Returns true for a `reg-name` of RFC 3986 3.2.2 that is not empty. It covers IPv4 addresses.
fn is_reg_name(name: &[u8]) -> bool {
    let legal = |&b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&b);
    let is_escape =
        |rest: &[u8]| rest.iter().take(2).filter(|b| b.is_ascii_hexdigit()).count() == 2;
    !name.is_empty()
        && name.iter().all(legal)
        && (!name.contains(&b'%') || name.split(|&b| b == b'%').skip(1).all(is_escape))
}

/// Returns true for `[ ":" port ]`. The port may be empty (RFC 3986 3.2.3).
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some("") => true,
        Some(port) => port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok(),
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
            assert_eq!(to_origin_form("GET", target), Err(Refusal::BadTarget), "{target}");
        }
        assert_eq!(to_origin_form("OPTIONS", "*"), Ok(("*", None)));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for text in ["pi", "pi.local:8080", "10.0.0.1", "[fe80::1]:80", "[::]", "a:", "p%C3%AF"] {
            assert_eq!(parse_host(text.as_bytes()), Ok(text));
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
            "[fe80::1%25eth0]",
            "a%",
            "a%4",
            "a%zz",
            "a\"b",
            "ï",
            "a\tb",
            "http://a",
        ] {
            assert_eq!(parse_host(text.as_bytes()), Err(Refusal::BadHost), "{text}");
        }
        assert_eq!(parse_host(b"\xff"), Err(Refusal::BadHost));
    }
}

//! Logins that belong to a connection and not to a request.

/// Returns true if one of the schemes in this list binds a login to its connection: NTLM, and
/// Negotiate as servers use it (RFC 4559 6). The server takes every later request on that connection for
/// one of the same user, also if somebody else sends it. The list is the value of Authorization,
/// WWW-Authenticate or their twins for proxies.
pub fn is_bound_login(value: &[u8]) -> bool {
    let scheme = |part: &[u8]| -> bool {
        let part = part.trim_ascii_start();
        let end = part.iter().position(u8::is_ascii_whitespace).unwrap_or(part.len());
        let scheme = &part[..end];
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    };
    value.split(|&b| b == b',').any(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_of_a_connection_is_found_anywhere_in_a_list() {
        for value in ["NTLM", "ntlm TlRM", "Negotiate\tYII=", "Basic realm=\"a, b\", NEGOTIATE"] {
            assert!(is_bound_login(value.as_bytes()), "{value}");
        }
        for value in ["", "Basic TlRM", "Bearer NTLM", "NTLMv2", "Digest realm=\"NTLM\"", ",;"] {
            assert!(!is_bound_login(value.as_bytes()), "{value}");
        }
    }
}

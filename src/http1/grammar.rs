//! The two sets of characters of which field lines and chunk lines consist.

/// `tchar` of RFC 9110 5.6.2.
pub(super) const fn is_tchar(b: u8) -> bool {
    matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || b.is_ascii_alphanumeric()
}

/// What a field value consists of (RFC 9110 5.5): HTAB, SP, VCHAR and obs-text.
pub(super) const fn is_text(b: u8) -> bool {
    matches!(b, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tchars_are_those_of_the_grammar() {
        let expected = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        assert!((0..=255).all(|b| is_tchar(b) == expected(b)));
    }
}

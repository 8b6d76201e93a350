//! The character sets of the grammar that field lines and chunk lines share.

/// Returns true for a `tchar`, a character of a token (RFC 9110 5.6.2).
pub(super) const fn is_tchar(b: u8) -> bool {
    matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || b.is_ascii_alphanumeric()
}

/// Returns true for a byte of a field value: HTAB, SP, VCHAR or obs-text (RFC 9110 5.5).
pub(super) const fn is_text(b: u8) -> bool {
    matches!(b, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tchars_are_the_ones_of_the_grammar() {
        let expected = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        assert!((0..=255).all(|b| is_tchar(b) == expected(b)));
    }
}

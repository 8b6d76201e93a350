//! The content of a message in a form that outlives its bytes and can be compared.

use picluster::http1::{Body, Field, Fields, Framing, Refusal};

/// The names and values of fields in their order.
pub(crate) type Pairs = Vec<(String, Vec<u8>)>;

pub(crate) fn pairs(fields: impl Iterator<Item = (impl AsRef<str>, impl AsRef<[u8]>)>) -> Pairs {
    fields.map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())).collect()
}

pub(crate) fn all(fields: &Fields<'_>) -> Pairs {
    pairs(fields.iter().map(|Field { name, value, .. }| (name, value)))
}

pub(crate) fn end_to_end(fields: &Fields<'_>) -> Pairs {
    pairs(fields.end_to_end().map(|Field { name, value, .. }| (name, value)))
}

/// Returns the pairs without two things that mean nothing: the order of fields that have different
/// names (RFC 9110 5.3), and the case of names.
pub(crate) fn sorted(mut pairs: Pairs) -> Pairs {
    for (name, _) in &mut pairs {
        name.make_ascii_lowercase();
    }
    // The sort is stable, so fields of one name keep their order.
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}

/// Asserts that each name is a token (RFC 9110 5.6.2), and that each value has no space around it
/// and no control byte but HTAB (RFC 9110 5.5).
pub(crate) fn assert_fields(pairs: &Pairs) {
    for (name, value) in pairs {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        assert!(!name.is_empty() && name.bytes().all(token), "{name:?}");
        let text = |&b: &u8| b == b'\t' || (b >= b' ' && b != 0x7f);
        assert!(value.iter().all(text) && value.trim_ascii() == value, "{value:?}");
    }
}

/// A body that was read from the bytes after its head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// The number of its bytes on the wire.
    pub(crate) consumed: usize,
    pub(crate) data: Vec<u8>,
    /// True if it came to its end. The end of the connection is one if that is the framing.
    pub(crate) whole: bool,
}

/// Reads a body that arrives in one piece, after which the connection ends.
pub(crate) fn body(framing: Framing, bytes: &[u8]) -> Result<Read, Refusal> {
    let (mut body, mut data) = (Body::new(framing), Vec::new());
    let advance = body.decode(bytes, |piece| data.extend_from_slice(piece))?;
    assert_eq!(advance.done, body.is_done());
    assert!(advance.done || advance.consumed == bytes.len(), "bytes were left without need");
    assert!(data.len() <= advance.consumed && advance.consumed <= bytes.len());
    let whole = body.eof().is_ok();
    assert!(whole || !advance.done);
    Ok(Read { consumed: advance.consumed, data, whole })
}

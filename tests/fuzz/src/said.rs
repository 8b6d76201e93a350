//! The content of a message, in a form that outlives its bytes and can be compared.

use picluster::h1::{Body, Field, Fields, Framing, Refusal};

/// Names and values in their order.
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

/// The same fields without the order of different names, which has no meaning (RFC 9110 5.3), and
/// without the case of names.
pub(crate) fn sorted(mut pairs: Pairs) -> Pairs {
    for (name, _) in &mut pairs {
        name.make_ascii_lowercase();
    }
    // The sort is stable: fields of one name keep their order.
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}

/// Checks that a name is a token (RFC 9110 5.6.2), and that a value has no space around it and no
/// control byte but HTAB (RFC 9110 5.5).
pub(crate) fn assert_fields(pairs: &Pairs) {
    for (name, value) in pairs {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        assert!(!name.is_empty() && name.bytes().all(token), "{name:?}");
        let text = |&b: &u8| b == b'\t' || (b >= b' ' && b != 0x7f);
        assert!(value.iter().all(text) && value.trim_ascii() == value, "{value:?}");
    }
}

/// A body that was read from the bytes behind its head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// Its bytes on the wire.
    pub(crate) consumed: usize,
    pub(crate) data: Vec<u8>,
    /// True if it came to its end. A connection that ends counts as the end where that is the
    /// framing.
    pub(crate) whole: bool,
}

/// Reads a body that comes in one piece, after which the connection ends.
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

//! The chunked coding: any pieces give the same data and the same end, and a body that was written
//! is read back.

use picluster::http1::{Body, Framing, Refusal, append_chunk_size};

use super::owned;
use super::pieces::cuts;

/// Reads `bytes` as a chunked body.
pub fn check(bytes: &[u8]) {
    let whole = owned::body(Framing::Chunked, bytes);
    for ends in cuts(bytes) {
        assert_eq!(in_pieces(bytes, &ends), whole, "{ends:?}");
    }
    let Ok(read) = whole else { return };
    if read.whole {
        // The bytes after a body belong to the next message.
        let more = [bytes, b"0\r\n\r\n"].concat();
        assert_eq!(owned::body(Framing::Chunked, &more).as_ref(), Ok(&read));
        // A body without its last byte is never complete.
        let short = owned::body(Framing::Chunked, &bytes[..read.consumed - 1]);
        assert!(short.is_ok_and(|short| !short.whole));
    }
    assert_read_back(&read.data);
}

/// Reads the same body in pieces, with one reader by `advance` and with another by `decode`: both
/// must consume the same bytes.
fn in_pieces(bytes: &[u8], ends: &[usize]) -> Result<owned::Read, Refusal> {
    let (mut body, mut twin) = (Body::new(Framing::Chunked), Body::new(Framing::Chunked));
    let (mut data, mut at) = (Vec::new(), 0);
    for &end in ends {
        let relayed = body.advance(&bytes[at..end]);
        assert_eq!(twin.decode(&bytes[at..end], |piece| data.extend_from_slice(piece)), relayed);
        let advance = relayed?;
        assert!(advance.done || advance.consumed == end - at);
        at += advance.consumed;
        if advance.done {
            break;
        }
    }
    Ok(owned::Read { consumed: at, data, whole: body.eof().is_ok() })
}

/// Writes the data in chunks, and asserts that it is read back.
fn assert_read_back(data: &[u8]) {
    let mut wire = Vec::new();
    for chunk in data.chunks(13) {
        append_chunk_size(&mut wire, chunk.len());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    let read = owned::body(Framing::Chunked, &wire).expect("a body that was written is read back");
    assert_eq!((read.data.as_slice(), read.consumed, read.whole), (data, wire.len(), true));
}

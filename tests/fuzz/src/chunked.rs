//! The chunked coding: any pieces give the same data and the same end, and the reader reads back
//! what the writer writes.

use picluster::h1::{Body, Framing, Refusal, append_chunk_size};

use super::pieces::cuts;
use super::said;

/// Reads `bytes` as a chunked body.
pub fn check(bytes: &[u8]) {
    let whole = said::body(Framing::Chunked, bytes);
    for ends in cuts(bytes) {
        assert_eq!(in_pieces(bytes, &ends), whole, "{ends:?}");
    }
    let Ok(read) = whole else { return };
    if read.whole {
        // The bytes behind a body belong to the next message.
        let more = [bytes, b"0\r\n\r\n"].concat();
        assert_eq!(said::body(Framing::Chunked, &more).as_ref(), Ok(&read));
        // A body that is cut short anywhere is never complete.
        let short = said::body(Framing::Chunked, &bytes[..read.consumed - 1]);
        assert!(short.is_ok_and(|short| !short.whole));
    }
    assert_read_back(&read.data);
}

/// Reads the same body in pieces, and compares the data as it is on the wire: the bytes that
/// `advance` passes and those that `decode` returns must be the same.
fn in_pieces(bytes: &[u8], ends: &[usize]) -> Result<said::Read, Refusal> {
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
    Ok(said::Read { consumed: at, data, whole: body.eof().is_ok() })
}

/// Writes data in chunks and reads it back.
fn assert_read_back(data: &[u8]) {
    let mut wire = Vec::new();
    for chunk in data.chunks(13) {
        append_chunk_size(&mut wire, chunk.len());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    let read = said::body(Framing::Chunked, &wire).expect("what we write we can read");
    assert_eq!((read.data.as_slice(), read.consumed, read.whole), (data, wire.len(), true));
}

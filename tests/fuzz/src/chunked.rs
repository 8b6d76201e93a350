//! The chunked coding: any pieces give the same data and the same end, and what is written is read
//! back.

use picluster::http1::{Body, Framing, Refusal, append_chunk_size};

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
        // What follows a body is the next message's.
        let more = [bytes, b"0\r\n\r\n"].concat();
        assert_eq!(said::body(Framing::Chunked, &more).as_ref(), Ok(&read));
        // Cut short anywhere it is never whole.
        let short = said::body(Framing::Chunked, &bytes[..read.consumed - 1]);
        assert!(short.is_ok_and(|short| !short.whole));
    }
    assert_read_back(&read.data);
}

/// The same body in pieces, and the data as the wire has it: what `advance` lets through and what
/// `decode` takes apart must be the same bytes.
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

/// Writes data in chunks and reads it.
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

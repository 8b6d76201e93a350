//! Finds the end of a body. It holds nothing back and copies nothing: it judges the bytes where
//! they lie, in pieces of any size.

use super::chunked::{Chunked, at_most};
use super::message::Framing;
use super::refusal::Refusal;

/// A reader that follows one body from its first byte to its last.
#[derive(Debug)]
pub struct Body(State);

#[derive(Debug)]
enum State {
    /// No byte is missing.
    Done,
    /// This many bytes are missing, at least one.
    Length(u64),
    Chunked(Chunked),
    /// The body ends with the connection.
    Close,
}

/// The result of reading some bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The bytes that belong to the body as it is on the wire, chunk lines and trailers included.
    /// They are fewer than the input only if the body is done, or if some bytes are dropped.
    pub consumed: usize,
    /// The bytes behind them that belong to the body and do not go on: the caller drops them, and
    /// reads on behind them. Always 0 in a body of [`Body::new`].
    pub dropped: usize,
    /// True if the body is complete.
    pub done: bool,
}

impl Body {
    /// Returns the reader of a body of this framing, before its first byte.
    pub const fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::Close => State::Close,
        })
    }

    /// Returns the reader of a node's answer, which is more tolerant: blanks behind a chunk size are
    /// taken and do not go on.
    pub const fn of_answer(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self(State::Chunked(Chunked::of_answer())),
            other => Self::new(other),
        }
    }

    /// Judges the next bytes. The caller may relay the consumed ones as they are.
    ///
    /// # Errors
    ///
    /// [`Refusal::BadChunk`], [`Refusal::BadTrailer`] or [`Refusal::TooMuchFraming`]. The caller
    /// must then relay none of the input, and the body is of no further use.
    pub fn advance(&mut self, input: &[u8]) -> Result<Advance, Refusal> {
        self.decode(input, |_| {})
    }

    /// Does the same as [`advance`](Self::advance), and passes the data without chunk lines and
    /// trailers to `sink`, for a client that cannot read those (RFC 9112 7.1.3).
    ///
    /// # Errors
    ///
    /// Those of [`advance`](Self::advance). The sink may have received data before.
    pub fn decode(
        &mut self,
        input: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Advance, Refusal> {
        let mut dropped = 0;
        let consumed = match &mut self.0 {
            State::Done => 0,
            State::Length(left) => {
                let data = at_most(input, *left);
                *left -= data.len() as u64;
                sink(data);
                data.len()
            }
            State::Chunked(chunked) => {
                let consumed = chunked.decode(input, &mut sink)?;
                dropped = chunked.skip_blanks(&input[consumed..])?;
                consumed
            }
            State::Close => {
                sink(input);
                input.len()
            }
        };
        let done = match &self.0 {
            State::Done | State::Length(0) => true,
            State::Chunked(chunked) => chunked.is_done(),
            State::Length(_) | State::Close => false,
        };
        if done {
            self.0 = State::Done;
        }
        Ok(Advance { consumed, dropped, done })
    }

    /// Returns true if the body is complete. A body that ends with the connection is complete only
    /// after [`eof`](Self::eof).
    pub const fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Takes note that the connection has ended.
    ///
    /// # Errors
    ///
    /// [`Refusal::Truncated`] if bytes of the body are missing (RFC 9112 8).
    pub fn eof(&mut self) -> Result<(), Refusal> {
        if !matches!(self.0, State::Done | State::Close) {
            return Err(Refusal::Truncated);
        }
        self.0 = State::Done;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::write::append_chunk_size;
    use super::*;

    const TAKEN: fn(usize, bool) -> Result<Advance, Refusal> =
        |consumed, done| Ok(Advance { consumed, dropped: 0, done });

    #[test]
    fn no_body_takes_no_byte() {
        for framing in [Framing::None, Framing::Length(0)] {
            let mut body = Body::new(framing);
            assert!(body.is_done());
            assert_eq!(body.advance(b"GET"), TAKEN(0, true));
            assert_eq!(body.eof(), Ok(()));
        }
    }

    #[test]
    fn a_body_of_known_length_ends_after_that_many_bytes() {
        let mut body = Body::new(Framing::Length(5));
        assert_eq!(body.advance(b"hel"), TAKEN(3, false));
        assert_eq!(body.eof(), Err(Refusal::Truncated));
        assert_eq!(body.advance(b""), TAKEN(0, false));
        assert_eq!(body.advance(b"loGET"), TAKEN(2, true));
        assert_eq!(body.advance(b"GET"), TAKEN(0, true));
        assert_eq!(Body::new(Framing::Length(u64::MAX)).advance(b"a"), TAKEN(1, false));
    }

    #[test]
    fn a_body_without_length_ends_with_the_connection() {
        let mut body = Body::new(Framing::Close);
        assert_eq!(body.advance(b"hello"), TAKEN(5, false));
        assert_eq!(body.eof(), Ok(()));
        assert!(body.is_done());
    }

    #[test]
    fn a_chunked_body_ends_behind_its_trailers() {
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.advance(b"5\r\nhello\r\n0\r\nA: b\r\n"), TAKEN(19, false));
        assert_eq!(body.eof(), Err(Refusal::Truncated));
        assert_eq!(body.advance(b"\r\nGET"), TAKEN(2, true));
        assert!(body.is_done());
    }

    /// Feeds `bytes` in steps. Returns the number of consumed bytes, the data, and the end.
    fn feed(
        framing: Framing,
        bytes: &[u8],
        steps: &[usize],
    ) -> (usize, Vec<u8>, Result<(), Refusal>) {
        let (mut body, mut data, mut at) = (Body::new(framing), Vec::new(), 0_usize);
        for step in steps.iter().copied().chain([usize::MAX]) {
            let end = bytes.len().min(at.saturating_add(step));
            match body.decode(&bytes[at..end], |piece| data.extend_from_slice(piece)) {
                Ok(advance) => at += advance.consumed,
                Err(refusal) => return (0, data, Err(refusal)),
            }
        }
        (at, data, body.eof())
    }

    fn framing() -> impl Strategy<Value = Framing> {
        prop_oneof![
            Just(Framing::None),
            (0_u64..50).prop_map(Framing::Length),
            Just(Framing::Chunked),
            Just(Framing::Close),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_judged_alike(
            framing in framing(),
            bytes in "([0-9a-f]{1,2}(;[ab=\" ]{0,4})?\r\n|[abX:]{0,9}\r\n|0\r\n|\r|\n){0,9}",
            steps in prop::collection::vec(0_usize..9, 0..40),
        ) {
            let whole = feed(framing, bytes.as_bytes(), &[]);
            let pieces = feed(framing, bytes.as_bytes(), &steps);
            prop_assert_eq!(&whole.2, &pieces.2);
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn random_bytes_never_panic(framing in framing(), bytes: Vec<u8>) {
            let _ = feed(framing, &bytes, &[]);
        }

        #[test]
        fn a_body_written_in_chunks_is_read_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..9),
            extension in "( ?; ?[a-z]{1,3}( ?= ?([a-z]{1,3}|\"([a-z ;=]|\\\\[\"a])*\"))?){0,2}",
            trailers in "(Y-[A-Za-z_]{1,30}:[ -~]{0,9}\r\n){0,3}",
            steps in prop::collection::vec(0_usize..30, 0..40),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                append_chunk_size(&mut wire, chunk.len());
                wire.truncate(wire.len() - 2);
                wire.extend_from_slice(extension.as_bytes());
                wire.extend_from_slice(b"\r\n");
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(format!("0{extension}\r\n{trailers}\r\n").as_bytes());
            let len = wire.len();
            wire.extend_from_slice(b"GET");
            let read = feed(Framing::Chunked, &wire, &steps);
            prop_assert_eq!(read, (len, chunks.concat(), Ok(())));
        }
    }

    #[test]
    fn blanks_behind_a_chunk_size_of_an_answer_do_not_go_on() {
        let wire = b"2  \r\nab\r\n1 \t;a=b\r\nc\r\n0 \r\n\r\n";
        let strict = b"2\r\nab\r\n1;a=b\r\nc\r\n0\r\n\r\n";
        assert!(
            Body::new(Framing::Chunked).advance(wire).is_err(),
            "a request is held to the rule"
        );
        for cut in 0..wire.len() {
            let (mut body, mut sent, mut data) =
                (Body::of_answer(Framing::Chunked), Vec::new(), Vec::new());
            for mut piece in [&wire[..cut], &wire[cut..]] {
                loop {
                    let advance =
                        body.decode(piece, |bytes| data.extend_from_slice(bytes)).unwrap();
                    sent.extend_from_slice(&piece[..advance.consumed]);
                    piece = &piece[advance.consumed + advance.dropped..];
                    if advance.dropped == 0 {
                        break;
                    }
                }
                assert!(piece.is_empty(), "{cut}");
            }
            assert!(body.is_done() && sent == strict && data == b"abc", "{cut}");
        }
        for bad in ["2 2\r\nab", "2 \n", " 2\r\n", "2 \r \n", "2 x\r\n"] {
            let mut body = Body::of_answer(Framing::Chunked);
            let mut rest = bad.as_bytes();
            let refused = loop {
                match body.advance(rest) {
                    Ok(advance) if advance.dropped > 0 => {
                        rest = &rest[advance.consumed + advance.dropped..];
                    }
                    other => break other,
                }
            };
            assert_eq!(refused, Err(Refusal::BadChunk), "{bad:?}");
        }
        let many = format!("2{}", " ".repeat(2000));
        let refused = Body::of_answer(Framing::Chunked).advance(many.as_bytes());
        assert_eq!(refused, Err(Refusal::TooMuchFraming));
    }
}

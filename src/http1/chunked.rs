//! The chunked coding (RFC 9112 7.1). Lines are read byte by byte, data in one step. The grammar is
//! taken literally: bytes that a more tolerant reader might take for the end of a line, of an
//! extension or of a chunk do not pass.

use super::grammar::{is_tchar, is_text};
use super::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
use super::refusal::Refusal;
use super::trailer::TrailerName;

/// The longest chunk line in bytes: the size and the extensions.
const LINE_BYTES_MAX: usize = 1024;

/// The most hexadecimal digits of a chunk size, leading zeros included.
const SIZE_DIGITS_MAX: usize = 16;

/// A reader that follows one chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// The size of the chunk as far as it is read, then the part of its data that is still missing.
    left_bytes: u64,
    /// Bytes of the current chunk line that were read.
    line_bytes: usize,
    /// Bytes of extensions and trailers, less the bytes of data between them.
    overhead_bytes: usize,
    /// The number of trailers that have begun.
    trailers: usize,
    /// The name of the current trailer.
    trailer: TrailerName,
    /// Blanks behind a size are left out: see [`Chunked::of_answer`].
    skips_blanks: bool,
}

/// The part of the body to which the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension(Extension),
    /// The LF of a chunk line.
    SizeLf,
    Data,
    /// The CR that ends a chunk.
    DataCr,
    /// The LF after it.
    DataLf,
    /// The first byte of a trailer, or the CR of the end.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// The LF of the end.
    EndLf,
    End,
}

/// The place of the next byte in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
/// (RFC 9112 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// In the space before a `;`.
    Gap,
    /// After the `;`, before the name.
    Start,
    Name,
    /// In the space after a name.
    NameGap,
    /// After the `=`, before the value.
    Equals,
    Value,
    Quoted,
    /// After the backslash of a quoted pair.
    Escaped,
    /// After the closing quote.
    Closed,
}

impl Chunked {
    /// The reader of an answer's body. Blanks behind a size have one meaning; some servers fill the
    /// size up with them to a fixed width. They do not go on.
    pub(super) const fn of_answer() -> Self {
        Self { skips_blanks: true, ..Self::new() }
    }

    pub(super) const fn new() -> Self {
        Self {
            skips_blanks: false,
            state: State::Size,
            left_bytes: 0,
            line_bytes: 0,
            overhead_bytes: 0,
            trailers: 0,
            trailer: TrailerName::new(),
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Reads on, at most to the end of the body or to blanks that do not go on, and returns the number of
    /// bytes read. The data goes to `sink`.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<usize, Refusal> {
        let mut rest = input;
        while let [byte, behind @ ..] = rest
            && !self.is_done()
        {
            if self.state == State::Data {
                let data = at_most(rest, self.left_bytes);
                self.left_bytes -= data.len() as u64;
                if self.left_bytes == 0 {
                    self.state = State::DataCr;
                }
                sink(data);
                rest = &rest[data.len()..];
            } else if self.skips(*byte) {
                break;
            } else {
                self.state = self.step(*byte)?;
                rest = behind;
            }
        }
        Ok(input.len() - rest.len())
    }

    fn skips(&self, byte: u8) -> bool {
        self.skips_blanks
            && self.state == State::Size
            && self.line_bytes > 0
            && matches!(byte, b' ' | b'\t')
    }

    /// Takes the blanks at the beginning of `input` that do not go on, and returns their number. What
    /// follows them is no digit any more.
    pub(super) fn skip_blanks(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        let blanks = input.iter().take_while(|&&byte| self.skips(byte)).count();
        if blanks == 0 {
            return Ok(0);
        }
        for _ in 0..blanks {
            self.line_bytes = LINE_BYTES_MAX.min(self.line_bytes.max(SIZE_DIGITS_MAX) + 1);
            self.overhead_bytes += 1;
        }
        let within = self.line_bytes < LINE_BYTES_MAX && self.overhead_bytes <= HEAD_BYTES_MAX;
        if within { Ok(blanks) } else { Err(Refusal::TooMuchFraming) }
    }

    /// Takes one byte that is not data, and returns the state after it.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size, _) => self.take_size(byte)?,
            (State::Extension(extension), _) => {
                self.count_overhead()?;
                extension.step(byte).ok_or(Refusal::BadChunk)?
            }
            (State::SizeLf, b'\n') if self.left_bytes == 0 => State::Trailer,
            (State::SizeLf, b'\n') => {
                // Data pays for the extension before it, so that a long body may have many.
                let size = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
                self.overhead_bytes = self.overhead_bytes.saturating_sub(size);
                self.line_bytes = 0;
                State::Data
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::Trailer, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::End,
            (State::Trailer | State::TrailerName | State::TrailerValue | State::TrailerLf, _) => {
                self.count_overhead()?;
                self.take_trailer(byte)?
            }
            _ => return Err(Refusal::BadChunk),
        })
    }

    /// Takes a byte of `1*HEXDIG`. A sign and a prefix are refused, and so is a space that no
    /// extension follows.
    fn take_size(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if self.line_bytes == 0 => return Err(Refusal::BadChunk),
            b'\r' => return Ok(State::SizeLf),
            _ => return Extension::Gap.step(byte).ok_or(Refusal::BadChunk),
        };
        if self.line_bytes >= SIZE_DIGITS_MAX || self.left_bytes > BODY_BYTES_MAX >> 4 {
            return Err(Refusal::BadChunk);
        }
        self.line_bytes += 1;
        self.left_bytes = self.left_bytes << 4 | u64::from(digit);
        Ok(State::Size)
    }

    /// Counts a byte that carries neither data nor a size. Such a byte takes no memory here, but
    /// nobody should make a node read kilobytes for each byte of data.
    fn count_overhead(&mut self) -> Result<(), Refusal> {
        self.line_bytes += 1;
        self.overhead_bytes += 1;
        let in_line =
            !matches!(self.state, State::Extension(_)) || self.line_bytes <= LINE_BYTES_MAX;
        let in_all = self.overhead_bytes <= HEAD_BYTES_MAX;
        if in_line && in_all { Ok(()) } else { Err(Refusal::TooMuchFraming) }
    }

    /// Takes a byte of a trailer. A trailer is a field line (RFC 9112 7.1.2), so it has the syntax
    /// of one.
    fn take_trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Trailer, _) if is_tchar(byte) => {
                self.trailers += 1;
                if self.trailers > HEADERS_MAX {
                    return Err(Refusal::TooMuchFraming);
                }
                self.trailer = TrailerName::new();
                self.trailer.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, _) if is_tchar(byte) => {
                self.trailer.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') if self.trailer.is_allowed() => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_text(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            _ => Err(Refusal::BadTrailer),
        }
    }
}

impl Extension {
    /// Takes one byte, and returns the state after it; `None` if the grammar has no such byte here.
    fn step(self, byte: u8) -> Option<State> {
        use Extension::{Closed, Equals, Escaped, Gap, Name, NameGap, Quoted, Start, Value};
        Some(State::Extension(match (self, byte) {
            (Name | Value | Closed, b'\r') => return Some(State::SizeLf),
            (Quoted, b'"') => Closed,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, _) if is_text(byte) => Quoted,
            (Gap | Name | NameGap | Value | Closed, b';') => Start,
            (Name | NameGap, b'=') => Equals,
            (Equals, b'"') => Quoted,
            (Gap | Value | Closed, b' ' | b'\t') => Gap,
            (Name | NameGap, b' ' | b'\t') => NameGap,
            (Start | Equals, b' ' | b'\t') => self,
            (Start | Name, _) if is_tchar(byte) => Name,
            (Equals | Value, _) if is_tchar(byte) => Value,
            _ => return None,
        }))
    }
}

/// Returns the first `max` bytes of `input`, or all if there are fewer.
pub(super) fn at_most(input: &[u8], max: u64) -> &[u8] {
    let len = usize::try_from(max).map_or(input.len(), |max| input.len().min(max));
    &input[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the data of a complete body, or `None` if bytes are missing.
    fn decode(input: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let (mut chunked, mut data) = (Chunked::new(), Vec::new());
        let taken = chunked.decode(input, &mut |piece| data.extend_from_slice(piece))?;
        assert!(chunked.is_done() || taken == input.len());
        Ok(chunked.is_done().then_some(data))
    }

    #[test]
    fn good_bodies_pass() {
        for body in [
            "5\r\nhello\r\n0\r\n\r\n",
            "0005\r\nhello\r\n000\r\n\r\n",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nGET / HTTP/1.1",
            "5;a;b=c;d=\"e\\\"; \t\"\r\nhello\r\n0;z\r\n\r\n",
            "5 ; a = b ;c\r\nhello\r\n0\r\n\r\n",
            "0000000000000005\r\nhello\r\n0\r\nX-Sum: 1\r\nEmpty:\r\nx:\ty z\r\n\r\n",
        ] {
            assert_eq!(decode(body.as_bytes()), Ok(Some(b"hello".to_vec())), "{body:?}");
        }
        let ten = decode(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n");
        assert_eq!(ten.unwrap().unwrap().len(), 20);
        assert_eq!(decode(b"7fffffffffffffff\r\nx"), Ok(None));
    }

    #[test]
    fn bad_chunk_lines_are_refused() {
        for line in [
            "\r\n",
            ";a\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\t\r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "5h\r\n",
            "5\n",
            "5\r5",
            "5\r\r\n",
            "00000000000000005\r\n",
            "8000000000000000\r\n",
            "ffffffffffffffff\r\n",
            "10000000000000005\r\n",
            "5;\r\n",
            "5;a=\r\n",
            "5;a \r\n",
            "5;=b\r\n",
            "5;a=b \r\n",
            "5;a b\r\n",
            "5;a\n",
            "5;a=\"b\r\n",
            "5;a=\"\n\"\r\n",
            "5;a=\"b\"c\r\n",
            "5;a\0\r\n",
            "5;a=\"\0\"\r\n",
            "5,a\r\n",
            "5;a=b,c\r\n",
            "5;;a\r\n",
            "5;a=\"\\\r\n",
            "5;a=b\"c\"\r\n",
        ] {
            assert_eq!(decode(line.as_bytes()), Err(Refusal::BadChunk), "{line:?}");
        }
    }

    #[test]
    fn a_chunk_ends_in_crlf_where_its_size_says() {
        for body in ["1\r\nhello", "1\r\nh\n", "1\r\nh\r\r", "1\r\nh0\r\n", "5\r\nhell\r\n\r\n"] {
            assert_eq!(decode(body.as_bytes()), Err(Refusal::BadChunk), "{body:?}");
        }
        assert_eq!(decode(b"0\r\n\rX"), Err(Refusal::BadChunk));
    }

    #[test]
    fn bad_trailers_are_refused() {
        for trailer in [
            "A : b\r\n",
            " A: b\r\n",
            ": b\r\n",
            "A\r\n",
            "\n",
            "A: b\n",
            "A: b\rc",
            "A: \0",
            "A: b\r\n c\r\n",
            "Content-Length: 5\r\n",
            "transfer-ENCODING: chunked\r\n",
            "Host: a\r\n",
            "TE: a\r\n",
            "Content-Type: a\r\n",
            "Connection: a\r\n",
        ] {
            let got = decode(format!("0\r\n{trailer}").as_bytes());
            assert_eq!(got, Err(Refusal::BadTrailer), "{trailer:?}");
        }
        let almost = decode(b"0\r\nContent-Lengt: 5\r\nTransfer-Encoding2: a\r\nHos: a\r\n\r\n");
        assert_eq!(almost, Ok(Some(Vec::new())));
    }

    #[test]
    fn framing_is_bounded_by_line_by_body_and_by_count() {
        let line = |len: usize| decode(format!("1;{}\r\nx", "a".repeat(len - 2)).as_bytes());
        assert_eq!(line(LINE_BYTES_MAX - 1), Ok(None));
        assert_eq!(line(LINE_BYTES_MAX + 1), Err(Refusal::TooMuchFraming));

        let chunks = |size: usize| {
            let (extension, data) = ("a".repeat(99), "x".repeat(size));
            decode(format!("{size:x};{extension}\r\n{data}\r\n").repeat(10_000).as_bytes())
        };
        assert_eq!(chunks(1), Err(Refusal::TooMuchFraming));
        assert_eq!(chunks(200), Ok(None));

        let trailers = |count, len| {
            let trailer = format!("A:{}\r\n", "b".repeat(len));
            decode(format!("0\r\n{}\r\n", trailer.repeat(count)).as_bytes())
                .map(|data| data.is_some())
        };
        assert_eq!(trailers(HEADERS_MAX, 500), Ok(true));
        assert_eq!(trailers(HEADERS_MAX + 1, 1), Err(Refusal::TooMuchFraming));
        assert_eq!(trailers(1, HEAD_BYTES_MAX), Err(Refusal::TooMuchFraming));
    }
}

//! A part of a file as the body of an answer, read piece by piece: on this thread if the system has the
//! piece in memory, else on a thread that may wait for a disk. The next piece is read when the system has
//! taken the one before, so that a client that takes nothing costs one piece.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

/// The size of one read, and the cost of a client that takes nothing.
const PIECE_BYTES: u64 = 16 * 1024;

/// The bytes of a file between two positions.
pub(super) struct FileBody {
    file: Arc<File>,
    /// The position of the next byte to read.
    at: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// Completes when the piece before has been written.
    before: Option<oneshot::Receiver<()>>,
}

/// Bytes that wait to be written. Dropping them, and the sender with them, reports that they were.
struct Piece {
    bytes: Vec<u8>,
    _gone: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl FileBody {
    /// The bytes from `from` to before `to`, which must not lie beyond the end.
    pub(super) fn new(file: File, from: u64, to: u64) -> Self {
        Self { file: Arc::new(file), at: from, end: to, reading: None, before: None }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let (at, bytes) = (self.at, PIECE_BYTES.min(self.end - self.at));
        if self.reading.is_none()
            && let Some(piece) = read_from_memory(&self.file, at, bytes)
        {
            return Poll::Ready(Ok(piece));
        }
        let file = &self.file;
        let reading = self.reading.get_or_insert_with(|| {
            let file = Arc::clone(file);
            spawn_blocking(move || read(&file, at, bytes))
        });
        let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other)?;
        self.reading = None;
        Poll::Ready(piece)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        if let Some(before) = &mut self.before {
            let _ = ready!(Pin::new(before).poll(cx));
            self.before = None;
        }
        let bytes = ready!(self.poll_read(cx))?;
        self.at += bytes.len() as u64;
        let (_gone, before) = oneshot::channel();
        self.before = Some(before);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(Piece { bytes, _gone })))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}

/// Reads as much as the system has in memory. Returns `None` if that is nothing, or if this file system
/// cannot read without waiting.
fn read_from_memory(file: &File, at: u64, bytes: u64) -> Option<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(bytes).ok()?];
    let read = preadv2(file, &mut [IoSliceMut::new(&mut piece)], at, ReadWriteFlags::NOWAIT);
    piece.truncate(read.ok()?);
    (!piece.is_empty()).then_some(piece)
}

/// Reads a whole piece, and may wait for a disk.
///
/// # Errors
/// The file has become shorter: its length has been sent by then.
fn read(file: &File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece)
}

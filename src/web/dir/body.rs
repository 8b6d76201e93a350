//! A part of a file on its way to a client, read piece by piece where a disk may be waited for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

/// One read, and what a client that takes nothing costs.
const PIECE_BYTES: u64 = 32 * 1024;

pub(super) struct FileBody {
    /// Away while it is read from.
    file: Option<File>,
    at: u64,
    end: u64,
    reading: Option<JoinHandle<(File, io::Result<Vec<u8>>)>>,
}

impl FileBody {
    pub(super) fn new(file: File, from: u64, to: u64) -> Self {
        Self { file: Some(file), at: from, end: to, reading: None }
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
        if let Some(file) = self.file.take() {
            let (at, bytes) = (self.at, PIECE_BYTES.min(self.end - self.at));
            self.reading = Some(spawn_blocking(move || {
                let piece = read(&file, at, bytes);
                (file, piece)
            }));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let (file, piece) = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other)?;
        self.reading = None;
        let piece = piece?;
        self.file = Some(file);
        self.at += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}

/// A file that has become shorter is an error: its length was told.
fn read(file: &File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece)
}

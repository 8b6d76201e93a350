//! Writes lines to a place that may take them slowly or not at all: a full pipe, a full disk. A
//! thread of its own does it, so that the part of the program that has a line never waits.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

/// The bytes that a pipe takes as a whole, without mixing them with the bytes of other writers:
/// PIPE_BUF of Linux (pipe(7)).
const PIECE_BYTES: usize = 4096;

/// The time from one attempt to the next, where a write would block although it should wait.
const RETRY: Duration = Duration::from_millis(10);

/// Some complete lines.
#[derive(Debug, Default)]
pub struct Batch {
    /// The text of the lines, each with its line end.
    pub bytes: Vec<u8>,
    /// The number of lines.
    pub lines: u64,
}

/// The sending end of the thread that writes. Clones send to the same thread, which ends after the
/// last of them is dropped.
#[derive(Clone, Debug)]
pub struct NonBlockingWriter {
    batches: mpsc::Sender<Batch>,
    /// The lines that were accepted and are neither written nor lost yet. Senders add, the thread
    /// subtracts.
    waiting: Arc<AtomicU64>,
}

impl NonBlockingWriter {
    /// Starts the thread of this name, which writes to `to`. At most `batches_max` batches wait for
    /// it. After each batch it calls `on_written` with the number of lines in it that could not be
    /// written and are lost.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(
        name: &str,
        batches_max: usize,
        to: impl Write + Send + 'static,
        on_written: impl FnMut(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (batches, received) = mpsc::channel(batches_max);
        let waiting = Arc::new(AtomicU64::new(0));
        let left = Arc::clone(&waiting);
        let run = move || write_all(received, &mut Sink { to, torn: false }, &left, on_written);
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { batches, waiting })
    }

    /// Accepts a batch if the queue has room for it. It never waits.
    ///
    /// # Errors
    ///
    /// The queue is full. The caller gets the batch back, to try again or to drop it.
    pub fn try_write(&self, batch: Batch) -> Result<(), Batch> {
        self.waiting.fetch_add(batch.lines, Ordering::Relaxed);
        self.batches.try_send(batch).map_err(|refused| {
            let batch = refused.into_inner();
            self.waiting.fetch_sub(batch.lines, Ordering::Relaxed);
            batch
        })
    }

    /// Returns the number of lines that are accepted and not written yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits until all accepted lines are written, but not longer than `limit`.
    pub async fn finish(&self, limit: Duration) {
        let all_written = async {
            while self.waiting() > 0 {
                tokio::time::sleep(RETRY).await;
            }
        };
        let _ = tokio::time::timeout(limit, all_written).await;
    }

    /// Does the same as [`finish`](Self::finish) on a thread without a runtime.
    pub fn finish_blocking(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.waiting() > 0 && Instant::now() < end {
            pause();
        }
    }
}

/// Reads lines until the end or an error, and passes each without its line end to `take`. A line
/// longer than `bytes_max` counts as several.
pub async fn each_line(from: impl AsyncRead + Unpin, bytes_max: u64, mut take: impl FnMut(&str)) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(bytes_max).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => take(String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

/// Returns standard output or standard error without a buffer and with all its errors. The standard
/// library's own handle reports success if the descriptor cannot be written to.
///
/// # Errors
///
/// The process may open no more files.
pub fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

#[expect(clippy::disallowed_methods, reason = "no runtime is on the threads that call it")]
fn pause() {
    thread::sleep(RETRY);
}

fn write_all(
    mut received: mpsc::Receiver<Batch>,
    sink: &mut Sink<impl Write>,
    waiting: &AtomicU64,
    mut on_written: impl FnMut(u64),
) {
    while let Some(batch) = received.blocking_recv() {
        on_written(sink.write(&batch.bytes));
        // This comes last: a reader that finds no line waiting must also find the lost ones
        // counted.
        waiting.fetch_sub(batch.lines, Ordering::Release);
    }
}

struct Sink<W> {
    to: W,
    /// True if the bytes written last end in the middle of a line.
    torn: bool,
}

impl<W: Write> Sink<W> {
    /// Writes these lines, and returns the number of those that could not be written as a whole.
    fn write(&mut self, mut lines: &[u8]) -> u64 {
        let count = |lines: &[u8]| lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
        if self.torn && self.write_piece(b"\n") == 0 {
            return count(lines);
        }
        while !lines.is_empty() {
            let (piece, rest) = lines.split_at(piece_len(lines));
            let written = self.write_piece(piece);
            if written < piece.len() {
                return count(&piece[written..]) + count(rest);
            }
            lines = rest;
        }
        0
    }

    /// Writes a piece, and returns the number of its bytes that were written.
    fn write_piece(&mut self, piece: &[u8]) -> usize {
        let mut written = 0;
        while written < piece.len() {
            match self.to.write(&piece[written..]) {
                Ok(0) => break,
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process has set the descriptor, which both share, to non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => pause(),
                Err(_) => break,
            }
        }
        if let Some(last) = piece[..written].last() {
            self.torn = *last != b'\n';
        }
        written
    }
}

/// Returns the length of as many complete lines as a pipe takes at once, but of at least one.
fn piece_len(lines: &[u8]) -> usize {
    let ends = |byte: &u8| *byte == b'\n';
    let fits = &lines[..lines.len().min(PIECE_BYTES)];
    let end = fits.iter().rposition(ends).or_else(|| lines.iter().position(ends));
    end.map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A writer that accepts these numbers of bytes, one at each call. 0 is an error.
    struct Scripted {
        accepts: Vec<usize>,
        written: Vec<u8>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = if self.accepts.is_empty() { usize::MAX } else { self.accepts.remove(0) };
            if most == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let n = most.min(bytes.len());
            self.written.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(accepts: &[usize]) -> Sink<Scripted> {
        Sink { to: Scripted { accepts: accepts.to_vec(), written: Vec::new() }, torn: false }
    }

    #[test]
    fn a_line_torn_by_a_full_disk_is_lost_and_spoils_no_other() {
        let mut sink = sink(&[5, 0, 0, 1, 0]);
        assert_eq!(sink.write(b"one\ntwo\nthree\n"), 2);
        assert_eq!(sink.write(b"four\n"), 1, "the disk is still full");
        assert_eq!(sink.write(b"five\nsix\n"), 2, "there was room for the end of the torn line");
        assert_eq!(sink.write(b"seven\n"), 0);
        assert_eq!(String::from_utf8(sink.to.written).unwrap(), "one\nt\nseven\n");
    }

    #[test]
    fn a_pipe_gets_complete_lines_that_it_takes_at_once() {
        let line = |len: usize| [vec![b'x'; len - 1], vec![b'\n']].concat();
        for (lines, first) in [
            (line(10), 10),
            ([line(10), line(20)].concat(), 30),
            ([line(4090), line(10)].concat(), 4090),
            ([line(4090), line(6)].concat(), 4096),
            ([line(5000), line(6)].concat(), 5000),
        ] {
            assert_eq!(piece_len(&lines), first);
        }
    }

    #[test]
    fn a_line_counts_as_waiting_until_it_is_written() {
        let gate = Arc::new(Mutex::new(()));
        struct Gated(Arc<Mutex<()>>);
        impl Write for Gated {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                drop(self.0.lock().unwrap());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let shut = gate.lock().unwrap();
        let writer = NonBlockingWriter::start("test", 1, Gated(Arc::clone(&gate)), |_| {}).unwrap();
        let batch = || Batch { bytes: b"a\nb\n".to_vec(), lines: 2 };
        let mut accepted = 0;
        // One is being written, one waits. The thread takes the first one when it gets to run.
        let began = Instant::now();
        while accepted < 2 {
            accepted += u64::from(writer.try_write(batch()).is_ok());
            assert!(began.elapsed() < Duration::from_secs(20), "no second batch is accepted");
        }
        assert!(writer.try_write(batch()).is_err());
        assert_eq!(writer.waiting(), 4);
        writer.finish_blocking(RETRY);
        assert_eq!(writer.waiting(), 4);
        drop(shut);
        writer.finish_blocking(Duration::from_secs(10));
        assert_eq!(writer.waiting(), 0);
    }
}

//! The way of a line out of the program.
//!
//! Each worker collects lines in a batch of its own and hands full batches, or those a moment old, to a
//! [`NonBlockingWriter`]. That is bounded: when the reader of the log is slower than the requests, or
//! is gone, lines are dropped and counted, and requests go on.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::warn;

use super::record::Record;
use crate::cluster::config::AccessLogForm;
use crate::cluster::counts::Counts;
use crate::telemetry::writer::{Batch, NonBlockingWriter};

/// A batch is handed over at this length.
const BATCH_BYTES: usize = 16 * 1024;

/// The most batches that wait to be written: 1 MiB of text.
const BATCHES_MAX: usize = 64;

/// A line is handed over after this long, unless there is no room for it.
const FLUSH: Duration = Duration::from_millis(100);

/// The time between two warnings that lines were dropped.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The time that the last batches may take at the end of the program.
const FINISH: Duration = Duration::from_secs(1);

/// The access log of a balancer: workers hand their batches to it.
#[derive(Debug)]
pub struct AccessLog {
    form: AccessLogForm,
    writer: NonBlockingWriter,
    counts: Arc<Counts>,
}

/// The supervision of the thread that writes: reports lost lines, and waits for the last ones.
pub struct Writer {
    writer: NonBlockingWriter,
    counts: Arc<Counts>,
    /// Lost lines that were reported.
    reported: u64,
}

impl AccessLog {
    /// Starts the thread that writes to `to`.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn start(
        form: AccessLogForm,
        counts: Arc<Counts>,
        to: impl Write + Send + 'static,
    ) -> io::Result<(Self, Writer)> {
        let lost = Arc::clone(&counts);
        let wrote = move |lines| lost.access_log_lines_dropped.add_many(lines);
        let thread = NonBlockingWriter::start("access-log", BATCHES_MAX, to, wrote)?;
        let writer = Writer { writer: thread.clone(), counts: Arc::clone(&counts), reported: 0 };
        Ok((Self { form, writer: thread, counts }, writer))
    }
}

impl Writer {
    /// Reports from time to time that lines were dropped. The writing thread does not, because it may
    /// be stuck.
    ///
    /// ## Cancel safety
    /// A line that was not reported yet is reported by the next call, or at the end.
    pub async fn watch(&mut self) -> Infallible {
        loop {
            tokio::time::sleep(REPORT_INTERVAL).await;
            self.report();
        }
    }

    /// Waits until every batch that was handed over is written, but not for ever; lines that are not
    /// written by then count as dropped. Call it when the workers have ended.
    pub async fn finish(mut self) {
        self.writer.finish(FINISH).await;
        self.counts.access_log_lines_dropped.add_many(self.writer.waiting());
        self.report();
    }

    fn report(&mut self) {
        let dropped = self.counts.access_log_lines_dropped.get();
        let lines = dropped - std::mem::replace(&mut self.reported, dropped);
        if lines > 0 {
            warn!(
                lines,
                "lines of the access log were dropped: who reads standard output is gone, or \
                 slower than the requests"
            );
        }
    }
}

/// A worker's batch, in which lines are collected.
pub(crate) struct LogBuffer {
    /// Shared with the other workers.
    log: Arc<AccessLog>,
    batch: RefCell<Batch>,
    /// Rings when a batch has its first line.
    begun: Notify,
}

impl LogBuffer {
    /// Starts an empty batch, and a helper that hands it over. Call it on the worker's own thread.
    pub(crate) fn start(log: Arc<AccessLog>) -> Rc<Self> {
        let buffer = Rc::new(Self { log, batch: RefCell::default(), begun: Notify::new() });
        tokio::task::spawn_local(Rc::clone(&buffer).keep_moving());
        buffer
    }

    async fn keep_moving(self: Rc<Self>) {
        loop {
            self.begun.notified().await;
            while self.batch.borrow().lines > 0 {
                tokio::time::sleep(FLUSH).await;
                self.hand_over();
            }
        }
    }

    /// Adds a line.
    pub(super) fn write(&self, record: &Record<'_>) {
        let mut batch = self.batch.borrow_mut();
        record.append(self.log.form, &mut batch.bytes);
        batch.lines += 1;
        let (first, full) = (batch.lines == 1, batch.bytes.len() >= BATCH_BYTES);
        drop(batch);
        if first {
            self.begun.notify_one();
        }
        if full && !self.hand_over() {
            self.drop_batch();
        }
    }

    /// Hands the batch over. Returns whether there was room in the queue.
    fn hand_over(&self) -> bool {
        let refused = self.log.writer.try_write(self.batch.take());
        refused.map_err(|batch| self.batch.replace(batch)).is_ok()
    }

    fn drop_batch(&self) {
        self.log.counts.access_log_lines_dropped.add_many(self.batch.take().lines);
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        if !self.hand_over() {
            self.drop_batch();
        }
    }
}

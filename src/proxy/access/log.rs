//! Where lines are collected, and how they leave.
//!
//! Each worker collects lines on a page of its own and hands full pages, or those a moment old, to
//! a [`NonBlockingWriter`]. That is bounded: when the reader of the log is slower than the requests, or is
//! gone, lines are dropped and counted, and requests go on.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::warn;

use super::line::Line;
use crate::cluster::config::AccessLogForm;
use crate::cluster::counts::Counts;
use crate::telemetry::writer::{Batch, NonBlockingWriter};

/// A page is handed over at this length.
const PAGE_BYTES: usize = 16 * 1024;

/// Pages that wait to be written: 1 MiB of text.
const PAGES_MAX: usize = 64;

/// A line is handed over after this long, unless there is no room for it.
const FLUSH: Duration = Duration::from_millis(100);

/// How often it is said that lines were dropped.
const TELL: Duration = Duration::from_secs(10);

/// How long the last pages may take at the end of the program.
const FINISH: Duration = Duration::from_secs(1);

/// Where pages go: one a balancer.
#[derive(Debug)]
pub struct AccessLog {
    form: AccessLogForm,
    outlet: NonBlockingWriter,
    counts: Arc<Counts>,
}

/// Who looks after what is written.
pub struct Writer {
    outlet: NonBlockingWriter,
    counts: Arc<Counts>,
    /// So many lost lines were told of.
    told: u64,
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
        let outlet = NonBlockingWriter::start("access-log", PAGES_MAX, to, wrote)?;
        let writer = Writer { outlet: outlet.clone(), counts: Arc::clone(&counts), told: 0 };
        Ok((Self { form, outlet, counts }, writer))
    }
}

impl Writer {
    /// Says now and then that lines were dropped. Not the writing thread says it, which may be stuck.
    pub async fn watch(&mut self) -> Infallible {
        loop {
            tokio::time::sleep(TELL).await;
            self.tell();
        }
    }

    /// Waits until all that was handed over is written, but not for ever; what is not written by
    /// then counts as dropped. Call it when the workers have ended.
    pub async fn finish(mut self) {
        self.outlet.finish(FINISH).await;
        self.counts.access_log_lines_dropped.add_many(self.outlet.waiting());
        self.tell();
    }

    fn tell(&mut self) {
        let dropped = self.counts.access_log_lines_dropped.get();
        let lines = dropped - std::mem::replace(&mut self.told, dropped);
        if lines > 0 {
            warn!(
                lines,
                "lines of the access log were dropped: who reads standard output is gone, or \
                 slower than the requests"
            );
        }
    }
}

/// A worker's page, on which lines are collected.
pub(crate) struct LogBuffer {
    /// Shared with the other workers.
    log: Arc<AccessLog>,
    page: RefCell<Batch>,
    /// Rings when a page has its first line.
    begun: Notify,
}

impl LogBuffer {
    /// An empty page, and a helper that hands it over. Call it on the worker's own thread.
    pub(crate) fn start(log: Arc<AccessLog>) -> Rc<Self> {
        let buffer = Rc::new(Self { log, page: RefCell::default(), begun: Notify::new() });
        tokio::task::spawn_local(Rc::clone(&buffer).keep_moving());
        buffer
    }

    async fn keep_moving(self: Rc<Self>) {
        loop {
            self.begun.notified().await;
            while self.page.borrow().lines > 0 {
                tokio::time::sleep(FLUSH).await;
                self.hand_over();
            }
        }
    }

    /// Adds a line.
    pub(super) fn write(&self, line: &Line<'_>) {
        let mut page = self.page.borrow_mut();
        line.append(self.log.form, &mut page.bytes);
        page.lines += 1;
        let (first, full) = (page.lines == 1, page.bytes.len() >= PAGE_BYTES);
        drop(page);
        if first {
            self.begun.notify_one();
        }
        if full && !self.hand_over() {
            self.drop_page();
        }
    }

    /// Hands the page over, if there is room in the queue.
    fn hand_over(&self) -> bool {
        let refused = self.log.outlet.try_write(self.page.take());
        refused.map_err(|page| self.page.replace(page)).is_ok()
    }

    fn drop_page(&self) {
        self.log.counts.access_log_lines_dropped.add_many(self.page.take().lines);
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        if !self.hand_over() {
            self.drop_page();
        }
    }
}

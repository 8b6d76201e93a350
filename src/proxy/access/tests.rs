use std::io::{self, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};

use super::*;
use crate::cluster::config::AccessLogForm;
use crate::cluster::counts::Counts;
use crate::proxy::headers::Forwarding;

/// A writer to a vector that waits before each write for its gate to be opened, which dropping it does.
struct Gated {
    gate: mpsc::Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.gate.recv();
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer whose reader has gone.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(to: impl Write + Send + 'static) -> (Arc<AccessLog>, Writer, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let started = AccessLog::start(AccessLogForm::Text, Arc::clone(&counts), to);
    let (log, writer) = started.unwrap();
    (Arc::new(log), writer, counts)
}

/// Runs the work of a worker on a runtime like a worker's.
fn on_a_worker<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(work)
}

fn write_one(buffer: &Rc<LogBuffer>) {
    let mut entry = LogEntry::default();
    entry.begin(Some(buffer), &Forwarding::new([10, 0, 0, 9].into(), false));
    entry.asks("GET", "/");
    entry.end(CLIENT_LEFT);
}

#[test]
fn a_stuck_writer_delays_no_worker_and_each_line_is_written_or_counted() {
    let (open, gate) = mpsc::channel();
    let written = Arc::default();
    let (log, writer, counts) = start(Gated { gate, written: Arc::clone(&written) });
    let dropped = || counts.access_log_lines_dropped.get();
    let mut lines = 0;
    on_a_worker(async {
        let buffer = LogBuffer::start(log);
        while dropped() == 0 {
            write_one(&buffer);
            lines += 1;
            assert!(lines < 100_000, "there is no bound");
        }
        // A whole batch is dropped, and the worker goes on with an empty one.
        assert!(dropped() < lines / 10);
        write_one(&buffer);
        lines += 1;
        drop(open);
    });
    on_a_worker(writer.finish());
    let written = written.lock().unwrap().iter().filter(|&&b| b == b'\n').count() as u64;
    assert_eq!(written + dropped(), lines);
    assert!(written > 0);
}

#[test]
fn a_reader_that_went_away_costs_its_lines_and_nothing_else() {
    let (log, writer, counts) = start(Broken);
    on_a_worker(async {
        let buffer = LogBuffer::start(log);
        (0..10).for_each(|_| write_one(&buffer));
    });
    on_a_worker(writer.finish());
    assert_eq!(counts.access_log_lines_dropped.get(), 10);
}

#[test]
fn an_entry_stays_empty_when_nothing_is_logged() {
    let mut entry = LogEntry::default();
    entry.begin(None, &Forwarding::new([10, 0, 0, 9].into(), false));
    entry.goes_as(|| unreachable!("nobody asks for it"));
    entry.end(None);
}

//! Messages to systemd about this service (sd_notify(3)): it serves, its state, it is about to stop, and,
//! for the watchdog, every part that must go on goes on. Without systemd, or in a unit that asks for no
//! messages, this module does nothing.
//!
//! The protocol is a datagram of words, so no crate is used: the usual one does not know the abstract
//! socket names that systemd gives in containers.

use std::convert::Infallible;
use std::env;
use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

/// The status is sent, and the parts are asked, at most this often.
const BEAT: Duration = Duration::from_secs(1);

/// Gives a slow start 10 s more (in microseconds), so that systemd does not take it for a failure.
const START_GOES_ON: &str = "EXTEND_TIMEOUT_USEC=10000000";

/// A message that systemd does not take within this time is lost: by then it has not read for long.
const SEND_MAX: Duration = Duration::from_millis(100);

/// The manager of this service.
#[derive(Debug, Default)]
pub struct Manager {
    /// `None` if the unit asks for no messages.
    socket: Option<UnixDatagram>,
    /// systemd knows that the service serves.
    is_ready: AtomicBool,
    /// systemd ends the service if it hears nothing for this long.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The manager that the environment names; none if it names none or cannot be reached.
    pub fn find() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let own =
            env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let micros =
            env::var("WATCHDOG_USEC").ok().filter(|_| own).and_then(|text| text.parse().ok());
        let watchdog = micros.map(Duration::from_micros);
        Self::at(&name, watchdog).unwrap_or_else(|error| {
            warn!(%error, "systemd cannot be told how the service is");
            Self::default()
        })
    }

    /// The manager that listens at this socket; a name that begins with `@` is an abstract one.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn at(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        Ok(Self { socket: Some(socket), is_ready: AtomicBool::new(false), watchdog })
    }

    /// Reports that the service serves.
    pub fn ready(&self) {
        self.is_ready.store(true, Ordering::Relaxed);
        self.send("READY=1");
    }

    /// Reports that the service is about to stop.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Sends for ever the service's status, one line, and the watchdog's sign of life while all parts go on.
    pub async fn attend(&self, pulses: &Pulses, mut status: impl FnMut() -> String) -> Infallible {
        if self.socket.is_none() {
            return pending().await;
        }
        let beat = self.watchdog.map_or(BEAT, |limit| BEAT.min(limit / 4));
        let mut sent = String::new();
        loop {
            let now = status();
            if now != sent {
                self.send(&format!("STATUS={now}"));
                sent = now;
            }
            if !self.is_ready.load(Ordering::Relaxed) {
                self.send(START_GOES_ON);
            }
            pulses.ask();
            tokio::time::sleep(beat).await;
            match pulses.silent() {
                None if self.watchdog.is_some() => self.send("WATCHDOG=1"),
                Some(part) if self.watchdog.is_some() => {
                    warn!(
                        part,
                        "a part of the program does not go on; systemd ends it if that lasts"
                    );
                }
                _ => {}
            }
        }
    }

    /// A lost message does no harm: the next one comes soon, and the watchdog's limit covers several.
    fn send(&self, words: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(words.as_bytes());
        }
    }
}

/// The parts of a program that must go on for ever. Each is asked again and again whether it does.
/// Clones share the same parts.
#[derive(Clone, Debug, Default)]
pub struct Pulses(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    /// The number of the last question.
    question: watch::Sender<u64>,
    parts: Mutex<Vec<(String, Weak<AtomicU64>)>>,
}

/// One part's side: it answers from where it would hang.
#[derive(Debug)]
pub struct Pulse {
    question: watch::Receiver<u64>,
    /// The question that was answered last. A part that has ended is asked no more: the code that joins it
    /// judges its end.
    answered: Arc<AtomicU64>,
}

impl Pulses {
    /// Adds a part of this name.
    pub fn part(&self, name: impl Into<String>) -> Pulse {
        let question = self.0.question.subscribe();
        // It owes no answer until it is asked for the first time.
        let answered = Arc::new(AtomicU64::new(*question.borrow()));
        self.parts().push((name.into(), Arc::downgrade(&answered)));
        Pulse { question, answered }
    }

    /// Asks every part.
    pub(crate) fn ask(&self) {
        self.0.question.send_modify(|question| *question += 1);
    }

    /// Returns the name of a part that has not answered the last question, if there is one.
    pub(crate) fn silent(&self) -> Option<String> {
        let question = *self.0.question.borrow();
        let mut parts = self.parts();
        parts.retain(|(_, answered)| answered.strong_count() > 0);
        let owes = |answered: Arc<AtomicU64>| answered.load(Ordering::Relaxed) != question;
        let silent = parts.iter().find(|(_, part)| part.upgrade().is_some_and(owes));
        silent.map(|(name, _)| name.clone())
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, Vec<(String, Weak<AtomicU64>)>> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// Answers the next question, whenever it comes.
    ///
    /// ## Cancel safety
    /// The next call answers a question that this one left open.
    pub async fn answer(&mut self) {
        if self.question.changed().await.is_err() {
            // The asker is gone.
            pending::<()>().await;
        }
        self.answered.store(*self.question.borrow_and_update(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service manager in place of systemd, at an abstract name.
    fn systemd(test: &str) -> (UnixDatagram, Manager) {
        let name = format!("@picluster-{}-{test}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let watchdog = Some(Duration::from_millis(400));
        (socket, Manager::at(OsStr::new(&name), watchdog).unwrap())
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut word = [0; 256];
        let length = socket.recv(&mut word).unwrap();
        String::from_utf8(word[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_watchdog_is_fed_while_every_part_answers_and_no_longer() {
        let (socket, manager) = systemd("parts");
        manager.ready();
        assert_eq!(heard(&socket), "READY=1");
        let pulses = Pulses::default();
        let (mut well, mut hung) = (pulses.part("well"), pulses.part("hung"));
        let attending = tokio::spawn({
            let pulses = pulses.clone();
            async move { manager.attend(&pulses, || "one".to_owned()).await }
        });
        // Reading blocks, so that the parts answer in between, on another thread.
        let reader = std::thread::spawn(move || {
            assert_eq!(heard(&socket), "STATUS=one");
            (heard(&socket), socket)
        });
        let both = async {
            loop {
                tokio::join!(well.answer(), hung.answer());
            }
        };
        let fed = async {
            while !reader.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { () = both => {}, () = fed => {} }
        let (word, socket) = reader.join().unwrap();
        assert_eq!(word, "WATCHDOG=1");
        // From now on one of them does not answer; what was sent meanwhile is no news.
        socket.set_nonblocking(true).unwrap();
        // A beat is 100 ms, so a hundred waiting words would be those of ten seconds.
        let waiting = (0..100).take_while(|_| socket.recv(&mut [0; 64]).is_ok()).count();
        assert!(waiting < 100, "the watchdog is fed without end");
        let until = tokio::time::Instant::now() + Duration::from_millis(800);
        let mut words = 0;
        while tokio::time::timeout_at(until, well.answer()).await.is_ok() {
            words += u32::from(socket.recv(&mut [0; 64]).is_ok());
        }
        assert!(words <= 1, "it was fed {words} times");
        assert_eq!(pulses.silent().as_deref(), Some("hung"));
        // One that has ended owes nothing.
        drop(hung);
        well.answer().await;
        assert_eq!(pulses.silent(), None);
        attending.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_takes_long_is_given_more_time_until_it_is_over() {
        let (socket, manager) = systemd("start");
        let told = |socket: &UnixDatagram| [heard(socket), heard(socket)];
        let pulses = Pulses::default();
        let attending = manager.attend(&pulses, || "starting".to_owned());
        let _ = tokio::time::timeout(Duration::from_millis(50), attending).await;
        assert_eq!(told(&socket), ["STATUS=starting", START_GOES_ON]);
        manager.ready();
        let attending = manager.attend(&pulses, || "serving".to_owned());
        let _ = tokio::time::timeout(Duration::from_millis(150), attending).await;
        assert_eq!(told(&socket), ["READY=1", "STATUS=serving"]);
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }

    #[test]
    fn a_missing_manager_is_an_error_and_an_unset_one_is_none() {
        assert!(Manager::at(OsStr::new("/nowhere/at/all"), None).is_err());
        assert!(Manager::at(OsStr::new("@picluster-nobody"), None).is_err());
        Manager::default().ready();
    }
}

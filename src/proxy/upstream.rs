//! Connections to nodes: opened with a race, kept, and looked at before they are used again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::cluster::config::Limits;
use crate::cluster::picker::Pick;
use crate::cluster::pool::Pool;
use crate::cluster::retry::Failure;
use crate::proxy::io::is_quiet;

/// A connection on which nothing moves is probed after this time, and every second from then on:
/// its host may have gone.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A node that acknowledges nothing for this long is given up by the kernel. Probes find a host that
/// vanished much sooner.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// The kernel counts a full window like a lost packet. A node may be too busy to read a body (writing to
/// an SD card stalls for seconds), and its limit for that is ours to keep: the kernel's ends this much
/// later.
const AFTER_OUR_LIMIT: Duration = Duration::from_secs(5);

/// The most kept connections of a worker to one node.
const KEPT_MAX: usize = 256;

/// The pause in connecting when this machine has no file, port or memory for it.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(20);

/// The kept connections of one worker, filed under the epoch of their member.
pub(super) struct IdlePool {
    by_epoch: RefCell<BTreeMap<u64, Vec<Idle>>>,
    /// When they were last looked through.
    swept: Cell<Instant>,
    /// The number there is, and the most there may be: each is an open file.
    len: Cell<usize>,
    max: usize,
}

struct Idle {
    stream: TcpStream,
    /// The time of the sweep before it was put here: early enough, and no clock has to be asked.
    since: Instant,
}

/// The result of looking for a kept connection to a node.
pub(super) enum Taken {
    /// A connection that lives, as far as that can be known without sending anything.
    Live(TcpStream),
    /// There is none.
    Nothing {
        /// The node had closed at least one, unasked.
        found_dead: bool,
    },
}

impl IdlePool {
    /// Room for `max` connections.
    pub(super) fn new(max: usize) -> Self {
        let swept = Cell::new(Instant::now());
        Self { by_epoch: RefCell::default(), swept, len: Cell::new(0), max }
    }

    /// Takes the connection that was used last, because it is the least likely to be dead, and looks
    /// whether it is.
    pub(super) fn take(&self, epoch: u64) -> Taken {
        let mut found_dead = false;
        let mut by_epoch = self.by_epoch.borrow_mut();
        while let Some(idle) = by_epoch.get_mut(&epoch).and_then(Vec::pop) {
            self.len.set(self.len.get() - 1);
            if is_quiet(&idle.stream) {
                return Taken::Live(idle.stream);
            }
            found_dead = true;
        }
        Taken::Nothing { found_dead }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(&self, epoch: u64, stream: TcpStream) {
        let mut by_epoch = self.by_epoch.borrow_mut();
        let idle = by_epoch.entry(epoch).or_default();
        if idle.len() < KEPT_MAX && self.len.get() < self.max {
            idle.push(Idle { stream, since: self.swept.get() });
            self.len.set(self.len.get() + 1);
        }
    }

    /// Closes all kept connections to a node: one of them was found dead, or it left.
    pub(super) fn purge(&self, epoch: u64) {
        let closed = self.by_epoch.borrow_mut().remove(&epoch).unwrap_or_default();
        self.len.set(self.len.get() - closed.len());
    }

    /// Closes all of them: their files are needed for something else.
    pub(super) fn clear(&self) {
        self.by_epoch.borrow_mut().clear();
        self.len.set(0);
    }

    /// Closes connections that were idle too long or belong to an epoch that left the pool. None is
    /// kept for longer than `idle_max`, and each at least for that time less the time between two
    /// sweeps.
    pub(super) fn sweep(&self, pool: &Pool, idle_max: Duration) {
        let now = Instant::now();
        self.swept.set(now);
        let mut by_epoch = self.by_epoch.borrow_mut();
        by_epoch.retain(|epoch, kept| {
            kept.retain(|idle| now.duration_since(idle.since) < idle_max);
            !kept.is_empty() && pool.members().iter().any(|member| member.epoch == *epoch)
        });
        self.len.set(by_epoch.values().map(Vec::len).sum());
    }
}

/// A connect that failed, and the member it failed for.
pub(super) struct ConnectFailed {
    pub(super) pick: Pick,
    pub(super) failure: Failure,
}

/// Connects to the picked member. When that takes longer than the race's time, `next` gives another
/// member to be connected to as well, and the first connection wins (RFC 8305's idea, across nodes;
/// connects only, never requests). `lost` is called for a member that failed or was too slow while the
/// other one still runs or has won.
pub(super) async fn connect(
    first: Pick,
    limits: &Limits,
    kept: &IdlePool,
    next: impl FnOnce() -> Option<Pick>,
    lost: impl FnOnce(ConnectFailed),
) -> Result<(TcpStream, Pick), ConnectFailed> {
    let mut racing = pin!(open(first.member().node.endpoint, limits.connect, limits, kept));
    let alone = tokio::time::timeout(limits.connect_race, racing.as_mut()).await;
    if let Ok(result) = alone {
        return with(first, result);
    }
    let Some(second) = next() else {
        return with(first, racing.await);
    };
    let left = limits.connect.saturating_sub(limits.connect_race);
    let mut chasing = pin!(open(second.member().node.endpoint, left, limits, kept));
    tokio::select! {
        result = racing.as_mut() => match result {
            Ok(stream) => Ok((stream, first)),
            Err(failure) => {
                lost(ConnectFailed { pick: first, failure });
                with(second, chasing.await)
            }
        },
        result = chasing.as_mut() => match result {
            Ok(stream) => {
                lost(ConnectFailed { pick: first, failure: Failure::ConnectTimeout });
                Ok((stream, second))
            }
            Err(failure) => {
                lost(ConnectFailed { pick: second, failure });
                with(first, racing.await)
            }
        },
    }
}

fn with(
    pick: Pick,
    result: Result<TcpStream, Failure>,
) -> Result<(TcpStream, Pick), ConnectFailed> {
    match result {
        Ok(stream) => Ok((stream, pick)),
        Err(failure) => Err(ConnectFailed { pick, failure }),
    }
}

/// Returns whether this machine has no file, no local port or no memory for another connection.
fn is_exhausted(error: &io::Error) -> bool {
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    own.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Opens one connection and sets it up. A lack of this machine is not the node's fault: kept
/// connections are closed to end it, and connecting is tried again.
async fn open(
    endpoint: SocketAddr,
    limit: Duration,
    limits: &Limits,
    kept: &IdlePool,
) -> Result<TcpStream, Failure> {
    let connected = async {
        loop {
            match TcpStream::connect(endpoint).await {
                Err(error) if is_exhausted(&error) => kept.clear(),
                other => return other,
            }
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
        }
    };
    let stream = match tokio::time::timeout(limit, connected).await {
        Err(_) => return Err(Failure::ConnectTimeout),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(Failure::Refused);
        }
        Ok(Err(_)) => return Err(Failure::Unreachable),
        Ok(Ok(stream)) => stream,
    };
    // A connection that cannot be tuned still works.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 5);
    let _ = socket.set_tcp_keepalive(&keepalive);
    allow_full_window(&stream, limits.send);
    Ok(stream)
}

/// Lets the node at the other end take nothing for `span` at least before the kernel gives it up.
pub(super) fn allow_full_window(stream: &TcpStream, span: Duration) {
    let limit = USER_TIMEOUT.max(span + AFTER_OUR_LIMIT);
    // A connection that cannot be tuned still works.
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(limit));
}

//! The data line: one request from its head to the end of its answer. Pick, send, answer, or try
//! again.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tracing::debug;

use crate::cluster::balance::Balance;
use crate::cluster::config::{Limits, TrustedProxies};
use crate::cluster::counts::Counts;
use crate::cluster::health::Outcome;
use crate::cluster::picker::{self, Asked, NoPick, Pick};
use crate::cluster::pool::Feedback;
use crate::cluster::pool::{self, Destination, Member, Pool};
use crate::cluster::retry::{self, Attempt, Failure, Reason, RetryPolicy, Safety, Verdict};
use crate::http1::RequestHead;
use crate::proxy::access::{AccessLog, CLIENT_LEFT, LogBuffer, LogEntry};
use crate::proxy::affinity::Affinity;
use crate::proxy::client::{Client, Next, Request};
use crate::proxy::headers::Forwarding;
use crate::proxy::io::gone;
use crate::proxy::path::{has_dot_segment, is_private};
use crate::proxy::reject::Reject;
use crate::proxy::relay::{AttemptError, Relayed};
use crate::proxy::scratch::Scratch;
use crate::proxy::upstream::{ConnectFailed, IdlePool, Taken};
use crate::server::buffer::{Buffers, Memory};
use crate::server::{ConnectionGuard, Handler};

pub mod access;
mod affinity;
mod client;
mod download;
pub mod headers;
mod proxy_protocol;
mod io;
mod reject;
mod relay;
mod linger;
mod scratch;
mod no_route_page;
mod path;
mod timer;
mod tunnel;
mod upload;
mod upstream;

/// Right after its start a balancer waits this long for nodes to be found before it says that there
/// are none.
const START_GRACE: Duration = Duration::from_secs(3);

/// A cluster that had a usable node within this time is worth waiting for.
const HOLD_MEMORY: Duration = Duration::from_secs(600);

/// An unsafe method takes a kept connection only to a node that answered this recently: nothing can
/// be sent twice, so the connection should be known to live.
const FRESH_ANSWER: Duration = Duration::from_millis(100);

/// How often kept connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// Two nodes may have died of a request. If within this time all others fall that never saw it, or
/// did so shortly before, it was not the request: somebody killed them all. That one of them falls
/// would not do, because requests of death come in pairs.
const CLEARED_WITHIN: Duration = Duration::from_millis(250);

/// How long a replay waits before it asks the budget again.
const BUDGET_PAUSE: Duration = Duration::from_millis(25);

/// What a request may allocate to be run: the most that the allocator takes from its fastest list (glibc's
/// per-thread cache). 24 bytes more cost a request 2 % of its instructions.
const EXCHANGE_BYTES_MAX: usize = 1032;

/// What all workers share, and all that the data line needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Times and counts.
    pub limits: Limits,
    /// Connections to nodes that each worker may keep.
    pub kept_max: usize,
    /// How long a request waits for a node to come back.
    pub hold: Duration,
    /// Whether answers name their node.
    pub node_header: bool,
    /// Whether clients stay with the node that answered them first.
    pub sticky: bool,
    /// Whose word about the client counts.
    pub trusted_proxies: TrustedProxies,
    /// Our pseudonym in `Via`; unique per balancer.
    pub via: String,
    /// What an empty cluster answers.
    pub teaching: EmptyClusterPage,
    /// When the process started: the zero of all times in the pool.
    pub started: Instant,
    /// Where traffic tells what it saw. Bounded; when it is full, probes have to find out.
    pub feedback: mpsc::Sender<Feedback>,
    /// What buffers have grown by, all workers together.
    pub memory: Arc<Memory>,
    /// Requests that wait for a node now, all workers together.
    pub held: AtomicUsize,
    /// What goes wrong, counted by cause.
    pub counts: Arc<Counts>,
    /// Where each request is told of, if anywhere.
    pub access_log: Option<Arc<AccessLog>>,
}

/// The answer of a cluster without a node, as a page and as text.
#[derive(Debug)]
pub struct EmptyClusterPage {
    /// For browsers.
    pub html: String,
    /// For everybody else.
    pub text: String,
}

/// One worker's part of the data line: nothing in it is shared with another thread but the settings
/// and the counters of members.
pub struct Proxy {
    settings: Arc<Settings>,
    /// The newest pool this worker has seen.
    pool: RefCell<Arc<Pool>>,
    /// Rings after `pool` was replaced.
    published: Notify,
    kept: IdlePool,
    buffers: Buffers,
    scratch: Scratch,
    rng: RefCell<Rng>,
    /// The worker's part of the access log.
    access_log: Option<Rc<LogBuffer>>,
    /// Requests under way, and how many of them are replays.
    active: Rc<Cell<usize>>,
    replaying: Rc<Cell<usize>>,
}

impl Handler for Proxy {
    fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        life: ConnectionGuard,
    ) -> impl Future<Output = ()> + 'static {
        client::serve(self, stream, peer, life)
    }

    fn free_files(&self) {
        self.kept.clear();
    }
}

/// What a request remembers from attempt to attempt.
#[derive(Default)]
struct RetryState {
    /// The epochs that were tried in this round.
    tried: Vec<u64>,
    /// Attempts that cost a try.
    count: u32,
    /// The epochs where an attempt died after bytes had been written.
    died: Vec<u64>,
    /// Passes over all nodes so far.
    rounds: u32,
    /// When a wait for a usable node ends; set by the first wait.
    hold_until: Option<Duration>,
    /// It waits for a usable node, or has until just now.
    waits: bool,
    /// How the last attempt failed.
    last: Option<Failure>,
    /// Counts this request as a replay, from its first one to its end.
    replay: Option<Counted>,
}

/// Where a request goes.
struct Route {
    to: Destination,
    /// What decides its node there, if anything of it does. Apart, because few requests have it and all
    /// are kept small.
    affinity: Option<Box<Affinity>>,
}

/// Where an attempt went.
struct Target {
    epoch: u64,
    /// Over a connection that had been kept.
    reused: bool,
    on_trial: bool,
}

impl Proxy {
    /// Makes the worker's part and starts its helpers: one follows the published pool, one closes
    /// connections that were kept too long, one hands on the access log. Call it on the worker's own
    /// thread.
    pub fn start(settings: Arc<Settings>, watch: pool::Watch) -> Rc<Self> {
        let buffers = Buffers::new(Arc::clone(&settings.memory));
        let worker = Rc::new(Self {
            pool: RefCell::new(Arc::clone(&watch.borrow())),
            published: Notify::new(),
            kept: IdlePool::new(settings.kept_max),
            access_log: settings.access_log.clone().map(LogBuffer::start),
            settings,
            buffers,
            scratch: Scratch::default(),
            rng: RefCell::new(Rng::new()),
            active: Rc::default(),
            replaying: Rc::default(),
        });
        tokio::task::spawn_local(Rc::clone(&worker).follow(watch));
        tokio::task::spawn_local(Rc::clone(&worker).sweep());
        worker
    }

    async fn follow(self: Rc<Self>, mut watch: pool::Watch) {
        while watch.changed().await.is_ok() {
            *self.pool.borrow_mut() = Arc::clone(&watch.borrow_and_update());
            self.published.notify_waiters();
        }
    }

    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.kept.sweep(&self.pool.borrow(), self.settings.limits.upstream_idle);
            self.buffers.trim();
        }
    }

    /// Since the process started.
    fn now(&self) -> Duration {
        self.settings.started.elapsed()
    }

    /// The newest pool.
    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.borrow())
    }

    /// Where a request of this client goes; `None` if no route takes it.
    fn route(
        &self,
        head: &RequestHead<'_>,
        forwarding: &Forwarding,
    ) -> Result<Option<Route>, Reject> {
        let pool = self.pool.borrow();
        if pool.services().by_path() && has_dot_segment(head.target) {
            return Err(Reject::DotSegment);
        }
        let Some(to) = pool.route(head.host.unwrap_or_default(), head.target) else {
            return Ok(None);
        };
        if to.strip > 0 && is_private(headers::stripped(head.target, to.strip.into()).1) {
            return Err(Reject::Private);
        }
        let (balance, sticky) = (pool.of(to).map(Pool::balance), self.settings.sticky);
        let asks = |balance: &&Balance| sticky || matches!(balance, Balance::Hash(_));
        let affinity = balance.filter(asks).map(|balance| {
            let service = pool.services().name(to).filter(|_| sticky);
            let named = || forwarding.named_client(head, &self.settings.trusted_proxies);
            Box::new(Affinity::read(head, balance, service, forwarding.client(), named))
        });
        Ok(Some(Route { to, affinity }))
    }

    /// Tells the table what traffic saw. A full channel loses it: probes will see the same.
    fn tell(&self, epoch: u64, outcome: Outcome) {
        let _ = self.settings.feedback.try_send((epoch, outcome));
    }

    /// Counts an answer that begins, to a request that was there since `came`, and whether only this
    /// member was waited for since.
    fn answered(&self, member: &Member, status: u16, came: Instant, alone: bool) {
        let now = Instant::now();
        let (at, took) = (now - self.settings.started, now - came);
        member.answered(status, at, took);
        if alone {
            member.took(at, took);
        }
    }

    /// The head of an answer came from this member.
    fn heard(&self, member: &Member, status: u16) {
        if let Some(outcome) = member.heard(status) {
            self.tell(member.epoch, outcome);
        }
    }

    /// Completes when the node of this epoch is known to have vanished.
    async fn vanished(&self, epoch: u64) {
        loop {
            let published = self.published.notified();
            if self.pool.borrow().is_silent(epoch) {
                return;
            }
            published.await;
        }
    }

    /// Counts and logs an answer of our own.
    fn count(&self, reject: Reject) {
        let (status, cause, counts) = (reject.status(), reject.cause(), &self.settings.counts);
        counts.rejects.add(cause);
        if let Reject::Failed(_, reason) = reject {
            counts.gave_up.add(reason.as_str());
        }
        if matches!(status, 502..=504) {
            counts.requests_failed.add();
        }
        debug!(status, cause, "answered for the cluster");
    }

    /// Serves one request: picks a node, sends to it, gives its answer to the client, or tries
    /// again. What runs it is the one thing that a request allocates. In place it would make every idle
    /// connection as much larger.
    fn exchange<'a>(
        &'a self,
        client: &'a mut Client,
        mut request: Request,
    ) -> Pin<Box<impl Future<Output = Next> + 'a>> {
        // Not an async fn, which would hold twice what it takes by value.
        let exchange = async move {
            let _active = Counted::new(&self.active);
            let mut tries = RetryState::default();
            loop {
                // A block, so that what it needs takes no room while the answer is awaited.
                let (mut node, pick, reused) = {
                    let acquired = tokio::select! {
                        biased;
                        acquired = self.acquire(&request, &mut tries, &mut client.entry) => {
                            acquired.map_err(Some)
                        }
                        () = gone(&client.stream) => Err(None),
                    };
                    let lost = matches!(acquired, Err(Some(Reject::NoRoute)));
                    if lost && self.routes_anew(client, &mut request) {
                        continue;
                    }
                    if std::mem::take(&mut tries.waits) {
                        self.count_end_of_hold(acquired.as_ref().err().copied());
                    }
                    match acquired {
                        Ok(acquired) => acquired,
                        Err(None) => {
                            client.entry.end(CLIENT_LEFT);
                            return Next::Cut;
                        }
                        Err(Some(reject)) => {
                            return Box::pin(client.reject(self, &request, reject)).await;
                        }
                    }
                };
                request.at_once &= tries.last.is_none() && tries.hold_until.is_none();
                client.entry.connected(&pick.member().node.name);
                match relay::attempt(self, client, &mut request, &mut node, pick.member()).await {
                    Ok(relayed) => {
                        client.entry.end(None);
                        return self.settle(node, pick.member(), &relayed);
                    }
                    Err(AttemptError::Client(reject)) => {
                        drop((pick, node));
                        let Some(reject) = reject else {
                            client.entry.end(CLIENT_LEFT);
                            return Next::Cut;
                        };
                        return Box::pin(client.reject(self, &request, reject)).await;
                    }
                    Err(AttemptError::Answer(failure)) => {
                        client.entry.end(failure.as_str());
                        return self.cut(pick.member(), failure);
                    }
                    Err(AttemptError::Node { failure, written }) => {
                        let to = Target {
                            epoch: pick.member().epoch,
                            reused,
                            on_trial: pick.is_trial(),
                        };
                        self.broke(pick.member(), failure, written > 0);
                        drop((pick, node));
                        let again = self.again(&request, &mut tries, to, failure, written);
                        if let Err(reject) = Box::pin(again).await {
                            return Box::pin(client.reject(self, &request, reject)).await;
                        }
                        request.upload.rewind();
                    }
                }
            }
        };
        debug_assert!(size_of_val(&exchange) <= EXCHANGE_BYTES_MAX, "{}", size_of_val(&exchange));
        Box::pin(exchange)
    }

    /// Looks for the route of a request once more. Right after the start more routes may be heard of.
    fn routes_anew(&self, client: &Client, request: &mut Request) -> bool {
        client.route_again(self, request) || self.now() < START_GRACE
    }

    /// After a whole answer: keeps the node's connection if it can take another request.
    fn settle(&self, node: TcpStream, member: &Member, relayed: &Relayed) -> Next {
        member.answered_whole(relayed.status);
        if relayed.draining {
            self.tell(member.epoch, Outcome::Draining);
        }
        if relayed.reusable {
            self.kept.put(member.epoch, node);
        }
        relayed.client
    }

    /// After an answer that broke off: nothing can be sent again, but it is the node's failure.
    fn cut(&self, member: &Member, failure: Failure) -> Next {
        let cause = failure.as_str();
        self.settings.counts.requests_failed.add();
        self.settings.counts.answers_cut.add(cause);
        self.broke(member, failure, true);
        debug!(node = member.node.name, cause, "an answer broke off");
        Next::Cut
    }

    /// A request failed here, or its answer: what that says of the node. `sent`: it had its chance.
    fn broke(&self, member: &Member, failure: Failure, sent: bool) {
        member.counters.failures.fetch_add(1, Ordering::Relaxed);
        self.tell(member.epoch, outcome(failure));
        self.kept.purge(member.epoch);
        let its_own =
            matches!(failure, Failure::Died | Failure::BadAnswer | Failure::AnswerTimeout);
        if its_own
            && sent
            && let Some(outcome) = member.broke()
        {
            self.tell(member.epoch, outcome);
        }
    }

    /// After a failed attempt: waits until there is to be another, or says why there is none.
    async fn again(
        &self,
        request: &Request,
        tries: &mut RetryState,
        to: Target,
        failure: Failure,
        written: u64,
    ) -> Result<(), Reject> {
        let Target { epoch, reused, on_trial } = to;
        let mut attempt = Attempt {
            failure,
            written,
            head_sent: false,
            safety: request.safety,
            body_held: request.upload.is_held(),
            on_trial,
            died_before: !tries.died.is_empty(),
            cleared: false,
            node_left: !self.pool.borrow().is_usable(epoch),
            tries: tries.count,
            elapsed: request.came.elapsed(),
        };
        // A kept connection that took no byte says nothing of its node: a fresh one may work. One over
        // which the node itself says that its application is gone says enough.
        if !(reused && written == 0) || failure == Failure::Refused {
            tries.tried.push(epoch);
        }
        tries.last = Some(failure);
        if failure == Failure::Died && written > 0 {
            tries.died.push(epoch);
        }
        let mut verdict = retry::decide(&attempt, &self.policy());
        if verdict == Verdict::GiveUp(Reason::SecondDeath) {
            attempt.cleared = self.is_cleared(request, &tries.died).await;
            verdict = retry::decide(&attempt, &self.policy());
        }
        match verdict {
            Verdict::GiveUp(reason) => return Err(Reject::Failed(failure, reason)),
            Verdict::AgainFree => self.settings.counts.retries_free.add(failure.as_str()),
            Verdict::Again { budget } => {
                self.settings.counts.retries.add(failure.as_str());
                tries.count += 1;
                if budget {
                    self.wait_for_budget(request, epoch).await;
                }
                tries.replay.get_or_insert_with(|| Counted::new(&self.replaying));
            }
        }
        Ok(())
    }

    /// Whether all nodes fall, or fell a moment before the request came, one of them without having
    /// been sent it. It is believed once: who kills a third node is not sent to a fourth.
    async fn is_cleared(&self, request: &Request, died: &[u64]) -> bool {
        if died.len() > 2 {
            return false;
        }
        let since = self.now().saturating_sub(request.came.elapsed() + CLEARED_WITHIN);
        let until = tokio::time::Instant::now() + CLEARED_WITHIN;
        loop {
            let published = self.published.notified();
            if self.of_request(request, |pool| pool.fell_with_others(died, since)) == Some(true) {
                return true;
            }
            if tokio::time::timeout_at(until, published).await.is_err() {
                return false;
            }
        }
    }

    fn policy(&self) -> RetryPolicy {
        let Limits { attempts, retry_for, .. } = self.settings.limits;
        RetryPolicy { attempts, within: retry_for }
    }

    /// Replays cost budget while the failed node stays in the pool; an exhausted budget delays them
    /// and fails none.
    async fn wait_for_budget(&self, request: &Request, epoch: u64) {
        while !retry::within_budget(self.active.get(), self.replaying.get())
            && self.pool.borrow().is_usable(epoch)
            && request.came.elapsed() < self.settings.limits.retry_for
        {
            tokio::select! {
                () = self.published.notified() => {}
                () = tokio::time::sleep(BUDGET_PAUSE) => {}
            }
        }
    }

    /// A connection to a picked node: a kept one or a new one. Waits while there is no node, and
    /// between two rounds over all of them. Whatever fails here never reached a node, so it costs
    /// no try.
    async fn acquire(
        &self,
        request: &Request,
        tries: &mut RetryState,
        entry: &mut LogEntry,
    ) -> Result<(TcpStream, Pick, bool), Reject> {
        loop {
            let picked = match self.pick(request, tries) {
                Some(Err(NoPick::AllBusy)) => Box::pin(self.wait_for_room(request, tries)).await?,
                picked => picked,
            };
            let Some(picked) = picked else {
                Box::pin(self.await_a_route(request)).await;
                return Err(Reject::NoRoute);
            };
            let pick = match picked {
                Ok(pick) => pick,
                // There was room, and it is gone again.
                Err(NoPick::AllBusy) => continue,
                Err(NoPick::AllTried) => {
                    Box::pin(self.next_round(request, tries)).await?;
                    continue;
                }
                Err(NoPick::NoneKnown | NoPick::NoneUsable) => {
                    Box::pin(self.hold(request, tries)).await?;
                    continue;
                }
            };
            entry.picked();
            // After a death a fresh connection: two kept ones may both have been about to be closed,
            // and a second death gives up.
            let kept =
                if !tries.died.is_empty() { None } else { self.take_kept(request.safety, &pick) };
            if let Some(stream) = kept {
                return Ok((stream, pick, true));
            }
            match Box::pin(self.connect(request, pick, tries, entry)).await {
                Ok((stream, pick)) => return Ok((stream, pick, false)),
                Err(failed) => self.connect_failed(failed, tries, entry),
            }
        }
    }

    /// A member for the next attempt. One on trial gets only what can be sent again whatever becomes of
    /// it: it is idempotent, its body is held whole, and no attempt before has failed. Nor does it get
    /// the client of another. `None`: no route takes the request, or the one that did is gone.
    fn pick(&self, request: &Request, tries: &RetryState) -> Option<Result<Pick, NoPick>> {
        let pool = self.pool.borrow();
        let pool = pool.of(request.to?)?;
        let asked = self.asked(request, &tries.tried);
        let first = tries.count == 0;
        if !pool.trials().is_empty() && first && picker::sticky(pool, &asked).is_none() {
            let upload = &request.upload;
            let may_die =
                request.safety == Safety::Idempotent && upload.is_held() && upload.has_come();
            let trial = may_die.then(|| picker::pick_trial(pool, asked.tried));
            if let Some(pick) = trial.flatten() {
                return Some(Ok(pick));
            }
        }
        Some(picker::choose(pool, &asked, &mut self.rng.borrow_mut()))
    }

    /// What the choice of a member goes by. The clock was read when the request came.
    fn asked<'a>(&self, request: &Request, tried: &'a [u64]) -> Asked<'a> {
        let Affinity { key, sticky } = request.affinity.as_deref().copied().unwrap_or_default();
        Asked { tried, key, sticky, came: request.came - self.settings.started }
    }

    /// Looks at the members for a request, if there is a route for it.
    fn of_request<T>(&self, request: &Request, look: impl FnOnce(&Pool) -> T) -> Option<T> {
        self.pool.borrow().of(request.to?).map(look)
    }

    fn take_kept(&self, safety: Safety, pick: &Pick) -> Option<TcpStream> {
        let member = pick.member();
        if safety == Safety::Unsafe && !member.answered_within(FRESH_ANSWER, self.now()) {
            return None;
        }
        match self.kept.take(member.epoch) {
            Taken::Live(stream) => Some(stream),
            Taken::Nothing { found_dead } => {
                if found_dead {
                    self.kept.purge(member.epoch);
                    self.tell(member.epoch, Outcome::Broken);
                }
                None
            }
        }
    }

    async fn connect(
        &self,
        request: &Request,
        pick: Pick,
        tries: &mut RetryState,
        entry: &mut LogEntry,
    ) -> Result<(TcpStream, Pick), ConnectFailed> {
        let mut tried = tries.tried.clone();
        tried.push(pick.member().epoch);
        let asked = self.asked(request, &tried);
        let next = || {
            let choose =
                |pool: &Pool| picker::choose(pool, &asked, &mut self.rng.borrow_mut()).ok();
            self.of_request(request, choose).flatten()
        };
        let lost = |failed| self.connect_failed(failed, tries, entry);
        upstream::connect(pick, &self.settings.limits, &self.kept, next, lost).await
    }

    fn connect_failed(&self, failed: ConnectFailed, tries: &mut RetryState, entry: &mut LogEntry) {
        let ConnectFailed { pick, failure } = failed;
        let member = pick.member();
        entry.tries(&member.node.name);
        self.settings.counts.retries_free.add(failure.as_str());
        member.counters.failures.fetch_add(1, Ordering::Relaxed);
        self.kept.purge(member.epoch);
        self.tell(member.epoch, outcome(failure));
        tries.tried.push(member.epoch);
        tries.last = Some(failure);
    }

    /// Every node was tried: pauses, then all may be tried again.
    async fn next_round(&self, request: &Request, tries: &mut RetryState) -> Result<(), Reject> {
        if request.came.elapsed() >= self.settings.limits.retry_for {
            let failed = |failure| Reject::Failed(failure, Reason::TooLate);
            return Err(tries.last.map_or(Reject::NoNodeNow, failed));
        }
        let pause = retry::backoff(tries.rounds, fastrand::f64());
        tokio::select! {
            () = self.published.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        tries.rounds += 1;
        tries.tried.clear();
        Ok(())
    }

    /// No node takes requests: waits for the next published pool, if one is worth waiting for.
    async fn hold(&self, request: &Request, tries: &mut RetryState) -> Result<(), Reject> {
        let now = self.now();
        let last_usable = self.of_request(request, Pool::last_usable).flatten();
        let worth_it = last_usable.is_some_and(|at| now.saturating_sub(at) < HOLD_MEMORY);
        let until = if worth_it { now + self.settings.hold } else { START_GRACE };
        let until = *tries.hold_until.get_or_insert(until);
        if now >= until {
            return Err(if last_usable.is_some() { Reject::NoNodeNow } else { Reject::NoNodeYet });
        }
        let _held = self.begin_to_wait(tries)?;
        tokio::select! {
            () = self.published.notified() => {}
            () = tokio::time::sleep(until - now) => {}
        }
        tries.tried.clear();
        Ok(())
    }

    /// Right after the start more routes may be heard of.
    async fn await_a_route(&self, request: &Request) {
        if let (None, Some(left)) = (request.to, START_GRACE.checked_sub(self.now())) {
            tokio::select! {
                () = self.published.notified() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Counts a request among those that wait for a node, until the guard is dropped.
    fn begin_to_wait(&self, tries: &mut RetryState) -> Result<Held<'_>, Reject> {
        let held = Held::new(&self.settings)?;
        if !std::mem::replace(&mut tries.waits, true) {
            self.settings.counts.holds.add();
        }
        Ok(held)
    }

    /// Every node that might be picked has as many requests as it may: waits, as for a node, until one
    /// of them ends.
    async fn wait_for_room(
        &self,
        request: &Request,
        tries: &mut RetryState,
    ) -> Result<Option<Result<Pick, NoPick>>, Reject> {
        let now = self.now();
        let until = *tries.hold_until.get_or_insert(now + self.settings.hold);
        let Some(room) = self.pool.borrow().room().cloned() else {
            return Ok(Some(Err(NoPick::AllBusy)));
        };
        let _held = self.begin_to_wait(tries)?;
        let mut over = pin!(tokio::time::sleep(until.saturating_sub(now)));
        let mut waiting = room.wait();
        loop {
            let published = self.published.notified();
            let mut next = pin!(waiting.next());
            next.as_mut().enable();
            match self.pick(request, tries) {
                Some(Err(NoPick::AllBusy)) => waiting.pass_on(),
                picked => return Ok(picked),
            }
            tokio::select! {
                () = next => {}
                () = published => {}
                () = over.as_mut() => return Err(Reject::AllBusy),
            }
        }
    }

    /// A wait for a usable node is over, and well unless it failed: with a reject, or without,
    /// because the client left.
    fn count_end_of_hold(&self, failed: Option<Option<Reject>>) {
        self.settings.counts.holds_ended.add(match failed {
            None => "node_came",
            Some(None) => CLIENT_LEFT,
            Some(Some(reject)) => reject.cause(),
        });
    }
}

/// What a failed attempt says of its node.
fn outcome(failure: Failure) -> Outcome {
    match failure {
        Failure::Refused => Outcome::Refused,
        Failure::Died | Failure::BadAnswer => Outcome::Broken,
        Failure::Unreachable
        | Failure::ConnectTimeout
        | Failure::Vanished
        | Failure::AnswerTimeout => Outcome::Silent,
    }
}

/// A request that waits for a node, counted over all workers.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn new(settings: &'a Settings) -> Result<Self, Reject> {
        let held = Self(&settings.held);
        if held.0.fetch_add(1, Ordering::Relaxed) >= settings.limits.held {
            return Err(Reject::TooManyHeld);
        }
        Ok(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One more in a count of this worker, until it is dropped.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

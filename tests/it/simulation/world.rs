//! The truth: the machines, the network between them and the balancer, and their misfortunes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use picluster::cluster::health::Thresholds;
use picluster::cluster::node::{Advertisement, Boot, Change, NodeId, Offer, Sighting, Source};
use picluster::cluster::pool::{self, Publisher, Watch};
use picluster::discovery::membership::ProbeTicket;
use picluster::discovery::membership::{Membership, NodeState, Probe, ProbeResult};

use super::checks::Checks;
use super::traffic::Sent;

/// The time in which things go wrong, and the quiet time after it. Then the view has to equal the
/// truth.
const CHAOS: Duration = Duration::from_secs(16);
const QUIET: Duration = Duration::from_secs(16);

/// Draws of an address that may all be taken: 39 addresses are many more than machines.
const DRAWS_MAX: usize = 10_000;

/// Steps at one point in time. A real day has a few dozen; more would be a circle of steps.
const STEPS_AT_ONCE_MAX: usize = 10_000;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Draining,
    AppDown,
    /// The process has ended: connections are refused.
    Stopped,
    /// No power, no cable, or frozen: silence.
    Dark,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong {
    /// Its requests are answered with errors.
    Errs,
    /// Its requests, or their answers, break off.
    Breaks,
}

#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// `None` for a foreign device.
    pub(super) id: Option<NodeId>,
    pub(super) instance: String,
    pub(super) name: String,
    pub(super) boot: Boot,
    /// One address, or two of a machine with cable and Wi-Fi.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) state: State,
    /// The fate of its requests although probes find nothing wrong.
    pub(super) wrong: Option<Wrong>,
    /// Changes with every misfortune, including a lost probe.
    pub(super) turn: u64,
}

impl Machine {
    pub(super) fn boot(&self) -> Option<u64> {
        self.id.as_ref().map(|_| self.boot.0)
    }

    pub(super) fn sighting(&self) -> Sighting {
        Sighting {
            instance: self.instance.clone(),
            target: self.name.clone(),
            endpoints: self.addresses.clone(),
            advertisement: advertisement(self.id.clone()),
        }
    }

    fn answer(&self, to_foreign: bool) -> ProbeResult {
        let state = match self.state {
            State::Up => NodeState::Up,
            State::Draining => NodeState::Draining,
            State::AppDown => NodeState::AppDown { why: String::new(), answers: true },
            State::Stopped => return ProbeResult::Refused,
            State::Dark => return ProbeResult::TimedOut,
        };
        match &self.id {
            Some(id) if !to_foreign => {
                let (id, name, boot) = (id.clone(), self.name.clone(), self.boot);
                ProbeResult::Node { id, name, boot, state, pi: None }
            }
            _ if self.state == State::AppDown => ProbeResult::Status(503),
            _ => ProbeResult::Status(401),
        }
    }
}

pub(super) fn advertisement(id: Option<NodeId>) -> Advertisement {
    let cluster = "default".to_owned();
    // Some weigh more than others; each weight stays the same.
    let last = id.as_ref().and_then(|id| id.as_str().bytes().last()).unwrap_or_default();
    let offer = Offer { weight: 1 + last % 3, ..Offer::default() };
    Advertisement {
        id,
        hostname: None,
        boot: None,
        cluster,
        health: None,
        ctl: None,
        offer: Arc::new(offer),
    }
}

/// An event in the future.
#[derive(Debug)]
pub(super) enum Next {
    Wake,
    /// A probe reaches its address.
    Arrive(Probe, Duration),
    Answer(ProbeTicket, SocketAddr, ProbeResult),
    /// The table gives up a result that the prober lost.
    Lose(ProbeTicket, SocketAddr),
    Word(Change),
    /// The next step of a graceful stop, unless the machine's turn has changed.
    Goodbye(usize, u64),
    Stop(usize, u64),
    MustBeGone(usize, u64),
    Chaos,
    ClientAsks,
    /// The moment of a request's answer, if there is one.
    Answered(u64),
    Doubt(u64),
    /// The requests that wait for a node see the new pool.
    Follow,
    MustBeOver(u64),
}

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) machines: Vec<Machine>,
    pub(super) table: Membership,
    /// True if every step is printed, because one seed is replayed.
    pub(super) traced: bool,
    pub(super) rng: fastrand::Rng,
    pub(super) checks: Checks,
    queue: BTreeMap<(Duration, u64), Next>,
    queued: u64,
    next_wake: Option<Duration>,
    in_flight: BTreeSet<ProbeTicket>,
    pub(super) multicast: bool,
    pub(super) unicast: bool,
    pub(super) lossy: bool,
    /// The last time at which goodbyes were not credible.
    pub(super) doubtful: Option<Duration>,
    /// The machines whose advertisement was forged under another name: the true one may not count
    /// any more.
    forged: BTreeSet<NodeId>,
    /// The time of the last goodbye of each instance, unless its id was announced since. The key is
    /// not the id, because a clone's goodbye is not its twin's.
    goodbyes: BTreeMap<String, Duration>,
    /// The instances that the table has heard of and whose withdrawal it has not. While one
    /// instance of an id is announced, a machine of that id may only have moved.
    announced: BTreeSet<(NodeId, String)>,
    publisher: Publisher,
    pub(super) pool: Watch,
    pub(super) requests: u64,
    /// The requests under way.
    pub(super) sent: BTreeMap<u64, Sent>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let (publisher, pool) = pool::channel();
        Self {
            now: Duration::ZERO,
            machines: Vec::new(),
            table: Membership::new("default".to_owned(), Thresholds::default()),
            traced: false,
            rng: fastrand::Rng::with_seed(seed),
            checks: Checks::default(),
            queue: BTreeMap::new(),
            queued: 0,
            next_wake: None,
            in_flight: BTreeSet::new(),
            multicast: true,
            unicast: true,
            lossy: true,
            doubtful: None,
            forged: BTreeSet::new(),
            goodbyes: BTreeMap::new(),
            announced: BTreeSet::new(),
            publisher,
            pool,
            requests: 0,
            sent: BTreeMap::new(),
        }
    }

    /// Runs one bad day, and the quiet after it.
    pub(super) fn run(mut self) {
        let long = self.rng.u8(..) < 3;
        for _ in 0..self.rng.usize(2..=6) {
            self.new_machine();
        }
        self.after(ms(1), Next::Chaos);
        // On some days nobody asks for anything.
        if self.rng.u8(..) > 50 {
            self.after(ms(1), Next::ClientAsks);
        }
        self.run_until(CHAOS);
        self.calm();
        self.run_until(self.now + QUIET);
        self.checks.view_equals_truth(&self.machines);
        if long {
            self.run_until(self.now + Duration::from_secs(700));
            self.checks.only_the_living_are_listed(&self.machines);
        }
    }

    fn run_until(&mut self, end: Duration) {
        let mut at_once = 0;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            at_once = if entry.key().0 == self.now { at_once + 1 } else { 0 };
            assert!(at_once < STEPS_AT_ONCE_MAX, "the time stands still at {:?}", self.now);
            self.now = entry.key().0;
            let next = entry.remove();
            let idle = match next {
                Next::Arrive(..) | Next::Lose(..) => true,
                // An earlier one took its place.
                Next::Wake => self.next_wake != Some(self.now),
                _ => false,
            };
            self.step(next);
            if !idle {
                self.turn_table();
            }
        }
        self.now = end;
    }

    fn step(&mut self, next: Next) {
        if self.traced
            && !matches!(
                next,
                Next::Wake | Next::Arrive(..) | Next::Follow | Next::ClientAsks | Next::Answered(_)
            )
        {
            eprintln!("{:>9.3?} {next:?}", self.now);
        }
        match next {
            Next::Wake if self.next_wake == Some(self.now) => self.next_wake = None,
            Next::Wake => {}
            Next::Arrive(probe, asked) => self.arrive(&probe, asked),
            Next::Answer(ticket, address, result) => {
                self.in_flight.remove(&ticket);
                if !self.checks.answered(address, &result) {
                    self.disturb(address, result == ProbeResult::TimedOut);
                }
                self.table.probed(ticket, &result, self.now);
            }
            Next::Lose(ticket, address) => {
                self.in_flight.remove(&ticket);
                self.disturb(address, true);
            }
            Next::Word(change) => {
                self.note(&change);
                self.table.change(&change, self.now);
            }
            Next::Goodbye(at, turn) if self.machines[at].turn == turn => {
                let instance = self.machines[at].instance.clone();
                self.say(Change::Left(Source::Mdns, instance), 1000);
            }
            Next::Stop(at, turn) if self.machines[at].turn == turn => {
                self.machines[at].state = State::Stopped;
                self.after(ms(4000), Next::MustBeGone(at, turn));
            }
            Next::MustBeGone(at, turn) if self.machines[at].turn == turn => {
                let machine = &self.machines[at];
                let lately = |at: &Duration| self.now <= *at + ms(5600);
                let announced = |id| self.announced.iter().any(|(other, _)| other == id);
                let honest = |id| !self.forged.contains(id) && !announced(id);
                let honest = machine.id.as_ref().is_some_and(honest);
                let goodbye = self.goodbyes.get(&machine.instance).filter(|_| honest);
                let sure =
                    goodbye.is_some_and(lately) && !self.doubtful.as_ref().is_some_and(lately);
                if sure && self.unicast {
                    self.checks.is_gone(machine);
                }
            }
            Next::Goodbye(..) | Next::Stop(..) | Next::MustBeGone(..) => {}
            Next::Chaos => self.chaos(),
            Next::Follow => self.follow(),
            Next::ClientAsks => self.client_asks(),
            Next::Answered(number) => self.answered(number),
            Next::Doubt(number) => self.doubt(number),
            Next::MustBeOver(number) => self.must_be_over(number),
        }
    }

    /// Remembers whose goodbye the table has heard.
    fn note(&mut self, change: &Change) {
        match change {
            Change::Seen(_, sighting) => {
                let Some(id) = &sighting.advertisement.id else { return };
                self.announced.insert((id.clone(), sighting.instance.clone()));
                self.goodbyes.retain(|instance, _| !instance.contains(id.as_str()));
                if sighting.instance == "rogue" {
                    self.forged.insert(id.clone());
                }
            }
            Change::Left(_, instance) => {
                self.announced.retain(|(_, announced)| announced != instance);
                self.goodbyes.insert(instance.clone(), self.now);
            }
            Change::Disturbed(_) => {}
        }
    }

    /// The round of the driver: the work of the table's task after every change.
    fn turn_table(&mut self) {
        for probe in self.table.due(self.now, &mut self.rng) {
            self.in_flight.insert(probe.ticket);
            let delay = if self.rng.u8(..) < 16 { self.rng.u64(..120) } else { self.rng.u64(1..4) };
            self.after(ms(delay), Next::Arrive(probe, self.now));
        }
        if let Some(members) = self.table.view() {
            self.checks.take(&members, self.now);
            self.publisher.publish(members, self.now);
            self.after(ms(0), Next::Follow);
            self.end_with_their_nodes();
            let pool = Arc::clone(&self.pool.borrow());
            self.checks.published(&pool, self.sent.is_empty());
        }
        self.checks.after_step(&self.machines, self.unicast, self.in_flight.len(), self.now);
        let events = self.table.events();
        self.checks.are_told_as_shown(&events);
        for event in events {
            if self.traced {
                eprintln!("{:>9.3?} {event}", self.now);
            }
        }
        let wake = self.table.next_wake(self.now);
        if let Some(at) = wake.filter(|at| self.next_wake.is_none_or(|set| *at < set)) {
            assert!(at > self.now, "it would spin");
            self.next_wake = Some(at);
            self.after(at - self.now, Next::Wake);
        }
    }

    pub(super) fn after(&mut self, delay: Duration, next: Next) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), next);
    }

    fn arrive(&mut self, probe: &Probe, asked: Duration) {
        let there = self.machines.iter().find(|m| m.addresses.contains(&probe.endpoint));
        let lost = !self.unicast || (self.lossy && self.rng.u8(..) < 5);
        let result = match there {
            Some(machine) if !lost => machine.answer(probe.foreign),
            _ => ProbeResult::TimedOut,
        };
        if self.lossy && self.rng.u16(..) < 100 {
            let given_up = asked + probe.timeout + ms(1000) - Duration::from_nanos(1);
            return self.after(given_up - self.now, Next::Lose(probe.ticket, probe.endpoint));
        }
        let slow = self.lossy && self.rng.u8(..) < 16;
        let delay = match result {
            ProbeResult::TimedOut => probe.timeout,
            _ if slow => ms(self.rng.u64(..120)),
            _ => ms(self.rng.u64(1..4)),
        };
        self.after(delay, Next::Answer(probe.ticket, probe.endpoint, result));
    }

    /// A bad answer, or none, came from this address: for now no strict rule holds for the table's
    /// view of its machine.
    fn disturb(&mut self, address: SocketAddr, lost: bool) {
        for machine in self.machines.iter_mut().filter(|m| m.addresses.contains(&address)) {
            self.checks.excuse(machine);
            // It may have been probed without an answer in the short time in which it says that it
            // drains.
            machine.turn += u64::from(lost && machine.state == State::Draining);
        }
    }

    /// mDNS delivers a change, if it is alive.
    pub(super) fn say(&mut self, change: Change, late_ms: u64) {
        if self.multicast {
            let delay = ms(self.rng.u64(..=late_ms));
            self.after(delay, Next::Word(change));
        }
    }

    pub(super) fn announce(&mut self, at: usize) {
        let sighting = self.machines[at].sighting();
        for _ in 0..self.rng.u8(1..=2) {
            self.say(Change::Seen(Source::Mdns, sighting.clone()), 3000);
        }
    }

    pub(super) fn free_address(&mut self) -> SocketAddr {
        let taken: Vec<_> = self.machines.iter().flat_map(|m| m.addresses.clone()).collect();
        for _ in 0..DRAWS_MAX {
            let address = SocketAddr::from(([10, 0, 0, self.rng.u8(1..40)], 8080));
            if !taken.contains(&address) {
                return address;
            }
        }
        panic!("{} addresses are taken, which leaves none free", taken.len());
    }

    pub(super) fn new_machine(&mut self) {
        let serial = self.machines.len();
        let foreign = self.rng.u8(..) < 50;
        let id = NodeId::new(&format!("{serial}node7abcdefg")).expect("legal");
        let boot = Boot(self.rng.u64(..));
        let name = ["ada", "ada", "bob", "cy"][self.rng.usize(..4)];
        let instance = if foreign { format!("NAS {serial}") } else { format!("pc-{id}") };
        self.add(Machine {
            id: (!foreign).then_some(id),
            instance,
            name: name.to_owned(),
            boot,
            addresses: Vec::new(),
            state: State::Up,
            wrong: None,
            turn: 0,
        });
    }

    pub(super) fn add(&mut self, mut machine: Machine) {
        for _ in 0..=usize::from(self.rng.u8(..) < 64) {
            let address = self.free_address();
            machine.addresses.push(address);
        }
        self.machines.push(machine);
        self.announce(self.machines.len() - 1);
    }

    /// The network heals, and mDNS reports the present state.
    fn calm(&mut self) {
        (self.multicast, self.unicast, self.lossy) = (true, true, false);
        for machine in &mut self.machines {
            machine.turn += 1;
            machine.wrong = None;
            self.checks.excuse(machine);
        }
        self.queue.retain(|_, next| !matches!(next, Next::Word(_) | Next::Chaos));
        for at in 0..self.machines.len() {
            match self.machines[at].state {
                State::Stopped | State::Dark => {
                    let instance = self.machines[at].instance.clone();
                    self.say(Change::Left(Source::Mdns, instance), 3000);
                }
                _ => {
                    // A flood may have used up this second's candidates. Forgeries may hold an id's
                    // four places until the old addresses have failed. Both heal, because a source
                    // repeats itself.
                    for second in [1, 2, 4, 8] {
                        let word = Change::Seen(Source::Mdns, self.machines[at].sighting());
                        self.after(ms(second * 1000), Next::Word(word));
                    }
                }
            }
        }
        self.after(ms(3500), Next::Word(Change::Left(Source::Mdns, "rogue".to_owned())));
    }
}

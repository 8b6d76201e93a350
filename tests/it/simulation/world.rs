//! The truth: machines, the network between them and the balancer, and what befalls both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use picluster::discovery::membership::ProbeTicket;
use picluster::discovery::membership::{Membership, NodeState, Probe, ProbeResult, Settings};
use picluster::health::{Outcome, Thresholds};
use picluster::node::{Advertisement, Boot, Change, NodeId, Sighting, Source};

use super::checks::Checks;

/// How long things go wrong, and how long the world is quiet after it, before the view has to
/// equal the truth.
const CHAOS: Duration = Duration::from_secs(25);
const QUIET: Duration = Duration::from_secs(25);

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a machine does.
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

#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// `None`: a foreign device.
    pub(super) id: Option<NodeId>,
    pub(super) instance: String,
    pub(super) name: String,
    pub(super) boot: Boot,
    /// One, or two of a machine with cable and Wi-Fi.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) state: State,
    /// Changes with everything that befalls it, a lost probe included.
    pub(super) turn: u64,
}

impl Machine {
    pub(super) fn boot(&self) -> Option<Boot> {
        self.id.as_ref().map(|_| self.boot)
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
            State::AppDown => NodeState::AppDown,
            State::Stopped => return ProbeResult::Refused,
            State::Dark => return ProbeResult::TimedOut,
        };
        match &self.id {
            Some(id) if !to_foreign => {
                let (id, name, boot) = (id.clone(), self.name.clone(), self.boot);
                ProbeResult::Node { id, name, boot, state }
            }
            _ if self.state == State::AppDown => ProbeResult::Status(503),
            _ => ProbeResult::Status(401),
        }
    }
}

fn advertisement(id: Option<NodeId>) -> Advertisement {
    let cluster = "default".to_owned();
    Advertisement { id, hostname: None, boot: None, cluster, health: None, ctl: None }
}

/// What is to come.
#[derive(Debug)]
enum Next {
    Wake,
    /// A question reaches its address.
    Arrive(Probe),
    Answer(ProbeTicket, SocketAddr, ProbeResult),
    /// A result that the prober loses.
    Lose(ProbeTicket),
    Word(Change),
    /// A step of a graceful stop, unless the machine's turn has changed.
    Goodbye(usize, u64),
    Stop(usize, u64),
    MustBeGone(usize, u64),
    Chaos,
}

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) machines: Vec<Machine>,
    pub(super) table: Membership,
    /// Tell everything: one seed is replayed.
    pub(super) traced: bool,
    rng: fastrand::Rng,
    checks: Checks,
    queue: BTreeMap<(Duration, u64), Next>,
    queued: u64,
    next_wake: Option<Duration>,
    in_flight: BTreeSet<ProbeTicket>,
    multicast: bool,
    pub(super) unicast: bool,
    lossy: bool,
    /// The last time that goodbyes could not be believed.
    doubtful: Option<Duration>,
    /// When each instance was last announced.
    seen: BTreeMap<String, Duration>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let thresholds = Thresholds::default();
        let settings = Settings { cluster: "default".to_owned(), thresholds };
        Self {
            now: Duration::ZERO,
            machines: Vec::new(),
            table: Membership::new(settings),
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
            seen: BTreeMap::new(),
        }
    }

    /// One bad day, and the quiet after it.
    pub(super) fn run(mut self) {
        let long = self.rng.u8(..) < 3;
        for _ in 0..self.rng.usize(2..=6) {
            self.new_machine();
        }
        self.after(ms(1), Next::Chaos);
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
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            self.now = entry.key().0;
            let next = entry.remove();
            self.step(next);
            self.turn_table();
        }
        self.now = end;
    }

    fn step(&mut self, next: Next) {
        if self.traced && !matches!(next, Next::Wake | Next::Arrive(_)) {
            eprintln!("{:>9.3?} {next:?}", self.now);
        }
        match next {
            Next::Wake => self.next_wake = None,
            Next::Arrive(probe) => self.arrive(&probe),
            Next::Answer(ticket, address, result) => {
                self.in_flight.remove(&ticket);
                self.checks.answered(address, &result);
                if result == ProbeResult::TimedOut {
                    self.disturb(address);
                }
                self.table.probed(ticket, &result, self.now);
            }
            Next::Lose(ticket) => drop(self.in_flight.remove(&ticket)),
            Next::Word(change) => {
                if let Change::Seen(_, sighting) = &change {
                    self.seen.insert(sighting.instance.clone(), self.now);
                }
                self.table.change(&change, self.now);
            }
            Next::Goodbye(at, turn) if self.machines[at].turn == turn => {
                let instance = self.machines[at].instance.clone();
                self.say(Change::Left(Source::Mdns, instance), 1000);
            }
            Next::Stop(at, turn) if self.machines[at].turn == turn => {
                self.machines[at].state = State::Stopped;
                self.after(ms(8000), Next::MustBeGone(at, turn));
            }
            Next::MustBeGone(at, turn) if self.machines[at].turn == turn => {
                let machine = &self.machines[at];
                let long_ago = |at: &Duration| self.now > *at + ms(30_000);
                let sure = self.doubtful.as_ref().is_none_or(long_ago)
                    && self.seen.get(&machine.instance).is_none_or(long_ago);
                if sure && self.multicast && self.unicast {
                    self.checks.is_gone(machine);
                }
            }
            Next::Goodbye(..) | Next::Stop(..) | Next::MustBeGone(..) => {}
            Next::Chaos => self.chaos(),
        }
    }

    /// The driver's round: what the task that owns the table does after every word.
    fn turn_table(&mut self) {
        for probe in self.table.due(self.now, &mut self.rng) {
            self.in_flight.insert(probe.ticket);
            let delay = if self.rng.u8(..) < 16 { self.rng.u64(..120) } else { self.rng.u64(1..4) };
            self.after(ms(delay), Next::Arrive(probe));
        }
        if let Some(members) = self.table.view() {
            self.checks.take(&members, self.now);
        }
        self.checks.after_step(&mut self.machines, self.unicast, self.in_flight.len(), self.now);
        for event in self.table.events() {
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

    fn after(&mut self, delay: Duration, next: Next) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), next);
    }

    fn arrive(&mut self, probe: &Probe) {
        let there = self.machines.iter().find(|m| m.addresses.contains(&probe.endpoint));
        let lost = !self.unicast || (self.lossy && self.rng.u8(..) < 5);
        let result = match there {
            Some(machine) if !lost => machine.answer(probe.foreign),
            _ => ProbeResult::TimedOut,
        };
        if self.lossy && self.rng.u16(..) < 100 {
            self.disturb(probe.endpoint);
            return self.after(ms(1), Next::Lose(probe.ticket));
        }
        let slow = self.lossy && self.rng.u8(..) < 16;
        let delay = match result {
            ProbeResult::TimedOut => probe.timeout,
            _ if slow => ms(self.rng.u64(..120)),
            _ => ms(self.rng.u64(1..4)),
        };
        self.after(delay, Next::Answer(probe.ticket, probe.endpoint, result));
    }

    /// Something went wrong on the way to this address: nothing strict can be asked of the table
    /// about its machine for now.
    fn disturb(&mut self, address: SocketAddr) {
        for machine in self.machines.iter_mut().filter(|m| m.addresses.contains(&address)) {
            self.checks.excuse(machine);
            if self.lossy {
                machine.turn += u64::from(machine.state == State::Draining);
            }
        }
    }

    /// mDNS says something, if it is alive.
    fn say(&mut self, change: Change, late_ms: u64) {
        if self.multicast {
            let delay = ms(self.rng.u64(..=late_ms));
            self.after(delay, Next::Word(change));
        }
    }

    fn announce(&mut self, at: usize) {
        let sighting = self.machines[at].sighting();
        for _ in 0..self.rng.u8(1..=2) {
            self.say(Change::Seen(Source::Mdns, sighting.clone()), 3000);
        }
    }

    fn free_address(&mut self) -> SocketAddr {
        let taken: Vec<_> = self.machines.iter().flat_map(|m| m.addresses.clone()).collect();
        loop {
            let address = SocketAddr::from(([10, 0, 0, self.rng.u8(1..40)], 8080));
            if !taken.contains(&address) {
                return address;
            }
        }
    }

    fn new_machine(&mut self) {
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
            turn: 0,
        });
    }

    fn add(&mut self, mut machine: Machine) {
        for _ in 0..=usize::from(self.rng.u8(..) < 64) {
            let address = self.free_address();
            machine.addresses.push(address);
        }
        self.machines.push(machine);
        self.announce(self.machines.len() - 1);
    }

    /// One thing happens, and the next one is set.
    fn chaos(&mut self) {
        let pause = ms(self.rng.u64(50..2500));
        self.after(pause, Next::Chaos);
        let at = self.rng.usize(..self.machines.len());
        match self.rng.u8(..22) {
            0 if self.machines.len() < 9 => self.new_machine(),
            1 if self.machines.len() < 9 => self.clone_of(at),
            2..=4 => self.stop_gracefully(at),
            5 | 6 => self.set(at, State::Dark),
            7 => self.set(at, State::Stopped),
            8 => self.set(at, State::AppDown),
            9..=11 => self.start(at),
            12 => self.readdress(at),
            13 => self.multicast = !self.multicast,
            14 => self.cut(),
            15 => self.own_link_drops(),
            16 => self.forge(at),
            17 => self.flood(),
            18 => {
                let instance = self.machines[at].instance.clone();
                self.say(Change::Left(Source::Mdns, instance), 100);
            }
            19 => self.announce(at),
            _ => self.traffic(at),
        }
    }

    fn set(&mut self, at: usize, state: State) {
        let machine = &mut self.machines[at];
        machine.state = state;
        machine.turn += 1;
        self.checks.excuse(machine);
    }

    fn start(&mut self, at: usize) {
        if matches!(self.machines[at].state, State::Stopped | State::Dark) && self.rng.bool() {
            self.machines[at].boot = Boot(self.rng.u64(..));
        }
        self.set(at, State::Up);
        if self.rng.bool() {
            self.announce(at);
        }
    }

    fn stop_gracefully(&mut self, at: usize) {
        if self.machines[at].state == State::Up && self.machines[at].id.is_some() {
            self.set(at, State::Draining);
            let turn = self.machines[at].turn;
            self.after(ms(100), Next::Goodbye(at, turn));
            self.after(ms(1700), Next::Stop(at, turn));
        }
    }

    fn clone_of(&mut self, at: usize) {
        let mut clone = self.machines[at].clone();
        if clone.id.is_some() && clone.state == State::Up && !clone.instance.ends_with('x') {
            clone.boot = Boot(self.rng.u64(..));
            clone.instance.push('x');
            clone.addresses.clear();
            self.add(clone);
        }
    }

    fn readdress(&mut self, at: usize) {
        let address = self.free_address();
        let state = self.machines[at].state;
        self.checks.excuse(&self.machines[at]);
        self.machines[at].addresses = vec![address];
        self.set(at, state);
        self.announce(at);
    }

    fn cut(&mut self) {
        self.unicast = !self.unicast;
        for machine in &mut self.machines {
            machine.turn += 1;
            self.checks.excuse(machine);
        }
    }

    /// Every node is withdrawn, and only then are we told whose fault it was.
    fn own_link_drops(&mut self) {
        self.doubtful = Some(self.now);
        for instance in self.machines.iter().map(|m| m.instance.clone()).collect::<Vec<_>>() {
            self.say(Change::Left(Source::Mdns, instance), 500);
        }
        let noticed = ms(self.rng.u64(..2000));
        self.after(noticed, Next::Word(Change::Disturbed(Source::Mdns)));
    }

    /// Somebody claims a node's id for a dead address, for another machine's, or with a health
    /// port or path of its own.
    fn forge(&mut self, at: usize) {
        let mut sighting = self.machines[at].sighting();
        if self.rng.bool() {
            "rogue".clone_into(&mut sighting.instance);
        }
        match self.rng.u8(..4) {
            0 => sighting.endpoints = vec![SocketAddr::from(([10, 66, 0, self.rng.u8(..)], 80))],
            1 => {
                let other = self.rng.usize(..self.machines.len());
                sighting.endpoints.clone_from(&self.machines[other].addresses);
            }
            2 => sighting.advertisement.ctl = Some(9),
            _ => sighting.advertisement.health = Some("/nonsense".to_owned()),
        }
        self.say(Change::Seen(Source::Mdns, sighting), 100);
    }

    fn flood(&mut self) {
        let most = if self.rng.u8(..) < 16 { 300 } else { 40 };
        for n in 0..self.rng.u16(10..most) {
            // Few without an id: each dead one holds a place for 2 s.
            let id =
                (self.rng.u8(..) > 15).then(|| NodeId::new(&format!("rogue{n}")).expect("legal"));
            let sighting = Sighting {
                instance: format!("Rogue {n}"),
                target: "rogue".to_owned(),
                endpoints: vec![SocketAddr::from(([10, 66, self.rng.u8(..), 1], 80))],
                advertisement: advertisement(id),
            };
            self.table.change(&Change::Seen(Source::Mdns, sighting), self.now);
        }
    }

    /// A request finds out that nobody listens.
    fn traffic(&mut self, at: usize) {
        let machine = &self.machines[at];
        let outcome = match machine.state {
            _ if !self.unicast => Outcome::Silent,
            State::Up => [Outcome::Answered, Outcome::Broken][self.rng.usize(..2)],
            State::Draining | State::AppDown => Outcome::Answered,
            State::Stopped => Outcome::Refused,
            State::Dark => Outcome::Silent,
        };
        if let Some(epoch) = self.checks.epoch_of(machine) {
            self.table.observed(epoch, outcome, self.now);
        }
    }

    /// The network heals, and mDNS says how things are.
    fn calm(&mut self) {
        (self.multicast, self.unicast, self.lossy) = (true, true, false);
        for machine in &mut self.machines {
            machine.turn += 1;
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
                    // A flood may have used up this second's candidates.
                    for second in [1, 3, 5] {
                        let word = Change::Seen(Source::Mdns, self.machines[at].sighting());
                        self.after(ms(second * 1000), Next::Word(word));
                    }
                }
            }
        }
        self.after(ms(3500), Next::Word(Change::Left(Source::Mdns, "rogue".to_owned())));
    }
}

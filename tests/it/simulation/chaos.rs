//! The misfortunes of the world: stops, crashes, clones, partitions, forgeries and floods.

use std::net::SocketAddr;

use picluster::cluster::node::{Boot, Change, NodeId, Sighting, Source};

use super::world::{Next, State, World, Wrong, advertisement, ms};

impl World {
    /// Makes one thing happen, and schedules the next one.
    pub(super) fn chaos(&mut self) {
        let pause = ms(self.rng.u64(50..1600));
        self.after(pause, Next::Chaos);
        let at = self.rng.usize(..self.machines.len());
        match self.rng.u8(..26) {
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
            20 | 21 => self.err(at),
            // The application breaks, or is mended, on all nodes.
            22 => (0..self.machines.len()).for_each(|at| self.err(at)),
            _ => (0..self.rng.u8(..30)).for_each(|_| self.send(Vec::new())),
        }
    }

    fn set(&mut self, at: usize, state: State) {
        let machine = &mut self.machines[at];
        machine.state = state;
        machine.turn += 1;
        self.checks.excuse(machine);
    }

    fn err(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let wrong = if self.rng.bool() { Wrong::Errs } else { Wrong::Breaks };
        machine.wrong = machine.wrong.xor(Some(wrong));
    }

    fn start(&mut self, at: usize) {
        // Now and then it is so fast that no probe notices.
        if self.rng.bool() {
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
        // Two machines of two addresses fill an id's four places.
        let first = self.machines.iter().filter(|m| m.id == clone.id).count() == 1;
        if clone.id.is_some() && clone.state == State::Up && first {
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

    /// Withdraws every node, and only then reports whose fault it was.
    fn own_link_drops(&mut self) {
        self.doubtful = Some(self.now);
        for instance in self.machines.iter().map(|m| m.instance.clone()).collect::<Vec<_>>() {
            self.say(Change::Left(Source::Mdns, instance), 500);
        }
        let noticed = ms(self.rng.u64(..2000));
        self.after(noticed, Next::Word(Change::Disturbed(Source::Mdns)));
    }

    /// Forges the claim to a node's id: for a dead address, for another machine's address, or with
    /// its own health port or path.
    fn forge(&mut self, at: usize) {
        let mut sighting = self.machines[at].sighting();
        // A foreign device under another name is just another foreign device.
        let named = sighting.advertisement.id.is_some();
        if named && self.rng.bool() {
            "rogue".clone_into(&mut sighting.instance);
        }
        match self.rng.u8(if named { 0..4 } else { 2..4 }) {
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
            // Few are without an id: each dead one holds a place for 2 s.
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
}

//! Requests through the published pool. They are picked, answered, lost and sent again as the data
//! line does it, and each outcome is reported to the table.

use std::sync::Arc;

use picluster::cluster::health::Outcome;
use picluster::cluster::picker::{self, Pick};

use super::world::{Next, State, World, Wrong, ms};

/// A request that was sent to a member.
pub(super) struct Sent {
    pick: Pick,
    tried: Vec<u64>,
}

impl World {
    /// A client asks; the next one is scheduled.
    pub(super) fn client_asks(&mut self) {
        let pause = ms(self.rng.u64(if self.lossy { 20..250 } else { 50..1000 }));
        self.after(pause, Next::ClientAsks);
        self.send(Vec::new());
    }

    /// Sends a request to a member that was not tried. A request that no member takes is forgotten.
    pub(super) fn send(&mut self, tried: Vec<u64>) {
        let pool = Arc::clone(&self.pool.borrow());
        let trial = tried.is_empty().then(|| picker::pick_trial(&pool, &[])).flatten();
        let Some(pick) = trial.or_else(|| picker::pick(&pool, &tried).ok()) else { return };
        self.checks.picked(pick.member(), &pool);
        self.requests += 1;
        let (number, delay) = (self.requests, ms(self.rng.u64(1..30)));
        self.sent.insert(number, Sent { pick, tried });
        self.after(delay, Next::Answered(number));
    }

    /// The request is answered now, if it is answered at all.
    pub(super) fn answered(&mut self, number: u64) {
        let Some(sent) = self.sent.get(&number) else { return };
        let member = sent.pick.member();
        let (epoch, asked) = (member.epoch, member.node.endpoint);
        let there = self.machines.iter().find(|m| self.unicast && m.addresses.contains(&asked));
        let dies = self.lossy && self.rng.u8(..) < 4;
        let status = match there.map(|machine| (machine.state, machine.wrong)) {
            None | Some((State::Dark, _)) => return self.after(ms(300), Next::Doubt(number)),
            Some((State::Stopped, _)) => return self.lost(number, Outcome::Refused),
            Some(_) if dies => return self.breaks_off(number),
            Some((_, Some(Wrong::Breaks))) => return self.breaks_off(number),
            Some((State::AppDown, _) | (_, Some(Wrong::Errs))) => 503,
            Some((State::Up | State::Draining, None)) => 200,
        };
        let drains = there.is_some_and(|m| m.state == State::Draining && m.id.is_some());
        let word = member.note_head(status);
        member.note_end(status);
        self.sent.remove(&number);
        for outcome in word.into_iter().chain(drains.then_some(Outcome::Draining)) {
            self.checks.told(epoch, outcome);
            self.table.observed(epoch, outcome, self.now);
        }
    }

    /// A request has been unanswered for too long.
    pub(super) fn doubt(&mut self, number: u64) {
        if let Some(sent) = self.sent.get(&number) {
            self.table.observed(sent.pick.member().epoch, Outcome::Silent, self.now);
            self.after(ms(6000), Next::MustBeOver(number));
        }
    }

    /// No request waits any longer for a node that is known to have vanished, if there is another.
    /// The checks of the view ensure that this is known soon.
    pub(super) fn must_be_over(&mut self, number: u64) {
        let Some(sent) = self.sent.remove(&number) else { return };
        let (pool, epoch) = (Arc::clone(&self.pool.borrow()), sent.pick.member().epoch);
        let others = pool.usable().iter().any(|member| member.epoch != epoch);
        let vanished = pool.members().iter().any(|member| member.epoch == epoch && member.silent);
        assert!(!others || !vanished, "a request waits for {epoch}: {:?}", pool.members());
    }

    fn breaks_off(&mut self, number: u64) {
        let member = self.sent.get(&number).map(|sent| sent.pick.member());
        let word = member.and_then(|member| Some((member.epoch, member.note_break()?)));
        self.lost(number, Outcome::Broken);
        if let Some((epoch, outcome)) = word {
            self.table.observed(epoch, outcome, self.now);
        }
    }

    fn lost(&mut self, number: u64, outcome: Outcome) {
        let Some(sent) = self.sent.remove(&number) else { return };
        let (epoch, mut tried) = (sent.pick.member().epoch, sent.tried);
        drop(sent.pick);
        tried.push(epoch);
        self.table.observed(epoch, outcome, self.now);
        self.send(tried);
    }

    /// Requests that wait for a vanished node go elsewhere.
    pub(super) fn follow(&mut self) {
        let pool = Arc::clone(&self.pool.borrow());
        let vanished = |sent: &Sent| pool.is_silent(sent.pick.member().epoch);
        let gone: Vec<u64> =
            self.sent.iter().filter(|(_, sent)| vanished(sent)).map(|(n, _)| *n).collect();
        for number in gone {
            self.lost(number, Outcome::Silent);
        }
    }

    /// Requests that wait for a node that is not listed any more have ended with it.
    pub(super) fn end_with_their_nodes(&mut self) {
        let pool = Arc::clone(&self.pool.borrow());
        let known = |epoch| pool.members().iter().any(|member| member.epoch == epoch);
        let listed = |epoch| known(epoch) || pool.is_silent(epoch);
        self.sent.retain(|_, sent| listed(sent.pick.member().epoch));
    }
}

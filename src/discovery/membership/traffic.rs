//! Changes that the outcomes of requests make: to one machine by itself, and to a machine beside its
//! peers.

use std::sync::atomic::Ordering;

use super::context::Context;
use super::entries::Entries;
use super::entry::Entry;
use super::event::Ejection;
use super::machine::Machine;
use super::ownership::settle;
use crate::cluster::health::{Health, Outcome};

/// True if requests go wrong at this node and not at its peers, so that it may be ejected for them.
///
/// They do not if the last request of half of its peers went wrong too, because then it is the
/// application. Nor may more than half of the nodes be out, and so never the last one. Only nodes of
/// its service count.
pub(super) fn errs_alone(entries: &Entries, node: &Machine) -> bool {
    let (mut peers, mut erring_peers, mut out, mut all) = (0, 0, 0, 0);
    let is_of_service =
        |machine: &Machine| !machine.drained_here && machine.offer.service == node.offer.service;
    for machine in entries.machines().filter(|machine| is_of_service(machine)) {
        let is_out = machine.outlier.is_out(machine.shown);
        out += usize::from(is_out);
        all += usize::from(is_out || machine.shown == Health::Up);
        if machine.epoch != node.epoch && machine.has_share() {
            peers += 1;
            erring_peers += usize::from(machine.counters.errors.load(Ordering::Relaxed) > 0);
        }
    }
    erring_peers * 2 < peers && (out + 1) * 2 <= all
}

/// Takes in the outcome of a request to the machine at this position. `errs_alone` is the answer of
/// [`errs_alone`] for it.
pub(super) fn observed(
    entry: &mut Entry,
    at: usize,
    outcome: Outcome,
    errs_alone: bool,
    cx: &mut Context<'_>,
) {
    let active = entry.machines[at].active;
    judge_machine(entry, at, outcome, errs_alone, cx);
    judge_address(entry, active, outcome, cx);
}

/// Ends a trial, or ejects the machine.
fn judge_machine(
    entry: &mut Entry,
    at: usize,
    outcome: Outcome,
    errs_alone: bool,
    cx: &mut Context<'_>,
) {
    let address = entry.address(entry.machines[at].active);
    let well = address.filter(|a| a.record.failed() == 0).and_then(|a| a.proof);
    let machine = &mut entry.machines[at];
    let usable = cx.usable(&machine.offer);
    let (shown, outlier) = (machine.shown, &mut machine.outlier);
    let moved = match outcome {
        Outcome::Answered => outlier.pass_trial(shown, usable, cx.now),
        Outcome::Broken => outlier.fail_trial(shown, None, usable, cx.now),
        Outcome::Invalid(refusal) => outlier.fail_trial(shown, Some(refusal), usable, cx.now),
        Outcome::Erring if errs_alone && shown == Health::Up => {
            outlier.eject(Ejection::Errors, cx.now);
            true
        }
        Outcome::Breaking if errs_alone && shown == Health::Up => {
            outlier.break_off(well.map(|proof| proof.asked), cx.now)
        }
        _ => false,
    };
    if moved {
        if errs_alone {
            machine.counters.errors.store(0, Ordering::Relaxed);
        }
        cx.changed = true;
        settle(entry, cx);
    }
}

/// Changes the health of the address to which the request went, or asks for a probe of it.
fn judge_address(entry: &mut Entry, key: u64, outcome: Outcome, cx: &mut Context<'_>) {
    // A foreign device may take longer to answer a probe than a request may be made to wait.
    let foreign = entry.foreign;
    let Some(address) = entry.address_mut(key) else { return };
    let moves = match outcome {
        Outcome::Answered | Outcome::Erring => {
            if address.health() == Health::Suspect {
                address.ask(cx.now);
            }
            address.record.record(outcome, cx.limits, cx.now);
            return;
        }
        Outcome::Draining => address.health() != Health::Draining,
        // It has been judged as an outlier already.
        Outcome::Breaking => false,
        Outcome::Refused => address.health().answers(),
        Outcome::Silent if !foreign => {
            address.record.doubt();
            false
        }
        _ => false,
    };
    address.ask(cx.now);
    if moves {
        let draining = outcome == Outcome::Draining;
        address.record.record(outcome, cx.limits, cx.now);
        address.last_resort = draining;
        address.why = if draining {
            "says that it is draining".to_owned()
        } else {
            format!("connection refused on {}", address.target.endpoint)
        };
        entry.ask_stand_bys(key, cx.now);
        settle(entry, cx);
    }
}

/// Time has passed: ends trials and ejections that are over, and lets shares grow.
pub(super) fn advance(entry: &mut Entry, cx: &mut Context<'_>) {
    for machine in &mut entry.machines {
        let address = entry.addresses.iter().find(|address| address.key == machine.active);
        let proved = address.is_some_and(|address| address.record.good() >= cx.limits.rise);
        let usable = cx.usable(&machine.offer);
        cx.changed |= machine.outlier.advance(machine.shown, proved, usable, cx.now);
    }
    settle(entry, cx);
}

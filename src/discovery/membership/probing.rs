//! Changes that the result of a probe makes to one entry.

use std::time::Duration;

use super::context::Context;
use super::entry::Entry;
use super::event::EventKind;
use super::ownership::{self, settle};
use super::probe::ProbeResult;
use super::verdict::{Proof, judge};
use crate::cluster::health::Outcome;

/// Takes in the result of a probe of the address `key`, which began at `asked`.
pub(super) fn probed(
    entry: &mut Entry,
    key: u64,
    asked: Duration,
    result: &ProbeResult,
    cx: &mut Context<'_>,
) {
    let active = entry.is_active(key);
    let (id, foreign) = (entry.id.clone(), entry.foreign);
    let Some(address) = entry.address_mut(key) else { return };
    if asked < address.record.since() {
        // The result describes the time before what is known now.
        address.plan(active, cx.limits, cx.now);
        return address.ask(cx.now);
    }
    let verdict = judge(result, address.target.health_endpoint(), &id, foreign);
    let before = (address.why.clone(), address.last_resort);
    address.ended(&verdict, asked, cx.limits, cx.now);
    cx.changed |= before != (address.why.clone(), address.last_resort);
    // Only after a second try: a node that just starts may refuse the first one.
    let faulty = address.proof.is_none() && address.record.failed() == 2;
    let intruder = verdict.stranger && !active;
    if faulty || intruder {
        let endpoint = address.target.endpoint;
        cx.log.record_faulty(entry.label.clone(), endpoint, &verdict.why, cx.now);
    }
    if intruder {
        entry.addresses.retain(|address| address.key != key);
    } else if let Some(proof) = verdict.proof {
        ownership::assign(entry, key, &proof, cx);
        take_in_own_word(entry, &proof, verdict.outcome, asked, cx);
    } else if active {
        entry.ask_stand_bys(key, cx.now);
    }
    settle(entry, cx);
    let active = entry.is_active(key);
    if let Some(address) = entry.address_mut(key) {
        address.plan(active, cx.limits, cx.now);
    }
}

/// Takes in the machine's own word: its name, its board, and whether it is about to stop.
fn take_in_own_word(
    entry: &mut Entry,
    proof: &Proof,
    outcome: Outcome,
    asked: Duration,
    cx: &mut Context<'_>,
) {
    let mut machines = entry.machines.iter_mut();
    let Some(machine) = machines.find(|m| m.proven && m.boot == proof.boot) else { return };
    if let Some(name) = proof.name.as_ref().filter(|name| **name != machine.wanted) {
        machine.wanted.clone_from(name);
        cx.changed = true;
    }
    machine.take_in_board(proof.pi.as_ref(), cx);
    match outcome {
        Outcome::Draining => machine.drained = true,
        Outcome::Healthy => {
            machine.drained = false;
            if machine.goodbye.take_if(|goodbye| asked >= goodbye.at).is_some() {
                let detail = "forged, or the advertisement was lost: it stays";
                cx.log.record(EventKind::FalseGoodbye, machine.subject(), None, detail);
            }
        }
        _ => {}
    }
}

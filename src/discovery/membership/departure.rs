//! The rules by which an entry drops its machines and addresses.

use std::time::Duration;

use super::address::Address;
use super::context::Context;
use super::entry::Entry;
use super::event::EventKind;
use super::machine::{Goodbye, Machine};
use super::ownership::settle;
use crate::cluster::config::FORGET_AFTER;
use crate::cluster::health::Health;

/// An address that does not answer is dropped after this long, unless it is advertised and has proved
/// a machine that is still held. Its source proposes it again if it is still there.
const CANDIDATE_FOR: Duration = Duration::from_secs(60);

/// A goodbye of a node that did not drain is believed this long after it, if no disturbance of our own
/// link was noticed meanwhile: mDNS withdraws all nodes then.
const BELIEVED_AFTER: Duration = Duration::from_secs(3);

/// Drops the machines that have left and the addresses that lead nowhere.
pub(super) fn tidy(entry: &mut Entry, cx: &mut Context<'_>) {
    let mut gone = Vec::new();
    entry.machines.retain(|machine| {
        let Some(kind) = departure(machine, cx.now) else { return true };
        gone.push((machine.active, machine.boot));
        cx.log.record(kind, machine.subject(), None, "");
        cx.changed = true;
        false
    });
    let machines = &entry.machines;
    entry.addresses.retain(|address| {
        let left = gone.iter().any(|(key, boot)| address.key == *key || address.is_of(*boot));
        let active = machines.iter().any(|m| m.proven && m.active == address.key);
        active || !(is_stale(address, machines, cx.now) || (left && address.instance.is_none()))
    });
    if !gone.is_empty() || entry.machines.iter().any(|m| entry.address(m.active).is_none()) {
        settle(entry, cx);
    }
}

/// True if an address has been without an answer for too long.
fn is_stale(address: &Address, machines: &[Machine], now: Duration) -> bool {
    let expected = address.instance.is_some()
        && machines.iter().any(|machine| machine.proven && address.is_of(machine.boot));
    let silent = !address.health().answers() && now >= address.record.since() + CANDIDATE_FOR;
    silent && !expected
}

/// The event with which a machine leaves the list now; `None` if it stays.
fn departure(machine: &Machine, now: Duration) -> Option<EventKind> {
    if !machine.proven || machine.shown.answers() {
        return None;
    }
    let believed = |goodbye: &Goodbye| !goodbye.doubted && now >= goodbye.at + BELIEVED_AFTER;
    let left = machine.has_taken_leave() || machine.goodbye.as_ref().is_some_and(believed);
    let absent =
        !machine.advertised && now >= machine.since.max(machine.absent_since) + FORGET_AFTER;
    match (machine.shown, left, absent) {
        (Health::Down, true, _) => Some(EventKind::Left),
        (_, _, true) => Some(EventKind::Forgotten),
        _ => None,
    }
}

//! Shows a developer who names whom.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::circles::{circles, lines, report};
use super::rules::{Rooms, is_in, room, scan_all};
use super::tree::{Edge, Tree};

/// The edges from room to room, for `edges`, or those that begin or end below a place, and all
/// circles.
pub(super) fn picture(files: &BTreeMap<String, String>, wanted: &str) -> String {
    let scans = scan_all(files);
    let rooms = Rooms::of(&scans["lib"]);
    let edges = Tree::new(&scans).edges(&scans);
    let mut text = format!("rooms, lowest first: {}\n", rooms.0.join(" "));
    let mut add = |line: &str| writeln!(text, "{line}").expect("a string takes everything");
    if wanted == "edges" {
        let mut pairs: Vec<(&str, &str)> =
            edges.iter().map(|edge| (room(&edge.from), room(&edge.to))).collect();
        pairs.sort_by_key(|(from, to)| (rooms.height(from), rooms.height(to)));
        pairs.dedup();
        for (from, to) in pairs.into_iter().filter(|(from, to)| from != to) {
            let upward = if rooms.is_upward(from, to) { ", upward" } else { "" };
            add(&format!("{from} -> {to}{upward}"));
            let is_of = |edge: &Edge| room(&edge.from) == from && room(&edge.to) == to;
            lines(&edges, is_of).iter().for_each(|line| add(&format!("    {line}")));
        }
    } else {
        let is_of = |edge: &Edge| is_in(&edge.from, wanted) || is_in(&edge.to, wanted);
        lines(&edges, is_of).iter().for_each(|line| add(line));
    }
    for circle in circles(&edges) {
        add(&report(&circle, &edges));
    }
    text
}

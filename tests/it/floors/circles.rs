//! Finds the circles: files that reach each other along the edges.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::tree::Edge;

/// The largest sets of two or more files in which each reaches each other, the largest set first.
pub(super) fn circles(edges: &[Edge]) -> Vec<BTreeSet<&str>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in edges {
        next.entry(&edge.from).or_default().insert(&edge.to);
    }
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|file| (*file, reached(file, &next))).collect();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for (file, reached) in &reach {
        if reached.contains(file) && !found.iter().any(|circle| circle.contains(file)) {
            let returns = |to: &&str| reach.get(to).is_some_and(|back| back.contains(file));
            found.push(reached.iter().copied().filter(returns).collect());
        }
    }
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

fn reached<'a>(from: &str, next: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = next.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(next.get(file).into_iter().flatten().copied());
        }
    }
    reached
}

/// A circle with its edges: the place where each first names its target, and all it names there.
pub(super) fn report(circle: &BTreeSet<&str>, edges: &[Edge]) -> String {
    let mut text = format!("a circle of {} files:", circle.len());
    for line in lines(edges, |edge| {
        circle.contains(edge.from.as_str()) && circle.contains(edge.to.as_str())
    }) {
        write!(text, "\n    {line}").expect("a string takes everything");
    }
    text
}

/// The edges chosen, one line for each pair of files.
pub(super) fn lines(edges: &[Edge], chosen: impl Fn(&Edge) -> bool) -> Vec<String> {
    let mut pairs: BTreeMap<(&str, &str), (usize, BTreeSet<&str>)> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| chosen(edge)) {
        let (line, names) =
            pairs.entry((&edge.from, &edge.to)).or_insert((edge.line, BTreeSet::new()));
        *line = edge.line.min(*line);
        names.insert(&edge.name);
    }
    let line = |((from, to), (line, names)): (&(&str, &str), &(usize, BTreeSet<&str>))| {
        let names: Vec<&str> = names.iter().copied().collect();
        format!("src/{from}.rs:{line}: {from} -> {to}: {}", names.join(", "))
    };
    pairs.iter().map(line).collect()
}

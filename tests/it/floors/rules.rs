//! The rules, each of which reports its breaches as `src/file.rs:line: what`.
//!
//! The rooms and the circles ignore tests inside `src/`, see `tree`. The crates, the pure parts, the
//! end of the process and stray files hold for tests too.

use std::collections::BTreeMap;

use super::circles::{circles, report};
use super::scan::{Path, Scan, scan};
use super::tables::{IMPURE, Law};
use super::tree::{Found, Tree};

/// Every breach of the rules.
pub(super) fn violations(files: &BTreeMap<String, String>, law: &Law<'_>) -> Vec<String> {
    let scans = scan_all(files);
    let tree = Tree::new(&scans);
    let rooms = Rooms::of(&scans["lib"]);
    let mut found = Vec::new();
    for (&file, scan) in &scans {
        found.extend(stray(file, &scans));
        found.extend(foreign(file, scan, law));
        if law.pure.iter().any(|place| is_in(file, place)) {
            found.extend(impure(file, scan));
        }
        if !matches!(file, "lib" | "main") {
            found.extend(scan.paths.iter().filter_map(|path| upward(file, path, &tree, &rooms)));
        }
    }
    found.extend(rotten(&scans, law));
    // Several names in one line.
    found.dedup();
    let edges = tree.edges(&scans);
    found.extend(circles(&edges).iter().map(|circle| report(circle, &edges)));
    found
}

/// Reads every file.
pub(super) fn scan_all(files: &BTreeMap<String, String>) -> BTreeMap<&str, Scan> {
    files.iter().map(|(file, text)| (file.as_str(), scan(text))).collect()
}

/// The rooms, lowest first.
pub(super) struct Rooms(pub(super) Vec<String>);

impl Rooms {
    /// The modules of `lib.rs` in their order.
    pub(super) fn of(lib: &Scan) -> Self {
        Self(lib.rooms.clone())
    }

    /// The height of the room in which a file or module stands.
    pub(super) fn height(&self, path: &str) -> Option<usize> {
        self.0.iter().position(|name| name == room(path))
    }

    /// Whether `to` stands in a higher room than `from`.
    pub(super) fn is_upward(&self, from: &str, to: &str) -> bool {
        matches!((self.height(from), self.height(to)), (Some(from), Some(to)) if from < to)
    }
}

/// The room of a file or a module.
pub(super) fn room(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// Whether a file is a place or stands below it.
pub(super) fn is_in(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A file that no module above it declares.
fn stray(file: &str, scans: &BTreeMap<&str, Scan>) -> Option<String> {
    let is_declared_in = |outer: &str, path: &str| {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        scans.get(outer).is_some_and(|outer| outer.modules.contains_key(&path))
    };
    let known = matches!(file, "lib" | "main")
        || is_declared_in("lib", file)
        || file.match_indices('/').any(|(at, _)| is_declared_in(&file[..at], &file[at + 1..]));
    (!known).then(|| format!("src/{file}.rs:1: belongs to no module"))
}

/// A crate named outside its places, or the process ended outside `main.rs`.
fn foreign(file: &str, scan: &Scan, law: &Law<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for Path { line, words, .. } in &scan.paths {
        for (name, owners) in law.owners {
            if words[0] == *name && !owners.iter().any(|owner| is_in(file, owner)) {
                let owners = owners.join(", ");
                found.push(format!("src/{file}.rs:{line}: only {owners} may name {name}"));
            }
        }
        if file != "main" && contains(words, &["process", "exit"]) {
            found.push(format!("src/{file}.rs:{line}: only main may end the process"));
        }
    }
    found
}

/// A clock, randomness or I/O in a pure part.
fn impure(file: &str, scan: &Scan) -> Vec<String> {
    let mut found = Vec::new();
    for Path { line, words, .. } in &scan.paths {
        let is_global = words[0] == "fastrand" && words.get(1).is_some_and(|word| word != "Rng");
        if is_global || IMPURE.iter().any(|banned| contains(words, banned)) {
            let path = words.join("::");
            found.push(format!("src/{file}.rs:{line}: a pure part must not name {path}"));
        }
    }
    found
}

fn contains(words: &[String], part: &[&str]) -> bool {
    words.windows(part.len()).any(|window| window == part)
}

/// A path to a higher room, a re-export included, or to what is no module. A relative path repeats
/// an import, which is reported itself.
fn upward(file: &str, path: &Path, tree: &Tree, rooms: &Rooms) -> Option<String> {
    if path.is_relative() {
        return None;
    }
    let (found, mut way) = tree.find(file, path);
    let place = format!("src/{file}.rs:{}", path.line);
    match found? {
        Found::Item { file, name } if file == "lib" => {
            return Some(format!("{place}: crate::{name} is no module of lib.rs"));
        }
        Found::Item { file, .. } => way.push(file),
        Found::Module(_) => {}
    }
    let above = way.iter().find(|to| rooms.is_upward(file, to))?;
    Some(format!("{place}: {} names {}, which stands above it", room(file), room(above)))
}

/// An entry of the tables that the code has outlived.
fn rotten(scans: &BTreeMap<&str, Scan>, law: &Law<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, owners) in law.owners {
        let names_it = |scan: &Scan| scan.paths.iter().any(|path| path.words[0] == *name);
        for owner in owners.iter().filter(|owner| !law.later.contains(owner)) {
            if !scans.iter().any(|(file, scan)| is_in(file, owner) && names_it(scan)) {
                found.push(format!(
                    "tests/it/floors/tables.rs: {owner} may name {name} and does not"
                ));
            }
        }
    }
    for place in law.pure {
        if !scans.keys().any(|file| is_in(file, place)) {
            found.push(format!(
                "tests/it/floors/tables.rs: {place} is to be pure and does not exist"
            ));
        }
    }
    found
}

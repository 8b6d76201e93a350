//! The map in `src/lib.rs` is true: this holds the code to its floors.
//!
//! A module imports from its own floor or a lower one, no chain of imports between the top-level
//! modules circles back, each outside world has one file that may name it, and floor 1 names no
//! clock, no randomness and no I/O. Tests inside `src/` count as code.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use words::{Scan, scan};

/// Who alone may name a crate: the file of this name and the folder beside it.
const OWNERS: [(&str, &str); 6] = [
    ("clap", "cli"),
    ("httparse", "h1"),
    ("mdns_sd", "discovery/mdns"),
    ("prometheus_client", "metrics/exposition"),
    ("rustls", "tls"),
    ("tokio_rustls", "tls"),
];

/// What floor 1 must not name, as a part of a path. A generator made from nothing is seeded by the
/// machine; one made from a seed, or handed in, is not.
const NOT_ON_FLOOR_1: [&[&str]; 14] = [
    &["tokio"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "thread"],
    &["time", "Instant"],
    &["time", "SystemTime"],
    &["time", "UNIX_EPOCH"],
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["net", "TcpListener"],
    &["net", "TcpStream"],
    &["net", "UdpSocket"],
    &["Rng", "new"],
    &["Rng", "default"],
];

#[test]
fn every_module_keeps_to_its_floor() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    read_all(&src, "", &mut files);
    assert!(files.len() > 30, "only {} files under {}", files.len(), src.display());
    let violations = violations(&files);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Every Rust file under a folder, by its path below `src/` without the `.rs`.
fn read_all(dir: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).expect("a folder of the project") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            read_all(&path, &format!("{prefix}{name}/"), files);
        } else if let Some(module) = name.strip_suffix(".rs") {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            files.insert(format!("{prefix}{module}"), text);
        }
    }
}

/// Every breach of the rules, each as `src/file.rs:line: what`.
fn violations(files: &BTreeMap<String, String>) -> Vec<String> {
    let (map, mut found) = Map::read(&files["lib"]);
    let scans: BTreeMap<&str, Scan> =
        files.iter().map(|(file, text)| (file.as_str(), scan(text, file))).collect();
    let mut edges = Vec::new();
    for (&file, scan) in &scans {
        found.extend(stray(file, &map, &scans));
        found.extend(foreign(file, scan));
        if map.floor(top(file)) == Some(1) {
            found.extend(impure(file, scan));
        }
        if !matches!(file, "lib" | "main") {
            edges.extend(scan.imports.iter().map(|(line, to)| Edge { file, line: *line, to }));
        }
    }
    found.extend(edges.iter().filter_map(|edge| upward(edge, &map)));
    // Several names in one line.
    found.dedup();
    found.extend(circle(&edges));
    found
}

/// The modules of `lib.rs` with their floors.
struct Map(BTreeMap<String, u32>);

impl Map {
    fn read(lib: &str) -> (Self, Vec<String>) {
        let (mut modules, mut wrong, mut floor) = (BTreeMap::new(), Vec::new(), None);
        for (line, text) in (1..).zip(lib.lines()) {
            if let Some(heading) = text.strip_prefix("// Floor ") {
                let number = heading.split(',').next().and_then(|n| n.parse::<u32>().ok());
                if number.is_none() || number <= floor {
                    wrong.push(format!(
                        "src/lib.rs:{line}: the floors go up, one `// Floor N, ...` each"
                    ));
                }
                floor = number.or(floor);
            }
            let module = text.strip_prefix("pub ").unwrap_or(text).strip_prefix("mod ");
            let Some(module) = module.and_then(|m| m.strip_suffix(';')) else { continue };
            match floor {
                Some(floor) => drop(modules.insert(module.to_owned(), floor)),
                None => wrong.push(format!("src/lib.rs:{line}: {module} is on no floor")),
            }
        }
        (Self(modules), wrong)
    }

    fn floor(&self, module: &str) -> Option<u32> {
        self.0.get(module).copied()
    }
}

/// A top-level module names another.
struct Edge<'a> {
    file: &'a str,
    line: usize,
    to: &'a str,
}

impl Edge<'_> {
    fn from(&self) -> &str {
        top(self.file)
    }
}

fn top(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

/// A file that the map, or the module above it, does not know.
fn stray(file: &str, map: &Map, scans: &BTreeMap<&str, Scan>) -> Option<String> {
    let known = match file.rsplit_once('/') {
        None => matches!(file, "lib" | "main") || map.floor(file).is_some(),
        Some((parent, name)) => {
            scans.get(parent).is_some_and(|parent| parent.modules.contains(name))
        }
    };
    (!known).then(|| format!("src/{file}.rs:1: belongs to no module"))
}

/// A crate named outside its file, or the process ended outside `main.rs`.
fn foreign(file: &str, scan: &Scan) -> Vec<String> {
    let is_of = |owner: &str| {
        file.strip_prefix(owner).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut found = Vec::new();
    for (line, path) in &scan.paths {
        for (name, owner) in OWNERS {
            if path[0] == name && !is_of(owner) {
                found.push(format!("src/{file}.rs:{line}: only {owner} may name {name}"));
            }
        }
        if file != "main" && contains(path, &["process", "exit"]) {
            found.push(format!("src/{file}.rs:{line}: only main may end the process"));
        }
    }
    found
}

/// A clock, randomness or I/O on floor 1.
fn impure(file: &str, scan: &Scan) -> Vec<String> {
    let mut found = Vec::new();
    for (line, path) in &scan.paths {
        let is_global = path[0] == "fastrand" && path.get(1).is_some_and(|word| word != "Rng");
        if is_global || NOT_ON_FLOOR_1.iter().any(|banned| contains(path, banned)) {
            let path = path.join("::");
            found.push(format!("src/{file}.rs:{line}: floor 1 must not name {path}"));
        }
    }
    found
}

fn contains(path: &[String], part: &[&str]) -> bool {
    path.windows(part.len()).any(|window| window == part)
}

/// An import from a higher floor, or of what is no module.
fn upward(edge: &Edge<'_>, map: &Map) -> Option<String> {
    let (from, to, place) = (edge.from(), edge.to, format!("src/{}.rs:{}", edge.file, edge.line));
    let Some(above) = map.floor(to) else {
        return Some(format!("{place}: crate::{to} is no module of lib.rs"));
    };
    // A module on no floor has been told already.
    let floor = map.floor(from)?;
    (floor < above)
        .then(|| format!("{place}: {from} on floor {floor} imports {to} from floor {above}"))
}

/// The first chain of imports found that ends where it began, one line an import.
fn circle(edges: &[Edge<'_>]) -> Vec<String> {
    let mut next: BTreeMap<&str, Vec<&Edge<'_>>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| edge.from() != edge.to) {
        next.entry(edge.from()).or_default().push(edge);
    }
    let mut done = BTreeSet::new();
    for start in next.keys() {
        let mut way = Vec::new();
        if walk(start, &next, &mut way, &mut done) {
            let told = |edge: &&Edge<'_>| {
                let (file, line, to) = (edge.file, edge.line, edge.to);
                format!("src/{file}.rs:{line}: a circle of imports: {} -> {to}", edge.from())
            };
            return way.iter().map(told).collect();
        }
    }
    Vec::new()
}

/// Depth first; true as soon as `way` is a circle, and then it is nothing else.
fn walk<'a>(
    module: &'a str,
    next: &BTreeMap<&str, Vec<&'a Edge<'a>>>,
    way: &mut Vec<&'a Edge<'a>>,
    done: &mut BTreeSet<&'a str>,
) -> bool {
    if let Some(began) = way.iter().position(|edge| edge.from() == module) {
        way.drain(..began);
        return true;
    }
    if done.contains(module) {
        return false;
    }
    for edge in next.get(module).into_iter().flatten() {
        way.push(edge);
        if walk(edge.to, next, way, done) {
            return true;
        }
        way.pop();
    }
    done.insert(module);
    false
}

const LIB: &str = "\
//! Made up.
pub mod lost;

// Floor 1, words: no clock.
pub mod h1;
pub mod node;
// Floor 2, views.
mod pool;
pub mod picker;
// Floor 3, edges.
pub mod discovery;
";

/// What a made-up tree is told, with `LIB` and these files.
fn told(files: &[(&str, &str)]) -> Vec<String> {
    let mut tree = BTreeMap::from([("lib".to_owned(), LIB.replace("pub mod lost;", ""))]);
    tree.extend(files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())));
    violations(&tree)
}

#[test]
fn a_tree_that_keeps_the_rules_has_no_breach() {
    let clean = told(&[
        ("main", "use mdns::tokio;\nfn main() { std::process::exit(picluster::node::run()) }"),
        ("h1", "use crate::node; // use crate::pool;\nmod body;\nuse httparse::Request;"),
        ("h1/body", "/* use crate::pool; /* */ tokio::x */ use super::super::node; use httparse;"),
        ("node", "const A: &str = \"tokio::spawn\"; fn roll(dice: &mut fastrand::Rng) {}"),
        ("pool", "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }\nuse crate::node::{self};"),
        ("picker", "const R: &str = r#\"crate::discovery \" mdns_sd\"#; use crate::pool::Pool;"),
        ("discovery", "mod mdns; mod tests { use super::mdns; use super::super::picker; }"),
        ("discovery/mdns", "use std::{fs, time::Instant}; use mdns_sd as sd;"),
    ]);
    assert_eq!(clean, [""; 0]);
}

#[test]
fn each_kind_of_breach_is_reported_with_its_place() {
    for (file, text, breach) in [
        ("node", "\nuse crate::pool;", "2: node on floor 1 imports pool from floor 2"),
        ("h1/x", "use super::super::pool::P;", "1: h1 on floor 1 imports pool from floor 2"),
        ("node", "use super::{\n h1,\n pool};", "3: node on floor 1 imports pool from floor 2"),
        (
            "node",
            "mod t { use super::super::pool; }",
            "1: node on floor 1 imports pool from floor 2",
        ),
        ("node", "use crate::{h1, pool::{A, B}};", "1: node on floor 1 imports pool from floor 2"),
        ("pool", "fn f() { crate::thing() }", "1: crate::thing is no module of lib.rs"),
        ("stray", "", "1: belongs to no module"),
        ("pool/forgotten", "", "1: belongs to no module"),
        ("discovery", "\n\nuse mdns_sd::X;", "3: only discovery/mdns may name mdns_sd"),
        ("discovery/mdns2", "use mdns_sd::X;", "1: only discovery/mdns may name mdns_sd"),
        ("pool", "let n = httparse::EMPTY;", "1: only h1 may name httparse"),
        ("main", "use clap::Parser;", "1: only cli may name clap"),
        ("pool", "use tokio_rustls::X;", "1: only tls may name tokio_rustls"),
        ("pool", "std::process::exit(1)", "1: only main may end the process"),
        ("pool", "use std::process::{self, exit};", "1: only main may end the process"),
        ("node", "use tokio::sync;", "1: floor 1 must not name tokio::sync"),
        ("node", "use std::{fmt, fs};", "1: floor 1 must not name std::fs"),
        ("node", "use std::fs as f;", "1: floor 1 must not name std::fs"),
        ("node", "std::env::var(\"X\")", "1: floor 1 must not name std::env::var"),
        (
            "node",
            "use std::{\ntime::{Duration,\nInstant}};",
            "3: floor 1 must not name std::time::Instant",
        ),
        ("h1", "time::SystemTime::now()", "1: floor 1 must not name time::SystemTime::now"),
        ("h1", "net::TcpStream::connect", "1: floor 1 must not name net::TcpStream::connect"),
        ("h1", "use std::net::TcpListener;", "1: floor 1 must not name std::net::TcpListener"),
        ("h1", "fastrand::u8(..)", "1: floor 1 must not name fastrand::u8"),
        ("h1", "Rng::new()", "1: floor 1 must not name Rng::new"),
    ] {
        let known = if file == "h1/x" { "mod x;" } else { "" };
        let known = if file == "discovery/mdns2" { "mod mdns2;" } else { known };
        let found = told(&[("h1", known), ("discovery", known), (file, text)]);
        assert_eq!(found, [format!("src/{file}.rs:{breach}")], "{text}");
    }
}

#[test]
fn a_circle_is_reported_import_by_import() {
    let found = told(&[
        ("h1", "use crate::node;"),
        ("pool", "use crate::h1;\nuse crate::picker;"),
        ("picker", "mod deep;"),
        ("picker/deep", "use crate::node;\n\n  crate::pool::x()"),
    ]);
    assert_eq!(
        found,
        [
            "src/picker/deep.rs:3: a circle of imports: picker -> pool",
            "src/pool.rs:2: a circle of imports: pool -> picker",
        ]
    );
}

#[test]
fn a_map_that_is_out_of_order_is_reported() {
    let (map, wrong) = Map::read(&LIB.replace("Floor 3", "Floor 1"));
    assert_eq!(map.floor("pool"), Some(2));
    assert_eq!(
        wrong,
        [
            "src/lib.rs:2: lost is on no floor",
            "src/lib.rs:10: the floors go up, one `// Floor N, ...` each",
        ]
    );
}

//! Made-up trees: each kind of breach is reported with its place, and a clean tree reports nothing.

use std::collections::BTreeMap;

use super::rules::violations;
use super::tables::Law;

const LIB: &str = "\
//! Made up.
// Words: no clock.
pub mod h1;
pub mod node;
/// Views.
pub mod pool;
mod picker;

pub mod discovery; // Lines.
#[cfg(test)]
mod harness;
";

const MADE_UP: Law<'_> = Law {
    owners: &[
        ("httparse", &["h1"]),
        ("mdns_sd", &["discovery/mdns", "picker"]),
        ("rustls", &["tls"]),
    ],
    later: &["tls"],
    pure: &["h1", "node"],
};

/// The breaches in a tree of `LIB`, these files, and what keeps the entries of `MADE_UP` alive.
fn breaches(files: &[(&str, &str)]) -> Vec<String> {
    let mut tree: BTreeMap<String, String> = BTreeMap::new();
    for (file, text) in [
        ("lib", LIB),
        ("h1", "use httparse::Request;\nmod deep;"),
        ("h1/deep", "pub(super) fn dig() {}"),
        ("node", "pub struct Node; pub fn near() {}"),
        ("pool", ""),
        ("picker", "use mdns_sd::X;"),
        ("discovery", "pub mod mdns;"),
        ("discovery/mdns", "use mdns_sd::X;"),
    ]
    .iter()
    .chain(files)
    {
        tree.insert((*file).to_owned(), (*text).to_owned());
    }
    violations(&tree, &MADE_UP)
}

#[test]
fn a_tree_that_keeps_the_rules_reports_nothing() {
    let clean = breaches(&[
        ("main", "use mdns::tokio;\nfn main() { std::process::exit(picluster::node::run()) }"),
        ("h1", "use crate::h1::deep; // use crate::pool;\nmod deep;\nuse httparse::Request;"),
        ("h1/deep", "/* use crate::pool; /* */ tokio::x */ use httparse; fn f() {}"),
        ("node", "const A: &str = \"tokio::spawn\"; fn roll(dice: &mut fastrand::Rng) {}"),
        ("pool", "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }\nuse crate::node::{self};"),
        (
            "picker",
            "const R: &str = r#\"crate::discovery \" httparse\"#; use crate::pool::f; use mdns_sd;",
        ),
        ("discovery", "mod mdns; use super::super::picker::R;"),
        ("discovery/mdns", "use std::{fs, time::Instant}; use mdns_sd as sd;"),
    ]);
    assert_eq!(clean, [""; 0]);
}

#[test]
fn each_kind_of_breach_is_reported_with_its_place() {
    let upward = "node names pool, which stands above it";
    for (file, text, breach) in [
        ("node", "\nuse crate::pool;", format!("2: {upward}")),
        ("node", "use super::pool::P;", format!("1: {upward}")),
        ("node", "use super::{\n h1,\n pool};", format!("3: {upward}")),
        ("node", "mod t { use super::super::pool; }", format!("1: {upward}")),
        ("node", "use crate::{h1, pool::{A, B}};", format!("1: {upward}")),
        ("node", "\npub use crate::pool::f;", format!("2: {upward}")),
        ("node", "use crate::pool::*;", format!("1: {upward}")),
        ("node", "use crate::pool as p;\nfn f() { p::f() }", format!("1: {upward}")),
        ("node", "fn f() {\n crate::pool::f() }", format!("2: {upward}")),
        ("node", "fn f() { info!(\"\", x = crate::pool::f()) }", format!("1: {upward}")),
        ("h1/deep", "use super::super::pool::P;", "1: h1 names pool, which stands above it".into()),
        ("pool", "use crate::discovery;", "1: pool names discovery, which stands above it".into()),
        ("pool", "fn f() { crate::thing() }", "1: crate::thing is no module of lib.rs".into()),
        ("stray", "", "1: belongs to no module".into()),
        ("pool/forgotten", "", "1: belongs to no module".into()),
        ("pool", "let n = httparse::EMPTY;", "1: only h1 may name httparse".into()),
        ("pool", "use rustls::X;", "1: only tls may name rustls".into()),
        ("main", "\nuse rustls::X;", "2: only tls may name rustls".into()),
        (
            "pool",
            "#[cfg(test)] mod t { use mdns_sd::X; }",
            "1: only discovery/mdns, picker may name mdns_sd".into(),
        ),
        ("pool", "std::process::exit(1)", "1: only main may end the process".into()),
        ("pool", "use std::process::{self, exit};", "1: only main may end the process".into()),
        ("node", "use tokio::sync;", "1: a pure part must not name tokio::sync".into()),
        ("node", "use std::{fmt, fs};", "1: a pure part must not name std::fs".into()),
        ("node", "use std::fs as f;", "1: a pure part must not name std::fs".into()),
        ("node", "std::env::var(\"X\")", "1: a pure part must not name std::env::var".into()),
        (
            "node",
            "use std::{\ntime::{Duration,\nInstant}};",
            "3: a pure part must not name std::time::Instant".into(),
        ),
        (
            "h1/deep",
            "time::SystemTime::now()",
            "1: a pure part must not name time::SystemTime::now".into(),
        ),
        (
            "h1/deep",
            "net::TcpStream::connect",
            "1: a pure part must not name net::TcpStream::connect".into(),
        ),
        (
            "h1/deep",
            "use std::net::TcpListener;",
            "1: a pure part must not name std::net::TcpListener".into(),
        ),
        ("h1/deep", "fastrand::u8(..)", "1: a pure part must not name fastrand::u8".into()),
        ("h1/deep", "Rng::new()", "1: a pure part must not name Rng::new".into()),
    ] {
        let found = breaches(&[(file, text)]);
        assert_eq!(found, [format!("src/{file}.rs:{breach}")], "{text}");
    }
}

#[test]
fn an_entry_of_the_tables_that_the_code_outlived_is_reported() {
    let found = breaches(&[("picker", ""), ("discovery", ""), ("discovery/mdns", "")]);
    assert_eq!(
        found,
        [
            "src/discovery/mdns.rs:1: belongs to no module",
            "tests/it/floors/tables.rs: discovery/mdns may name mdns_sd and does not",
            "tests/it/floors/tables.rs: picker may name mdns_sd and does not",
        ]
    );
    let law = Law { owners: &[], later: &[], pure: &["h2"] };
    let tree = BTreeMap::from([("lib".to_owned(), String::new())]);
    assert_eq!(
        violations(&tree, &law),
        ["tests/it/floors/tables.rs: h2 is to be pure and does not exist"]
    );
}

#[test]
fn two_files_of_a_room_that_need_each_other_are_a_circle() {
    let found = breaches(&[
        ("pool", "mod deep; mod flat;\nuse self::deep::{dig,\nSpade}; pub fn fill() {}"),
        ("pool/deep", "use crate::node::Node;\n\nfn dig() { super::fill() }"),
        ("pool/flat", "use super::fill;"),
    ]);
    assert_eq!(
        found,
        ["a circle of 2 files:\
          \n    src/pool.rs:2: pool -> pool/deep: Spade, dig\
          \n    src/pool/deep.rs:3: pool/deep -> pool: fill"]
    );
}

#[test]
fn a_circle_of_rooms_is_one_circle_and_its_upward_edges_are_breaches() {
    let found = breaches(&[
        ("pool", "use crate::picker;\npub struct P;\nfn f() { picker::pick() }"),
        ("picker", "use crate::node::near as n; use mdns_sd::X; mod deep;\npub use deep::pick;"),
        ("picker/deep", "use crate::discovery::Found;\npub fn pick() {}"),
        ("discovery", "pub mod mdns; pub enum Found { P(super::pool::P) }"),
    ]);
    assert_eq!(
        found,
        [
            "src/picker/deep.rs:1: picker names discovery, which stands above it",
            "src/pool.rs:1: pool names picker, which stands above it",
            "a circle of 3 files:\
             \n    src/discovery.rs:1: discovery -> pool: P\
             \n    src/picker/deep.rs:1: picker/deep -> discovery: Found\
             \n    src/pool.rs:3: pool -> picker/deep: pick",
        ]
    );
}

/// The edges that begin in `picker`, which uses a small tree below `pool`.
fn edges_of(picker: &str) -> Vec<String> {
    let found = breaches(&[
        (
            "pool",
            "pub mod deep; mod flat; mod both; pub use self::flat::*; pub use both::both;\n\
                  pub use deep::Spade as Tool; use deep::Spade; fn f(s: Spade) {} pub type T = u8;\n\
                  use crate::picker::back;",
        ),
        (
            "pool/deep",
            "pub struct Spade; pub mod well; pub use well::water; use crate::picker::back;",
        ),
        ("pool/deep/well", "pub(crate) const fn water() {} use crate::picker::back;"),
        ("pool/flat", "pub enum Flat { Field } use crate::picker::back; pub static S: u8 = 1;"),
        ("pool/both", "pub fn both() {} pub trait Inner {} use crate::picker::back;"),
        ("picker", &format!("use mdns_sd::X; pub fn back() {{}}\n{picker}")),
    ]);
    // Everything below `pool` leads back, so an edge to it makes a circle and is reported.
    let edges = found.iter().flat_map(|breach| breach.lines());
    edges.filter_map(|line| line.split_once("picker -> ")).map(|(_, to)| to.to_owned()).collect()
}

#[test]
fn an_edge_goes_to_the_file_that_defines_the_item() {
    for (text, to) in [
        ("use crate::pool::T;", "pool: T"),
        // A re-export, a rename, a glob, and a re-export of a re-export.
        ("use crate::pool::Tool;", "pool/deep: Spade"),
        ("use crate::pool::Flat;", "pool/flat: Flat"),
        ("use crate::pool::{Flat::Field, S};", "pool/flat: Flat, S"),
        ("use crate::pool::deep::water;", "pool/deep/well: water"),
        ("fn f() { crate::pool::Tool::new() }", "pool/deep: Spade"),
        ("fn f(x: &crate::pool::Flat) {}", "pool/flat: Flat"),
        ("fn f() { matches!(x, super::pool::Flat::Field) }", "pool/flat: Flat"),
        // An alias of a module, and of a type.
        ("use crate::pool;\nfn f() { pool::deep::well::water() }", "pool/deep/well: water"),
        (
            "use crate::pool::deep::{self as d, well};\nfn f() { d::water() }",
            "pool/deep/well: water",
        ),
        ("use crate::pool::Tool as Own;", "pool/deep: Spade"),
        ("use crate::pool::*;\nfn f(x: T, s: S, y: Tool) {}", "pool: T"),
        ("use crate::pool::Flat::*;", "pool/flat: Flat"),
        // A function and a module of one name.
        ("use crate::pool::both;\nfn f() { both() }", "pool/both: both"),
        ("fn f() { for x in 0..crate::pool::S {} }", "pool/flat: S"),
        // An item that a macro makes belongs to the module it is asked of.
        ("use crate::pool::from_a_macro;", "pool: from_a_macro"),
        // A re-export that its own file uses.
        ("pub use crate::pool::Tool;\nstruct Mine(Tool);", "pool/deep: Spade"),
        ("pub use crate::pool::deep::water;\nfn f() { water() }", "pool/deep/well: water"),
        // The code after an item for tests is no test.
        ("#[cfg(test)]\nfn t(x: (), y: ()) {}\nuse crate::pool::T;", "pool: T"),
        ("struct S { #[cfg(test)] t: u8, x: crate::pool::T }", "pool: T"),
        ("#[cfg(not(test))]\nuse crate::pool::T;", "pool: T"),
    ] {
        assert_eq!(edges_of(text).first().map(String::as_str), Some(to), "{text}");
    }
}

#[test]
fn a_module_a_re_export_and_a_test_are_no_edges() {
    for text in [
        "use crate::pool;",
        "use crate::pool::deep::{self, well};",
        "pub use crate::pool::Tool;",
        "pub use crate::pool::Flat::*;",
        "pub(crate) use crate::pool::{Flat, deep::water};",
        "use std::pool::T; fn f(pool: u8) { pool.water(); x.pool }",
        "pub use crate::pool::deep::water; fn f(water: u8) { self.water(); water + 1 }",
        "pub(in crate::pool) fn f<'pool>() {} // crate::pool::T",
        "#[cfg(test)] mod tests { use super::*; use crate::pool::T; fn f() { crate::pool::T } }",
        "#[cfg(test)]\n#[derive(Debug)]\npub(super) fn t(x: (), y: crate::pool::T) { x }",
        "#[cfg(test)] fn t<A, B>(x: crate::pool::T) {}",
        "#[cfg(test)] use crate::pool::{T, Tool};",
        "#[cfg(test)] use crate::pool as std;\nfn f() { std::T }",
        "#[cfg(all(test, unix))] impl X { fn f() { crate::pool::T } }",
        "struct S { #[cfg(test)] t: crate::pool::T, x: u8 }",
    ] {
        assert_eq!(edges_of(text), [""; 0], "{text}");
    }
}

#[test]
fn a_file_for_tests_and_all_below_it_may_name_everything() {
    let found = breaches(&[
        ("node", "#[cfg(test)]\nmod tests;\npub fn near() {}"),
        ("node/tests", "mod far; use super::near; use crate::pool::T;"),
        ("node/tests/far", "use super::super::near; use crate::discovery;"),
        ("harness", "use crate::picker;"),
    ]);
    assert_eq!(found, [""; 0]);
}

//! The map in `src/lib.rs` is true: this holds every file to its room.
//!
//! A room is a module of `lib.rs`, and the order of the `pub mod` lines there is the order of the
//! rooms, lowest first. A file names only its own room and lower ones, no two files need each other,
//! a crate with a strong opinion stands in one room, and the pure parts name no clock, no randomness
//! and no I/O. `tables` holds the lists of crates and of pure parts.
//!
//! ```text
//! PICLUSTER_FLOORS=edges cargo test --test it floors -- --nocapture
//! ```
//!
//! prints each use of one room by another, and the circles; a path in place of `edges`, as
//! `proxy` or `proxy/relay`, prints each edge between files that begins or ends below it.
//! `PICLUSTER_FLOORS_SRC` names another folder to look at in place of `src`.

mod circles;
mod made_up;
mod picture;
mod rules;
mod scan;
mod tables;
mod tree;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[test]
fn every_file_keeps_to_its_room() {
    let src = env::var_os("PICLUSTER_FLOORS_SRC")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), PathBuf::from);
    let mut files = BTreeMap::new();
    read_all(&src, "", &mut files);
    assert!(files.len() > 30, "only {} files under {}", files.len(), src.display());
    if let Ok(wanted) = env::var("PICLUSTER_FLOORS") {
        println!("{}", picture::picture(&files, &wanted));
    }
    let violations = rules::violations(&files, &tables::LAW);
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

//! The release binary, as people get it: its size and its demo. These tests do not build it: they take
//! the file that `cargo build --release` left.

use std::fs;
use std::path::{Path, PathBuf};

use crate::demo;
use crate::lab::{say, unavailable};

/// 4.5 MB is the project's bound, because most of the memory that an idle program occupies are its
/// own pages. The binary had 4.43 MB when the bound was set, so that it grows only by decision: a
/// change that needs more saves it elsewhere, or raises the bound and gives its reason here.
const BINARY_BYTES_MAX: u64 = 4_500_000;

/// The release binary, beside the folder of the one that all other tests use. Its absence is reported
/// in one line; with `CI` set that is a failure.
fn binary() -> Option<PathBuf> {
    let profiles = Path::new(env!("CARGO_BIN_EXE_picluster")).ancestors().nth(2)?;
    let binary = profiles.join("release/picluster");
    if !binary.exists() {
        let path = binary.display();
        unavailable(&format!("release: NOT CHECKED, no {path}: run cargo build --release"));
        return None;
    }
    Some(binary)
}

#[test]
#[ignore = "slow tier: needs the release binary"]
fn the_binary_is_at_most_four_and_a_half_megabytes() {
    let Some(binary) = binary() else { return };
    let bytes = fs::metadata(binary).expect("it exists").len();
    say(&format!("release: the binary has {bytes} bytes (bar: {BINARY_BYTES_MAX})"));
    assert!(bytes <= BINARY_BYTES_MAX, "{bytes} bytes");
}

#[test]
#[ignore = "slow tier: needs the release binary"]
fn the_demo_keeps_its_promise() {
    let Some(binary) = binary() else { return };
    demo::keeps_its_promise(&binary);
}

//! The checks of the fuzz targets, for the kept inputs: seeds, and inputs that the fuzzer found.

use std::fs;
use std::path::Path;

#[expect(unreachable_pub, reason = "it is the library of the fuzz package, taken in as a module")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

/// Runs a check for each file of a target's corpus.
fn replay(target: &str, check: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 10, "the corpus of {target} is gone");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let held = std::panic::catch_unwind(|| check(&bytes)).is_ok();
        assert!(held, "{} breaks what the panic before this says", file.display());
    }
}

#[test]
fn requests_that_are_kept_hold() {
    replay("request", fuzz::request::check);
}

#[test]
fn answers_that_are_kept_hold() {
    replay("response", fuzz::response::check);
}

#[test]
fn chunked_bodies_that_are_kept_hold() {
    replay("chunked", fuzz::chunked::check);
}

#[test]
fn hyper_and_httparse_read_what_is_kept_as_we_do() {
    replay("differential", fuzz::differential::check);
}

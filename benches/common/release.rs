//! Builds the binary that users have, so that the benchmarks measure that one. The binary that
//! cargo builds beside a benchmark also has the features that only tests need (tokio then looks at
//! a test's clock before its own, which is a twentieth of a request's instructions).

use std::process::Command;

use crate::lab;

/// Returns the script that a shell of the lab runs first, so that it starts this binary instead of
/// the lab's.
pub(crate) fn instead(binary: &str) -> String {
    format!("shift\nset -- {binary} \"$@\"\n")
}

/// Builds the binary where the lab looks for it. Returns `false` after it has printed the reason if
/// it cannot.
pub(crate) fn build() -> bool {
    if cfg!(debug_assertions) {
        lab::say("this is a debug build, its figures would mean nothing: use `cargo bench`");
        return false;
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--bin", "picluster"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    let is_built = built.as_ref().is_ok_and(std::process::ExitStatus::success);
    if !is_built {
        lab::say(&format!("the release build failed: {built:?}"));
    }
    is_built
}

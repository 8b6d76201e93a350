//! The measured binary is the one that users have. The binary that cargo builds beside a benchmark
//! also has the features that only tests need: with them tokio looks at a test's clock before its
//! own, which is a twentieth of a request's instructions.

use std::process::Command;

use crate::lab;

/// The script of a shell that starts a program of the lab, so that it starts this binary instead.
pub(crate) fn instead(binary: &str) -> String {
    format!("shift\nset -- {binary} \"$@\"\n")
}

/// Builds the binary at the place where the lab looks for it.
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

//! Counts the instructions and the system calls of a proxied request. A busy machine does not
//! change counts as it changes times, so these are the figures to compare from commit to commit.
//!
//! ```text
//! cargo bench --bench instructions                        this commit
//! cargo bench --bench instructions -- --binary PATH       another binary; may be repeated
//! cargo bench --bench instructions -- --profile           also the functions they are spent in
//! cargo bench --bench instructions -- get                 the course whose name contains the word
//! ```
//!
//! The release binary `picluster lb --workers 1` runs under callgrind, its nodes do not, in the
//! network namespaces of the integration tests' lab (`tests/it/lab.rs`). One client sends one
//! request after the other over a kept connection, first some and then five times as many. The
//! difference of the two counts, divided by the difference of the requests, contains nothing of the
//! start and of connecting. Each thread has a count of its own, so that the worker's count contains
//! nothing of discovery. The count of all other threads stands beside their count for the same time
//! without requests.
//!
//! It needs the Debian packages `valgrind` and `strace`. It does not count the kernel's
//! instructions; that part follows the number of system calls.

#[path = "../../tests/it"]
mod it {
    #[expect(
        dead_code,
        unused_imports,
        reason = "the lab is made for the tests, which use all of it"
    )]
    pub(crate) mod lab;
}

mod asker;
mod callgrind;
mod calls;
mod course;
#[path = "../common/node.rs"]
mod node;
#[path = "../common/release.rs"]
mod release;
#[path = "../common/spread.rs"]
mod spread;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use it::lab;
use lab::Lab;

use course::{COURSES, Course};

struct Options {
    binaries: Vec<String>,
    profile: bool,
    words: Vec<String>,
}

fn main() -> ExitCode {
    if lab::run_program() || asker::run_if_asked() || node::run_if_asked() {
        return ExitCode::SUCCESS;
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            lab::say(&error);
            return ExitCode::FAILURE;
        }
    };
    if !release::build() {
        return ExitCode::FAILURE;
    }
    let missing = ["valgrind", "vgdb", "strace"];
    let missing: Vec<_> = missing.into_iter().filter(|tool| !lab::is_installed(tool)).collect();
    if !missing.is_empty() {
        lab::unavailable(&format!("NOT MEASURED: not installed: {}", missing.join(", ")));
        return ExitCode::SUCCESS;
    }
    for binary in &options.binaries {
        lab::say(&format!("\n{binary}"));
        for course in COURSES.iter().filter(|course| options.want(course)) {
            let Some(lab) = Lab::new(course.name) else { return ExitCode::SUCCESS };
            let counted = callgrind::count(&lab, binary, course, options.profile);
            let Some(lab) = Lab::new(course.name) else { return ExitCode::SUCCESS };
            let called = calls::count(&lab, binary, course);
            lab::say(&format!("  {}\n{counted}{called}", course.title));
        }
    }
    ExitCode::SUCCESS
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { binaries: Vec::new(), profile: false, words: Vec::new() };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo adds this flag itself.
                "--bench" => {}
                "--binary" => options.binaries.push(args.next().ok_or("--binary needs a path")?),
                "--profile" => options.profile = true,
                flag if flag.starts_with("--") => return Err(format!("there is no {flag}")),
                _ => options.words.push(arg),
            }
        }
        if options.binaries.is_empty() {
            let ours = env!("CARGO_BIN_EXE_picluster");
            let ours = if options.profile { with_names(Path::new(ours))? } else { ours.into() };
            options.binaries.push(ours.to_string_lossy().into_owned());
        }
        Ok(options)
    }

    fn want(&self, course: &Course) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| course.name.contains(word.as_str()))
    }
}

/// Builds the same program with the names of its functions, which the release profile strips. It
/// has a target directory of its own beside the other, so that neither build makes the other one
/// start anew.
fn with_names(ours: &Path) -> Result<PathBuf, String> {
    let target = ours.ancestors().nth(2).expect("target/release/picluster").join("with-names");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--bin", "picluster", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")
        .status();
    match status {
        Ok(status) if status.success() => Ok(target.join("release/picluster")),
        Ok(status) => Err(format!("cargo could not build it with names: {status}")),
        Err(error) => Err(format!("cargo does not run: {error}")),
    }
}

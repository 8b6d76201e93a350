//! The cost of a proxied request in instructions and in system calls. They are counted and not
//! timed, so a busy machine does not move them, and they can be compared from commit to commit.
//!
//! ```text
//! cargo bench --bench instructions                        this commit
//! cargo bench --bench instructions -- --binary PATH       another binary, so often as it is given
//! cargo bench --bench instructions -- --profile           also which functions they are spent in
//! cargo bench --bench instructions -- get                 the course whose name holds the word
//! ```
//!
//! The release binary `picluster lb --workers 1` runs under callgrind, in the network namespaces of
//! the integration tests' lab (`tests/it/lab.rs`); its nodes run without it. One client sends one
//! request after the other over a kept connection, first some and then five times as many. The
//! difference of the two counts, divided by the difference of the requests, contains nothing of the
//! start and of the connecting. Each thread has its own count, so that the worker's count is free
//! of the discovery's work. A second figure shows the instructions that all other threads would
//! have executed in that time without any request.
//!
//! It needs the Debian packages `valgrind` and `strace`. The kernel's instructions are not counted;
//! its part is proportional to the system calls.

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
                // Cargo adds this argument itself.
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

/// The same build with the names of its functions, which the release profile strips. It lies in its
/// own target directory, so that neither build makes cargo rebuild the other.
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

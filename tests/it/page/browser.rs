//! A real browser: headless Chromium, driven by `tests/browser/driver.mjs`. The packages that this
//! driver needs from npm are installed once, beside a copy of it in the target directory.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};

use crate::lab::{PATH, Pi, Pipes, is_installed, unavailable};

/// The commands that must be installed, with Debian's packages.
const TOOLS: [(&str, &str); 3] = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// Long enough for the cold start of a browser on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Browser {
    pipes: Mutex<Pipes>,
    /// Present outside of a lab only; a lab ends its programs itself.
    child: Option<Child>,
}

impl Browser {
    /// Starts a browser on a Pi of a lab. `None`, with a printed line, where there is no browser.
    pub(super) fn on(pi: &Pi) -> Option<Self> {
        let driver = driver()?;
        let (_, pipes) = pi.start_spoken_with(&argv(driver), &ENVIRONMENT);
        Some(Self::ready(pipes, None))
    }

    /// Starts a browser on this machine.
    pub(super) fn here() -> Option<Self> {
        let argv = argv(driver()?);
        let mut child = Command::new(argv[0])
            .args(&argv[1..])
            .envs(ENVIRONMENT.into_iter().filter(|(name, _)| *name == "CHROMIUM"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed");
        let stdin: ChildStdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A receiver that is gone has all that it wanted.
                let _ = line.strip_prefix("@lab ").map(|line| sender.send(line.to_owned()));
            }
        });
        Some(Self::ready((stdin, lines), Some(child)))
    }

    fn ready(pipes: Pipes, child: Option<Child>) -> Self {
        assert_eq!(pipes.1.recv_timeout(PATIENCE).as_deref(), Ok("\"ready\""), "Chromium starts");
        Self { pipes: Mutex::new(pipes), child }
    }

    /// Runs a piece of script in the driver; it must succeed. `page` is Playwright's page that was
    /// opened last, and `the` holds the functions of the driver.
    #[track_caller]
    pub(super) fn run(&self, script: &str) -> Value {
        let mut pipes = self.pipes.lock().expect("one test, one browser");
        writeln!(pipes.0, "{}", json!(script)).expect("the browser runs");
        let answer = pipes.1.recv_timeout(PATIENCE).expect("the browser answers");
        let mut answer: Value = serde_json::from_str(&answer).expect("the driver writes JSON");
        assert!(answer["error"].is_null(), "{script}\n{}", answer["error"].as_str().unwrap_or(""));
        answer["value"].take()
    }

    /// Opens a page in a new tab that shares nothing with earlier tabs. The options are
    /// Playwright's.
    #[track_caller]
    pub(super) fn open(&self, url: &str, options: &Value) {
        self.run(&format!("await the.open({}, {options})", json!(url)));
    }

    /// Waits until an expression holds in the page.
    #[track_caller]
    pub(super) fn wait_until(&self, holds: &str) {
        self.run(&format!("await the.until({})", json!(holds)));
    }

    /// The text under this selector, as a person reads it.
    #[track_caller]
    pub(super) fn text(&self, selector: &str) -> String {
        let text = self.run(&format!("return await page.innerText({})", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Saves a picture of the whole page among the artefacts of the run.
    #[track_caller]
    pub(super) fn photograph(&self, name: &str) {
        let path = target().join("screenshots").join(format!("{name}.png"));
        self.run(&format!("await page.screenshot({{ path: {}, fullPage: true }})", json!(path)));
    }

    /// Checks that the console has nothing of note, that no other host was asked, that the page has
    /// no barrier for anybody, and that it does not scroll sideways.
    #[track_caller]
    pub(super) fn assert_in_order(&self, origin: &str) {
        assert_eq!(self.run("return the.errors"), json!([]));
        for url in self.run("return [...the.requests]").as_array().expect("an array") {
            let url = url.as_str().expect("a text");
            assert!(url.starts_with(origin) || url.starts_with("data:"), "{url} was asked for");
        }
        assert_eq!(self.run("return await the.barriers()"), json!([]));
        let wide = "const { scrollWidth, clientWidth } = document.documentElement; \
                    return scrollWidth - clientWidth";
        let over = self.run(&format!("return await page.evaluate(() => {{ {wide} }})"));
        assert_eq!(over, 0, "the page is wider than the screen");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The pipe closes only after this, so the browser is asked to end here.
            let _ = self.pipes.get_mut().map(|pipes| writeln!(pipes.0, "\"process.exit()\""));
            let _ = child.wait();
        }
    }
}

/// Programs of a lab have no home, and may write only to `/run`.
const ENVIRONMENT: [(&str, &str); 3] =
    [("CHROMIUM", "/usr/bin/chromium"), ("HOME", "/run"), ("TMPDIR", "/run")];

fn argv(driver: &Path) -> [&str; 2] {
    ["node", driver.to_str().expect("the project's path is UTF-8")]
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target directory")
}

/// The driver with all that it needs. `None`, with a printed line, if that cannot be had.
fn driver() -> Option<&'static Path> {
    static DRIVER: OnceLock<Option<PathBuf>> = OnceLock::new();
    DRIVER.get_or_init(|| install().map_err(|why| unavailable(&why)).ok()).as_deref()
}

fn install() -> Result<PathBuf, String> {
    for (tool, package) in TOOLS {
        if !is_installed(tool) {
            return Err(format!("page: NOT RUN, {tool} is missing: apt-get install {package}"));
        }
    }
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let to = target().join("browser");
    let copy = |name: &str| fs::copy(from.join(name), to.join(name)).map(drop);
    fs::create_dir_all(to.join("node_modules")).expect("the target directory is ours");
    let lock = fs::read(from.join("package-lock.json")).expect("it is beside this test");
    let installed = to.join("node_modules/installed-lock.json");
    copy("driver.mjs").expect("the target directory is ours");
    if fs::read(&installed).is_ok_and(|before| before == lock) {
        return Ok(to.join("driver.mjs"));
    }
    copy("package.json").and_then(|()| copy("package-lock.json")).expect("they are there");
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&to)
        .env("PATH", PATH)
        .output();
    match npm {
        Ok(output) if output.status.success() => {
            fs::write(installed, lock).expect("the target directory is ours");
            Ok(to.join("driver.mjs"))
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default();
            Err(format!("page: NOT RUN, `npm ci` in tests/browser failed: {last}"))
        }
        Err(error) => Err(format!("page: NOT RUN, npm does not start: {error}")),
    }
}

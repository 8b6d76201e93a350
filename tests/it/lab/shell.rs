//! The lab's first process: a shell in new user, network, mount and PID namespaces that takes
//! commands from a pipe. It ends with the pipe, and all programs of the lab end with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use super::lock;

/// Debian keeps `ip`, `nft` and `avahi-daemon` out of an ordinary user's path.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The set-up has a fresh `/sys`, because every namespace would show the host's interfaces without
/// it; its own `/run`, for `ip netns` and the daemons; one machine id for all, as on Pis flashed
/// from one card; no name server, so that a look-up fails at once and not after the host's
/// time-out; and root as Avahi's user, because this user namespace has no other user.
const SETUP: &str = "
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t tmpfs tmpfs /run
    mkdir /run/pi
    echo 0123456789abcdef0123456789abcdef > /run/machine-id
    : > /run/resolv.conf
    sed 's|^avahi:.*|avahi:x:0:0::/:/bin/sh|' /etc/passwd > /run/passwd
    sed 's|^avahi:.*|avahi:x:0:|' /etc/group > /run/group
    for file in machine-id resolv.conf passwd group
    do if [ -e /etc/$file ]; then mount --bind /run/$file /etc/$file; fi; done
    ip link set lo up
    ip link add lan type bridge mcast_snooping 0
    ip addr add 10.77.0.254/24 dev lan
    ip link set lan up
    command -v hostname nsenter";

/// Completes a Pi after `ip netns exec`: its hostname, its `/run`. It reports the PID first. The
/// outer shell stays as the parent, because `nsenter` stops itself when its child is stopped.
const PI: &str = r#"
    hostname "$1" && mount --bind "/run/pi/$2" /run || exit 97
    shift 2
    sh -c 'echo "@lab pid $$" >&2; exec "$@"' sh "$@"
    exit $?"#;

pub(crate) struct Shell {
    holder: u32,
    conversation: Mutex<Option<Conversation>>,
}

struct Conversation {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    pub(super) fn open() -> Result<Self, String> {
        Self::open_as(&["--user", "--map-root-user"], SETUP)
    }

    /// Opens a shell whose root is the machine's own root, and which runs this set-up instead of a
    /// lab's.
    pub(crate) fn of_root(setup: &str) -> Result<Self, String> {
        Self::open_as(&[], setup)
    }

    fn open_as(user: &[&str], setup: &str) -> Result<Self, String> {
        let mut child = Command::new("unshare")
            .args(user)
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--", "sh"])
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let (commands, answers) = (child.stdin.take(), child.stdout.take());
        let mut conversation = Conversation {
            commands: commands.expect("stdin is piped"),
            answers: BufReader::new(answers.expect("stdout is piped")),
            child,
        };
        match conversation.run(setup) {
            Ok(_) => Ok(Self {
                holder: conversation.child.id(),
                conversation: Mutex::new(Some(conversation)),
            }),
            Err(answer) => Err(conversation.last_words(&answer)),
        }
    }

    pub(super) fn holder(&self) -> u32 {
        self.holder
    }

    /// Runs a script as the lab's root, on the bridge's side; the script must succeed.
    pub(crate) fn run(&self, script: &str) -> String {
        let mut conversation = lock(&self.conversation);
        let conversation = conversation.as_mut().expect("the lab is open");
        match conversation.run(script) {
            Ok(answer) => answer,
            Err(answer) => panic!("the lab could not run\n{script}\n{answer}"),
        }
    }

    /// The command for a program on a Pi. The child is `nsenter`; it ends as the program does.
    pub(super) fn command(&self, pi: &str, hostname: &str, argv: &[String]) -> Command {
        let ns = |option: &str, file: &str| format!("--{option}=/proc/{}/ns/{file}", self.holder);
        let mut command = Command::new("nsenter");
        command
            .args([ns("user", "user"), ns("mount", "mnt"), ns("net", "net")])
            .args([&ns("pid", "pid_for_children"), "--preserve-credentials", "--"])
            .args(["ip", "netns", "exec", pi, "unshare", "--uts", "--"])
            .args(["sh", "-c", PI, "sh", hostname, pi])
            .args(argv)
            .env_clear()
            .env("PATH", PATH);
        command
    }

    /// Ends the lab. Its first process is killed, and the kernel ends and reaps all others before
    /// that process counts as gone.
    pub(crate) fn close(&self) {
        if let Some(mut conversation) = lock(&self.conversation).take() {
            let _ = conversation.child.kill();
            let _ = conversation.child.wait();
        }
    }
}

impl Conversation {
    fn run(&mut self, script: &str) -> Result<String, String> {
        let wrapped =
            format!("( set -e\n{script}\n) </dev/null 2>&1; code=$?; echo; echo \"@done $code\"\n");
        let sent = self.commands.write_all(wrapped.as_bytes());
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            match self.answers.read_line(&mut line) {
                Ok(n) if n > 0 && sent.is_ok() => {}
                _ => return Err(answer),
            }
            match line.trim_end().strip_prefix("@done ") {
                Some("0") => return Ok(answer),
                Some(_) => return Err(answer),
                None => answer += &line,
            }
        }
    }

    /// The reason why the lab could not be set up, as one line.
    fn last_words(mut self, answer: &str) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut words = answer.to_owned();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut words);
        }
        let line = words.lines().map(str::trim).find(|line| !line.is_empty());
        line.unwrap_or("unshare ended without a word").to_owned()
    }
}

/// Returns whether a tool is installed.
pub(crate) fn is_installed(tool: &str) -> bool {
    PATH.split(':').any(|dir| Path::new(dir).join(tool).exists())
}

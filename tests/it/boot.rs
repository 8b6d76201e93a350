//! Three machines from one card, booted for real: systemd, Avahi, our units as they are shipped.
//! Each machine has its own network namespace on one LAN.
//!
//! `systemd-nspawn` boots them from a root that `debootstrap` makes once and that no machine
//! changes. It needs the machine's own root user: a container in a user namespace cannot start
//! units like ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Shell, is_installed, pause, say, unavailable};

/// A machine that boots beside two others takes a while. systemd ends a hung program after 10 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time without a listener while a balancer restarts.
const REFUSED_MAX: Duration = Duration::from_secs(5);

/// The longest wait for the end of their control groups; after it the groups stay.
const GROUPS_END: Duration = Duration::from_secs(10);

const PIS: [&str; 3] = ["1", "2", "3"];

const TOOLS: [&str; 6] = ["systemd-nspawn", "debootstrap", "curl", "ip", "nsenter", "unshare"];

const PACKAGES: &str = "systemd,systemd-sysv,dbus,avahi-daemon,libnss-mdns,iproute2,curl";

/// A LAN of three. All files lie under `/run`, so that `/tmp` can be the machines' own. So nothing
/// stays behind there, whatever ends the machines.
const SETUP: &str = r#"
    mount -t proc proc /proc
    mkdir -p /run
    mount -t tmpfs tmpfs /run
    mkdir /run/root /run/systemd /run/units
    mount --bind "@root" /run/root
    mount --bind "@units" /run/units
    cp "@binary" /run/picluster
    mount -t tmpfs tmpfs /tmp
    ip link set lo up
    ip link add lan type bridge mcast_snooping 0
    ip addr add 10.77.0.254/24 dev lan
    ip link set lan up
    for n in 1 2 3
    do
        ip netns add pi$n
        ip link add v$n type veth peer name eth0 netns pi$n
        ip link set v$n master lan up
        ip -n pi$n link set lo up
        ip -n pi$n link set eth0 up
        ip -n pi$n addr add 10.77.0.$n/24 brd + dev eth0
    done"#;

const BOOT: &str = r#"
    for n in 1 2 3
    do
        (
            for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
            do
                if [ -e $hierarchy/cgroup.procs ]
                then
                    mkdir -p $hierarchy/@group/pi$n
                    echo 0 >$hierarchy/@group/pi$n/cgroup.procs
                fi
            done
            exec systemd-nspawn --quiet --directory=/run/root --boot --volatile=overlay \
                --register=no --keep-unit --machine=pi$n --hostname=raspberrypi \
                --network-namespace-path=/run/netns/pi$n \
                --bind-ro=/run/picluster:/usr/bin/picluster \
                --bind-ro=/run/units/picluster-web.service:/usr/lib/systemd/system/picluster-web.service \
                --bind-ro=/run/units/picluster-lb.service:/usr/lib/systemd/system/picluster-lb.service \
                --bind-ro=/run/units/picluster.default:/etc/default/picluster
        ) </dev/null >/run/pi$n.log 2>&1 &
        echo $! >/run/pi$n.pid
    done"#;

/// A client that GETs over a new connection each time and repeats nothing. It writes one line for
/// each: the time of its end, its status and curl's exit code.
const LOAD: &str = r#"
    set +e
    while [ ! -e /run/enough ]
    do
        status=$(curl -s -o /dev/null -m 10 -w '%{http_code}' http://10.77.0.1/)
        echo "$(date +%s%3N) $status $?"
    done </dev/null >/run/load 2>&1 &"#;

/// The three machines, running. Dropping this ends them all.
struct Site(Shell);

#[test]
#[ignore = "boots three machines as root: takes minutes"]
fn three_machines_from_one_card_outlive_stops_kills_and_hangs() {
    let Some(site) = Site::boot() else { return };
    for pi in PIS {
        site.on(pi, "systemctl enable --now --quiet picluster-web");
    }
    site.on("1", "systemctl enable --now --quiet picluster-lb");
    let names = site.wait_for_nodes(3);
    assert!(names.iter().all(|name| name.starts_with("raspberrypi-")), "{names:?}");
    site.wait_until("systemctl status tells of them", || {
        let status = site.on("1", "systemctl show --value --property=StatusText picluster-lb");
        status.trim() == "3 nodes up; 0 req/s"
    });

    let load = site.load();
    site.on("2", "systemctl stop picluster-web");
    site.wait_for_nodes(2);
    site.on("2", "systemctl start picluster-web");
    site.wait_for_nodes(3);
    site.on("3", "systemctl restart picluster-web");
    site.wait_for_restart("3", 0);
    site.on("2", "systemctl kill --signal=KILL picluster-web");
    site.wait_for_restart("2", 1);
    site.on("3", "systemctl kill --signal=STOP picluster-web");
    let hung = Instant::now();
    site.wait_for_restart("3", 1);
    say(&format!("lab boot: a hung node is back after {:?} (bar: 15 s)", hung.elapsed()));
    let log = site.on("3", "journalctl --no-pager --unit=picluster-web");
    assert!(log.contains("Watchdog timeout"), "{log}");
    load.stop(|answers| assert!(answers.iter().all(Answer::is_good), "{answers:#?}"));

    // A balancer is one address: while it restarts, nobody listens there. Every accepted connection
    // gets its answer.
    let load = site.load();
    site.on("1", "systemctl restart picluster-lb");
    site.wait_for_nodes(3);
    load.stop(|answers| {
        let odd = answers.iter().find(|answer| !answer.is_good() && !answer.is_refused());
        assert!(odd.is_none(), "{odd:?}");
        let refused = refused_for(answers);
        say(&format!("lab boot: a restart of the balancer refuses for {refused:?} (bar: 2 s)"));
        assert!(refused < REFUSED_MAX, "{refused:?}");
    });
    for (signal, restarts) in [("KILL", 1), ("STOP", 2)] {
        site.on("1", &format!("systemctl kill --signal={signal} picluster-lb"));
        site.wait_until(&format!("the balancer is back after SIG{signal}"), || {
            site.restarts("1", "picluster-lb") == restarts && site.nodes().is_some()
        });
        site.wait_for_nodes(3);
        site.load().stop(|answers| assert!(answers.iter().all(Answer::is_good), "{answers:#?}"));
    }
}

impl Site {
    /// Boots the machines and waits until each is up, or reports why that cannot be done here.
    fn boot() -> Option<Self> {
        match Self::try_boot() {
            Ok(site) => Some(site),
            Err(why) => {
                unavailable(&format!("lab boot: NOT RUN, no machines can be booted here: {why}"));
                None
            }
        }
    }

    fn try_boot() -> Result<Self, String> {
        if !rustix::process::getuid().is_root() {
            return Err("only root can".to_owned());
        }
        if let Some(tool) = TOOLS.into_iter().find(|tool| !is_installed(tool)) {
            return Err(format!("{tool} is not installed"));
        }
        let setup = SETUP
            .replace("@root", &root()?.display().to_string())
            .replace("@units", concat!(env!("CARGO_MANIFEST_DIR"), "/systemd"))
            .replace("@binary", env!("CARGO_BIN_EXE_picluster"));
        let site = Self(Shell::of_root(&setup)?);
        site.0.run(&BOOT.replace("@group", &group()));
        let began = Instant::now();
        for pi in PIS {
            // `degraded` means that a unit failed which is none of ours: a container has no
            // hardware to set up.
            while !["running", "degraded"].contains(&site.state(pi).trim()) {
                let ended = site.0.run(&format!("kill -0 $(cat /run/pi{pi}.pid) || echo ended"));
                if ended.contains("ended") || began.elapsed() > PATIENCE {
                    let log = site.0.run(&format!("tail -n 5 /run/pi{pi}.log"));
                    return Err(log.trim().replace('\n', "; "));
                }
                pause(Duration::from_millis(200));
            }
        }
        say(&format!("lab boot: three machines are up after {:?}", began.elapsed()));
        Ok(site)
    }

    fn state(&self, pi: &str) -> String {
        self.on(pi, "systemctl is-system-running 2>/dev/null || true")
    }

    /// Runs a script on a machine; it must succeed. The output is empty while the machine has not
    /// begun.
    fn on(&self, pi: &str, script: &str) -> String {
        self.0.run(&format!(
            "pid=$(cat /run/pi{pi}.pid)
            init=$(cat /proc/$pid/task/$pid/children 2>/dev/null || true)
            case $init in *[0-9]*) nsenter --target ${{init%% *}} --all -- sh -c '{script}';; esac"
        ))
    }

    /// The balancer's document of nodes, if it answers.
    fn nodes(&self) -> Option<Value> {
        let asked = self.0.run("curl -s -m 2 http://10.77.0.1:7070/api/v1/nodes || true");
        serde_json::from_str(&asked).ok()
    }

    /// Waits until exactly `count` nodes are known and all are up. Returns their names.
    fn wait_for_nodes(&self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        self.wait_until(&format!("{count} nodes are up"), || {
            let known = self.nodes();
            let nodes = known.as_ref().and_then(|known| known["nodes"].as_array());
            let Some(nodes) = nodes else { return false };
            names = nodes.iter().map(|node| node["name"].to_string().replace('"', "")).collect();
            nodes.len() == count && nodes.iter().all(|node| node["state"] == "up")
        });
        names
    }

    /// Waits until systemd has restarted a machine's node this many times, and all nodes are up.
    fn wait_for_restart(&self, pi: &str, restarts: u32) {
        let again = || self.restarts(pi, "picluster-web") == restarts;
        self.wait_until(&format!("restart {restarts} of the node on {pi}"), again);
        self.wait_for_nodes(3);
    }

    fn restarts(&self, pi: &str, unit: &str) -> u32 {
        let told = self.on(pi, &format!("systemctl show --value --property=NRestarts {unit}"));
        told.trim().parse().unwrap_or(u32::MAX)
    }

    #[track_caller]
    fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            if began.elapsed() > PATIENCE {
                for pi in PIS {
                    say(&self.on(pi, "journalctl --no-pager --unit=picluster-* --lines=40"));
                }
                panic!("waited {PATIENCE:?} until {what}; known is {:#?}", self.nodes());
            }
            pause(Duration::from_millis(100));
        }
    }

    fn load(&self) -> Load<'_> {
        self.0.run(&format!("rm -f /run/enough /run/load\n{LOAD}\necho $! >/run/load.pid"));
        Load(self)
    }
}

impl Drop for Site {
    /// The control groups stay until the machines have ended, which is after our shell.
    fn drop(&mut self) {
        self.0.close();
        let began = Instant::now();
        while groups().any(|group| group.exists()) && began.elapsed() < GROUPS_END {
            for group in groups() {
                let emptied = ["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"];
                let _ = Command::new("find").arg(group).args(emptied).output();
            }
            pause(Duration::from_millis(100));
        }
    }
}

/// The name of the machines' control groups. Two machines in one group would take each other's
/// processes for their own.
fn group() -> String {
    format!("picluster-boot-{}", std::process::id())
}

/// The paths of the groups, one in each hierarchy; the machine decides which hierarchies exist.
fn groups() -> impl Iterator<Item = PathBuf> {
    let hierarchies = ["", "systemd", "unified"];
    hierarchies.map(|name| Path::new("/sys/fs/cgroup").join(name).join(group())).into_iter()
}

/// A client that asks all the time.
struct Load<'a>(&'a Site);

/// The outcome of one GET.
#[derive(Debug)]
struct Answer {
    at_ms: u64,
    status: u32,
    exit: u32,
}

impl Answer {
    fn is_good(&self) -> bool {
        self.status == 200
    }

    /// Returns whether nobody listened.
    fn is_refused(&self) -> bool {
        self.exit == 7
    }
}

impl Load<'_> {
    /// Ends the client after some more GETs, and passes all outcomes to `look`.
    fn stop(self, look: impl FnOnce(&[Answer])) {
        let answers = || -> Vec<Answer> {
            let lines = self.0.0.run("cat /run/load");
            lines.lines().filter_map(answer).collect()
        };
        let enough = answers().len() + 20;
        self.0.wait_until("some more requests are answered", || answers().len() >= enough);
        self.0.0.run("touch /run/enough");
        self.0.wait_until("the last request of the load is over", || {
            let state = "kill -0 $(cat /run/load.pid) 2>/dev/null && echo runs || true";
            !self.0.0.run(state).contains("runs")
        });
        let answers = answers();
        say(&format!("lab boot: {} GETs", answers.len()));
        look(&answers);
    }
}

fn answer(line: &str) -> Option<Answer> {
    let mut numbers = line.split(' ').map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Answer {
        at_ms: next()?,
        status: u32::try_from(next()?).ok()?,
        exit: u32::try_from(next()?).ok()?,
    })
}

/// The time from the last good answer before a refusal to the first good one after it.
fn refused_for(answers: &[Answer]) -> Duration {
    let Some(first) = answers.iter().position(Answer::is_refused) else { return Duration::ZERO };
    let last = answers.iter().rposition(Answer::is_refused).unwrap_or(first);
    let began = answers[first.saturating_sub(1)].at_ms;
    let ended = answers.get(last + 1).unwrap_or(&answers[last]).at_ms;
    Duration::from_millis(ended - began)
}

/// The root of the machines. It has this machine's own release, because the binary was linked here.
/// It is made once, and no machine writes to it.
fn root() -> Result<PathBuf, String> {
    let os = fs::read_to_string("/etc/os-release").map_err(|error| error.to_string())?;
    let release = os.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release = release.ok_or("this is no Debian")?;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (root, new) = (dir.join(format!("boot-{release}")), dir.join("boot-new"));
    if root.exists() {
        return Ok(root);
    }
    let began = Instant::now();
    let _ = fs::remove_dir_all(&new);
    let made = Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), release])
        .arg(&new)
        .output()
        .map_err(|error| error.to_string())?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        return Err(format!("debootstrap: {}", said.trim().lines().last().unwrap_or_default()));
    }
    // The same in all three, as after flashing one card three times.
    let one_card =
        [("hostname", "raspberrypi\n"), ("machine-id", "0123456789abcdef0123456789abcdef\n")];
    for (file, text) in one_card {
        fs::write(new.join("etc").join(file), text).map_err(|error| error.to_string())?;
    }
    fs::rename(&new, &root).map_err(|error| error.to_string())?;
    say(&format!("lab boot: a root was made in {:?}", began.elapsed()));
    Ok(root)
}

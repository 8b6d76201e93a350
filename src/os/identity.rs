//! The identity of this machine: the stable hardware id, the boot, the hostname and the default name.
//! Found once at start; nothing is ever written, because a file on a card is cloned with the card.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::cluster::node::{Boot, NodeId, printable};

/// The characters of a node id: 65 bits, enough that no two of a million Pis meet.
const ID_CHARS: usize = 13;

/// The longest name, so that it fits a DNS label; `-` and six characters of it are the id's.
const NAME_CHARS_MAX: usize = 63;

/// The role of a process; two roles on one machine have two ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It serves requests.
    Web,
    /// It balances them.
    Lb,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Lb => "lb",
        }
    }
}

/// The place where the seed of the ids was found; the order is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The serial number in the board's device tree: it is the board, whatever card is in it.
    Serial,
    /// The permanent MAC address of the first physical network interface.
    Mac,
    /// Any MAC address together with the machine-id: virtual machines and containers. Neither
    /// alone would do, cards are cloned with the machine-id and bridges share their MACs.
    MacAndMachineId,
    /// No hardware was found: the kernel's random value for this boot, with the network namespace.
    /// The processes of one machine agree on it, so a balancer without any network knows its own nodes.
    Boot,
    /// Nothing was found: the id lasts as long as this process.
    Random,
}

/// The secret that distinguishes this machine from every other. It has no `Debug` and is never shown: a
/// serial number or a MAC address on the network would be a lasting name for its owner. Only the ids
/// derived from it are shown.
#[derive(Clone)]
pub struct Hardware {
    seed: Vec<u8>,
    origin: Origin,
}

impl Hardware {
    /// Looks at this machine. Reads a few small files, blocks for well under a millisecond.
    pub fn find() -> Self {
        Self::find_under(Path::new("/"))
    }

    /// As [`Hardware::find`], with every path under `root`.
    fn find_under(root: &Path) -> Self {
        let found = |origin, seed: &str| Self { seed: seed.as_bytes().to_vec(), origin };
        if let Some(serial) = serial(root) {
            return found(Origin::Serial, &serial);
        }
        let nics = nics(root);
        if let Some(nic) = nics.iter().find(|nic| nic.physical && nic.assign_type == 0) {
            return found(Origin::Mac, &nic.mac);
        }
        // A randomly assigned MAC (1) may differ after the next boot: the others first.
        let steadiest = nics.iter().min_by_key(|nic| nic.assign_type == 1);
        if let (Some(nic), Some(machine)) = (steadiest, read(root, "etc/machine-id")) {
            return found(Origin::MacAndMachineId, &format!("{} {machine}", nic.mac));
        }
        let namespace = fs::read_link(root.join("proc/self/ns/net"));
        if let (Some(boot), Ok(namespace)) =
            (read(root, "proc/sys/kernel/random/boot_id"), namespace)
        {
            return found(Origin::Boot, &format!("{boot} {}", namespace.display()));
        }
        found(Origin::Random, &format!("{:016x}{:016x}", random(), random()))
    }

    /// The place where the seed was found.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The id of the process of this role that serves on `port`. Role and port are mixed in, so that
    /// two processes on one Pi differ.
    pub fn node_id(&self, role: Role, port: u16) -> NodeId {
        #[expect(clippy::expect_used, reason = "see the message")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.seed).expect("HMAC takes any key length");
        mac.update(format!("picluster/1 {} {port}", role.as_str()).as_bytes());
        let mut text = BASE32_NOPAD.encode(&mac.finalize().into_bytes());
        text.truncate(ID_CHARS);
        text.make_ascii_lowercase();
        #[expect(clippy::expect_used, reason = "see the message")]
        NodeId::new(&text).expect("lower case base32 is a legal id")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serial => "board serial number",
            Self::Mac => "permanent MAC address",
            Self::MacAndMachineId => "MAC address and machine-id",
            Self::Boot => "random, for this boot",
            Self::Random => "random, for this run",
        })
    }
}

/// The id of a process: `given` (`PICLUSTER_ID`) is the whole id and stands for whatever role and port
/// the process has; else it is derived from the hardware.
pub fn node_id(hardware: &Hardware, given: Option<&NodeId>, role: Role, port: u16) -> NodeId {
    given.cloned().unwrap_or_else(|| hardware.node_id(role, port))
}

/// A random number for this start of the process.
pub fn boot() -> Boot {
    Boot(random())
}

/// The hostname of this machine: 1 to 63 visible ASCII characters; others become `-`, so that it fits a
/// header.
pub fn hostname() -> String {
    sanitise(&gethostname::gethostname().to_string_lossy())
}

/// The name of a node without a name of its own: `<hostname>-<first 6 of id>`, for example
/// `raspberrypi-b2fkq7`. At most 63 characters; the hostname is cut.
pub fn default_name(hostname: &str, id: &NodeId) -> String {
    let mut name = sanitise(hostname);
    name.truncate(NAME_CHARS_MAX - 1 - id.short().len());
    format!("{name}-{}", id.short())
}

fn sanitise(hostname: &str) -> String {
    match printable(hostname.trim(), NAME_CHARS_MAX) {
        empty if empty.is_empty() => "unnamed".to_owned(),
        name => name,
    }
}

/// 64 bits from the operating system. The keys of `RandomState` come from its generator; a generator
/// seeded by the clock could agree on Pis that are switched on together.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// The text of a small file without the white space and NULs around it; `None` if it is empty or missing.
fn read(root: &Path, path: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(root.join(path)).ok()?).into_owned();
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}

/// The serial number of the board. The device tree ends it with a NUL; boards without one have zeros.
fn serial(root: &Path) -> Option<String> {
    read(root, "proc/device-tree/serial-number").filter(|text| text.bytes().any(|b| b != b'0'))
}

struct Nic {
    mac: String,
    /// It has a `device`: a bus, not only the kernel, knows it.
    physical: bool,
    /// `addr_assign_type`: 0 permanent, 1 random, 2 taken from another interface, 3 set.
    assign_type: u8,
}

/// The interfaces of this network namespace that have a MAC address, by name.
///
/// `/sys` may be another namespace's (a container that did not mount its own): it then shows interfaces
/// that `/proc/self/net/dev`, which is always ours, does not. Then even the entries with our names may
/// describe another machine, as every namespace has an `eth0`, and none of them is taken.
fn nics(root: &Path) -> Vec<Nic> {
    let ours: BTreeSet<String> = read(root, "proc/self/net/dev")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.trim().to_owned()))
        .collect();
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten() {
        // `bonding_masters` lies there too and is a file.
        if !entry.path().is_dir() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if !ours.contains(&name) {
            return Vec::new();
        }
        seen.insert(name, entry.path());
    }
    let nic = |dir: &Path| {
        Some(Nic {
            mac: read(dir, "address").filter(|mac| mac.bytes().any(|b| b != b'0' && b != b':'))?,
            physical: dir.join("device").exists(),
            assign_type: read(dir, "addr_assign_type").and_then(|v| v.parse().ok()).unwrap_or(1),
        })
    };
    seen.values().filter_map(|dir| nic(dir)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A root directory with the files of a machine; gone when dropped.
    struct Machine(PathBuf);

    impl Machine {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let root =
                std::env::temp_dir().join(format!("picluster-id-{}-{n}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            Self(root).file("proc/self/net/dev", "Inter-| Receive\n face |bytes\n    lo: 0 0\n")
        }

        fn file(self, path: &str, text: &str) -> Self {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn serial(self, text: &str) -> Self {
            self.file("proc/device-tree/serial-number", text)
        }

        fn machine_id(self) -> Self {
            self.file("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        }

        /// An interface in `/sys` alone.
        fn sysfs(self, name: &str, mac: &str, assign_type: u8, physical: bool) -> Self {
            let dir = format!("sys/class/net/{name}");
            let machine = self
                .file(&format!("{dir}/address"), &format!("{mac}\n"))
                .file(&format!("{dir}/addr_assign_type"), &format!("{assign_type}\n"));
            if physical { machine.file(&format!("{dir}/device/uevent"), "") } else { machine }
        }

        /// An interface that this namespace shows.
        fn nic(self, name: &str, mac: &str, assign_type: u8, physical: bool) -> Self {
            let dev = fs::read_to_string(self.0.join("proc/self/net/dev")).unwrap();
            self.file("proc/self/net/dev", &format!("{dev}  {name}: 0 0\n")).sysfs(
                name,
                mac,
                assign_type,
                physical,
            )
        }

        fn find(&self) -> Hardware {
            Hardware::find_under(&self.0)
        }

        fn id(&self) -> NodeId {
            self.find().node_id(Role::Web, 8080)
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_serial_number_comes_first_and_its_nul_is_no_part_of_it() {
        let pi = Machine::new().serial("10000000abcdef01\0").nic("eth0", "b8:27:eb:1:2:3", 0, true);
        assert_eq!(pi.find().origin(), Origin::Serial);
        assert_eq!(pi.id(), Machine::new().serial("10000000abcdef01").id());
    }

    #[test]
    fn an_empty_or_all_zero_serial_number_is_refused() {
        for serial in ["", "\0", "0000000000000000\0", " \n"] {
            let pi = Machine::new().serial(serial).nic("eth0", "b8:27:eb:01:02:03", 0, true);
            assert_eq!(pi.find().origin(), Origin::Mac, "{serial:?}");
        }
    }

    #[test]
    fn the_first_physical_interface_with_a_permanent_mac_is_taken() {
        let pi = Machine::new()
            .nic("docker0", "02:42:00:00:00:01", 0, false)
            .nic("dongle0", "aa:aa:aa:aa:aa:aa", 1, true)
            .nic("wlan0", "b8:27:eb:00:00:02", 0, true)
            .nic("eth0", "b8:27:eb:00:00:01", 0, true)
            .file("sys/class/net/bonding_masters", "");
        assert_eq!(pi.find().origin(), Origin::Mac);
        assert_eq!(pi.id(), Machine::new().nic("eth0", "b8:27:eb:00:00:01", 0, true).id());
    }

    #[test]
    fn machines_cloned_with_their_machine_id_differ_by_mac() {
        let clone = |mac| Machine::new().machine_id().nic("eth0", mac, 1, false);
        assert_eq!(clone("02:00:00:00:00:01").find().origin(), Origin::MacAndMachineId);
        assert_eq!(clone("02:00:00:00:00:01").id(), clone("02:00:00:00:00:01").id());
        assert_ne!(clone("02:00:00:00:00:01").id(), clone("02:00:00:00:00:02").id());
    }

    #[test]
    fn without_a_real_mac_the_id_is_random_and_never_the_machine_id_alone() {
        let bare = || Machine::new().machine_id().nic("lo", "00:00:00:00:00:00", 0, false);
        assert_eq!(bare().find().origin(), Origin::Random);
        assert_ne!(bare().id(), bare().id());
    }

    #[test]
    fn without_any_hardware_the_processes_of_one_boot_and_namespace_agree() {
        let bare = |boot: &str, namespace: &str| {
            let machine = Machine::new().machine_id().file("proc/sys/kernel/random/boot_id", boot);
            fs::create_dir_all(machine.0.join("proc/self/ns")).unwrap();
            std::os::unix::fs::symlink(namespace, machine.0.join("proc/self/ns/net")).unwrap();
            assert_eq!(machine.find().origin(), Origin::Boot);
            machine.id()
        };
        let id = bare("5d3e", "net:[1]");
        assert_eq!(id, bare("5d3e", "net:[1]"));
        assert_ne!(id, bare("5d3e", "net:[2]"));
        assert_ne!(id, bare("77aa", "net:[1]"));
    }

    #[test]
    fn a_sysfs_of_another_network_namespace_is_not_believed() {
        let container = Machine::new()
            .machine_id()
            .nic("eth0", "b8:27:eb:00:00:01", 0, true)
            .sysfs("wlan0", "b8:27:eb:00:00:02", 0, true);
        assert_eq!(container.find().origin(), Origin::Random);
    }

    #[test]
    fn an_id_is_13_characters_of_base32_and_mixes_role_and_port() {
        let hardware = Machine::new().serial("10000000abcdef01").find();
        let id = hardware.node_id(Role::Web, 8080);
        assert_eq!(id.as_str().len(), 13);
        assert!(id.as_str().bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')), "{id}");
        assert_ne!(id, hardware.node_id(Role::Web, 8081));
        assert_ne!(id, hardware.node_id(Role::Lb, 8080));
        // Ids must outlive updates: this one may never change.
        assert_eq!(id.as_str(), "thzexzalciwa3");
    }

    #[test]
    fn a_given_id_is_the_whole_id() {
        let hardware = Machine::new().find();
        let given = NodeId::new("blue").unwrap();
        assert_eq!(node_id(&hardware, Some(&given), Role::Lb, 80), given);
        assert_eq!(node_id(&hardware, None, Role::Lb, 80), hardware.node_id(Role::Lb, 80));
    }

    #[test]
    fn a_default_name_is_legal_whatever_the_hostname() {
        let id = NodeId::new("b2fkq7abcdefg").unwrap();
        assert_eq!(default_name("raspberrypi", &id), "raspberrypi-b2fkq7");
        assert_eq!(default_name("", &id), "unnamed-b2fkq7");
        assert_eq!(default_name("küche 1", &id), "k-che-1-b2fkq7");
        let long = default_name(&"x".repeat(200), &id);
        assert_eq!(long.len(), 63);
        assert!(crate::cluster::node::is_node_name(&long) && long.ends_with("-b2fkq7"));
    }

    #[test]
    fn two_starts_differ() {
        assert_ne!(boot(), boot());
    }
}

//! One Pi: a network namespace with its cable, addresses, hostname and its own `/run`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::cluster::{Balancer, Start};
use super::inside::{self, Manner, Program};
use super::load::LoadStart;
use super::process::{Pipes, Process, Spec};
use super::{PATIENCE, Site, lock, process};

/// A Pi; clones are the same Pi.
#[derive(Clone)]
pub(crate) struct Pi {
    site: Arc<Site>,
    state: Arc<State>,
}

pub(crate) struct State {
    name: String,
    /// Its number on the LAN: `10.77.0.<number>`, bridge port `v<number>`.
    number: u8,
    changing: Mutex<Changing>,
}

struct Changing {
    address: Ipv4Addr,
    has_ipv4: bool,
    hostname: String,
}

/// Counts the connections a Pi tries to open to some addresses.
pub(crate) struct Dials {
    pi: Pi,
    counter: String,
}

impl Pi {
    pub(super) fn find_or_add(site: &Arc<Site>, name: &str, number: Option<u8>) -> Self {
        let mut pis = lock(&site.pis);
        let known = pis.iter().find(|state| state.name == name).map(Arc::clone);
        let state = known.unwrap_or_else(|| {
            let number = number.unwrap_or_else(|| next_number(&pis));
            let state = Arc::new(State::new(name, number));
            site.shell.run(&state.script());
            pis.push(Arc::clone(&state));
            state
        });
        Self { site: Arc::clone(site), state }
    }

    pub(super) fn site(&self) -> &Arc<Site> {
        &self.site
    }

    pub(super) fn remember(&self, process: &Arc<process::State>) {
        lock(&self.site.processes).push(Arc::clone(process));
    }

    pub(super) fn command(&self, argv: &[String]) -> Command {
        let hostname = lock(&self.state.changing).hostname.clone();
        self.site.shell.command(&self.state.name, &hostname, argv)
    }

    /// The name in the scenario; the Pi itself does not know it.
    pub(crate) fn name(&self) -> &str {
        &self.state.name
    }

    /// Its present IPv4 address, or its last one.
    pub(crate) fn address(&self) -> Ipv4Addr {
        lock(&self.state.changing).address
    }

    /// The address for clients: IPv4, or the unique local IPv6 address where there is no IPv4.
    pub(crate) fn ip(&self) -> IpAddr {
        let changing = lock(&self.state.changing);
        let ula = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, self.state.number.into());
        if changing.has_ipv4 { changing.address.into() } else { ula.into() }
    }

    /// Sets the hostname for the programs that start from now on; the default is `raspberrypi`.
    pub(crate) fn hostname(self, hostname: &str) -> Self {
        lock(&self.state.changing).hostname = hostname.to_owned();
        self
    }

    /// `picluster web` on port 8080.
    pub(crate) fn web(&self) -> Start<Process> {
        Start::new(self, "web", 8080)
    }

    /// `picluster lb` on port 80, with its admin port 7070.
    pub(crate) fn lb(&self) -> Start<Balancer> {
        Start::new(self, "lb", 80)
    }

    /// `picluster demo` with its balancer and three nodes.
    pub(crate) fn demo(&self) -> Start<Process> {
        Start::new(self, "demo", 0)
    }

    /// Clients on this Pi that GET a URL over and over.
    pub(crate) fn load(&self, url: &str) -> LoadStart {
        LoadStart::new(self, url)
    }

    /// Starts a small web server that is not ours; it serves when this returns.
    pub(crate) fn greeter(&self, port: u16, text: &str) -> Process {
        let greeter = self.program(&Program::Greeter { port, text: text.to_owned() }, port);
        greeter.wait_for_log("greeter listens");
        greeter
    }

    /// Starts a server that is no good web server; it listens when this returns.
    pub(crate) fn odd_server(&self, port: u16, manner: Manner) -> Process {
        let odd = self.program(&Program::Odd { port, manner }, port);
        odd.wait_for_log("odd server listens");
        odd
    }

    /// Starts a program that holds UDP 5353 alone; it does when this returns.
    pub(crate) fn hold_5353(&self) -> Process {
        let holder = self.program(&Program::Hold5353, 0);
        holder.wait_for_log("5353 is held");
        holder
    }

    /// Starts `count` watchers of a balancer's events, which read all the time. Each has received
    /// something when this returns.
    pub(crate) fn watch(&self, admin: SocketAddr, count: usize) -> Process {
        let watchers = self.program(&Program::Watchers { admin, count }, 0);
        watchers.wait_for_log("all watch");
        watchers
    }

    /// Sends mDNS packets that no honest responder would send, until the lab ends.
    pub(crate) fn attack(&self, attack: &Program) -> Process {
        self.program(attack, 0)
    }

    fn program(&self, program: &Program, port: u16) -> Process {
        Process::start(self, Spec { port, ..inside::spec(program) })
    }

    /// Starts a helper of the lab that takes orders.
    pub(super) fn helper(&self, program: &Program) -> (Process, Pipes) {
        Process::start_piped(self, inside::spec(program))
    }

    /// Starts a helper that takes orders and serves a port.
    pub(super) fn served_helper(&self, program: &Program, port: u16) -> (Process, Pipes) {
        Process::start_piped(self, Spec { port, ..inside::spec(program) })
    }

    /// Runs a tool to its end. Returns its output.
    pub(crate) fn run(&self, argv: &[&str]) -> String {
        self.start(argv).output()
    }

    /// Types a `picluster` command. Returns its output on both streams and its exit code.
    pub(crate) fn type_in(&self, line: &str) -> (String, i32) {
        let words = [env!("CARGO_BIN_EXE_picluster")].into_iter().chain(line.split(' '));
        let typed = self.start(&words.collect::<Vec<_>>());
        let code = typed.wait_exit(PATIENCE).code;
        (typed.output(), code)
    }

    /// Starts a tool.
    pub(crate) fn start(&self, argv: &[&str]) -> Process {
        let argv = argv.iter().map(ToString::to_string).collect();
        Process::start(self, Spec { argv, ..Spec::default() })
    }

    /// Starts a tool that answers in lines that begin with `@lab `.
    pub(crate) fn start_spoken_with(
        &self,
        argv: &[&str],
        env: &[(&str, &str)],
    ) -> (Process, Pipes) {
        let argv = argv.iter().map(ToString::to_string).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let env = env.iter().map(owned).collect();
        Process::start_piped(self, Spec { argv, env, port: 0 })
    }

    /// Pulls the cable: no carrier, but the addresses stay, as in the first seconds on a real Pi.
    pub(crate) fn unplug(&self) {
        self.on_lan("ip link set @v down");
    }

    /// Plugs the cable in again.
    pub(crate) fn plug(&self) {
        self.on_lan("ip link set @v up");
    }

    /// Makes the switch forward nothing, without a word: the carrier stays.
    pub(crate) fn partition(&self) {
        self.on_lan("ip link set @v nomaster");
    }

    /// Ends [`Pi::partition`].
    pub(crate) fn heal(&self) {
        self.on_lan("ip link set @v master lan");
    }

    /// Moves to another address, as DHCP does it.
    pub(crate) fn move_to_new_address(&self) {
        self.lose_address();
        lock(&self.state.changing).address = lan(self.state.number + 100);
        self.take_address();
    }

    /// Removes the IPv4 address, as at the end of a lease.
    pub(crate) fn lose_address(&self) {
        self.on_lan("ip -n @pi -4 addr flush dev eth0");
    }

    /// Takes the present IPv4 address, as after an answer of DHCP.
    pub(crate) fn take_address(&self) {
        let address = self.address();
        self.on_lan(&format!(
            "ip -n @pi addr add {address}/24 brd + dev eth0
            ip -n @pi route add default via 10.77.0.254"
        ));
    }

    /// Adds Docker's bridge, with the same address on every machine that has one.
    pub(crate) fn add_docker0(&self) {
        self.on_lan(
            "ip -n @pi link add docker0 type bridge
            ip -n @pi addr add 172.17.0.1/16 dev docker0
            ip -n @pi link add veth1 type veth peer name veth0
            ip -n @pi link set veth1 up
            ip -n @pi link set veth0 master docker0 up
            ip -n @pi link set docker0 up",
        );
    }

    /// Adds a second interface on the same LAN, `10.77.0.<number + 50>`.
    pub(crate) fn add_wlan0(&self) {
        let address = lan(self.state.number + 50);
        self.on_lan(&format!(
            "ip link add w@n type veth peer name wlan0 netns @pi
            ip link set w@n master lan up
            ip -n @pi link set wlan0 up
            ip -n @pi addr add {address}/24 brd + dev wlan0"
        ));
    }

    /// Makes it a Pi of a LAN without IPv4: `fd77::<number>/64` and the link-local address of every
    /// interface.
    pub(crate) fn with_ipv6_only(self) -> Self {
        self.lose_address();
        lock(&self.state.changing).has_ipv4 = false;
        let ip = self.ip();
        self.on_lan(&format!("ip -n @pi addr add {ip}/64 dev eth0 nodad"));
        self
    }

    /// Leaves it only the link-local address that every interface gives itself.
    pub(crate) fn with_link_local_only(self) -> Self {
        self.lose_address();
        self
    }

    /// Takes all interfaces down, also loopback.
    pub(crate) fn all_interfaces_down(&self) {
        self.on_lan("ip -n @pi link set eth0 down\nip -n @pi link set lo down");
    }

    /// Ends [`Pi::all_interfaces_down`]. The default route was lost and is set again.
    pub(crate) fn all_interfaces_up(&self) {
        self.on_lan(
            "ip -n @pi link set lo up
            ip -n @pi link set eth0 up
            ip -n @pi route replace default via 10.77.0.254",
        );
    }

    /// Takes only the loopback interface down.
    pub(crate) fn loopback_down(&self) {
        self.on_lan("ip -n @pi link set lo down");
    }

    /// Renames the adapter `eth0`.
    pub(crate) fn rename_eth0(&self, name: &str) {
        let address = self.address();
        self.on_lan(&format!(
            "ip -n @pi link set eth0 down
            ip -n @pi link set eth0 name {name}
            ip -n @pi link set {name} up
            ip -n @pi addr replace {address}/24 brd + dev {name}
            ip -n @pi route replace default via 10.77.0.254"
        ));
    }

    /// Disables IPv6 on all interfaces.
    pub(crate) fn without_ipv6(self) -> Self {
        self.on_lan(
            "ip netns exec @pi sh -c 'for f in /proc/sys/net/ipv6/conf/*/disable_ipv6
            do if [ -e $f ]; then echo 1 > $f; fi; done'",
        );
        self
    }

    /// Counts the connections that it opens to these addresses (`a.b.c.d/n`) from now on. Needs
    /// `nft`.
    pub(crate) fn count_dials(&self, to: &str) -> Dials {
        let counter = format!("to_{}", to.replace(['.', '/'], "_"));
        self.on_lan(&format!(
            "nft() {{ ip netns exec @pi nft \"$@\"; }}
            nft add table inet lab
            nft add chain inet lab out '{{ type filter hook output priority 0; }}'
            nft add counter inet lab {counter}
            nft add rule inet lab out ip daddr {to} 'tcp flags & (syn | ack) == syn' counter name {counter}"
        ));
        Dials { pi: self.clone(), counter }
    }

    /// Runs a script on the bridge's side. `@pi`, `@v` and `@n` are the Pi's namespace, bridge port
    /// and number.
    pub(super) fn on_lan(&self, script: &str) -> String {
        self.site.shell.run(&self.state.fill(script))
    }
}

impl Dials {
    /// The count so far.
    pub(crate) fn count(&self) -> u64 {
        let listing = self
            .pi
            .on_lan(&format!("ip netns exec @pi nft list counter inet lab {}", self.counter));
        let mut words = listing.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).and_then(|n| n.parse().ok()).expect("nft prints `packets N`")
    }
}

impl State {
    fn new(name: &str, number: u8) -> Self {
        let hostname = "raspberrypi".to_owned();
        let changing = Changing { address: lan(number), has_ipv4: true, hostname };
        Self { name: name.to_owned(), number, changing: Mutex::new(changing) }
    }

    /// Switches off duplicate address detection for IPv6: it would delay each scenario by a second
    /// and show nothing.
    fn script(&self) -> String {
        self.fill(&format!(
            "mkdir /run/pi/@pi
            ip netns add @pi
            ip netns exec @pi sh -c 'f=/proc/sys/net/ipv6/conf/default/accept_dad
                if [ -e $f ]; then echo 0 > $f; fi'
            ip link add @v type veth peer name eth0 netns @pi
            ip link set @v master lan up
            ip -n @pi link set lo up
            ip -n @pi link set eth0 up
            ip -n @pi addr add {}/24 brd + dev eth0
            ip -n @pi route add default via 10.77.0.254",
            lan(self.number)
        ))
    }

    fn fill(&self, script: &str) -> String {
        let number = self.number.to_string();
        script
            .replace("@pi", &self.name)
            .replace("@v", &format!("v{number}"))
            .replace("@n", &number)
    }
}

/// Returns a number from 1 to 50. Higher numbers are second interfaces, new addresses, the client
/// and the router.
fn next_number(pis: &[Arc<State>]) -> u8 {
    let highest = pis.iter().map(|pi| pi.number).filter(|number| *number <= 50).max();
    let number = highest.unwrap_or(0) + 1;
    assert!(number <= 50, "a lab has room for 50 Pis");
    number
}

fn lan(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

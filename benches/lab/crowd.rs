//! Fifty nodes on one Pi that come within a second, and go within a second when they are asked to
//! end.
//!
//! They are real: each is the program's own web node with its own address, and leaves as that does.
//! But they share one process, and one socket speaks for all of them. Fifty processes that all hear
//! each other's mDNS would keep the machine busy, and the subject is the balancer. The process is
//! this binary, started again.

use std::ffi::OsString;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use picluster::cli::{self, Command};
use picluster::config::WebConfig;
use picluster::shutdown::{self, Trigger};
use picluster::web::Web;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::lab::{self, Advert, Pi, Process, goodbye};

/// The first argument, before the description of the crowd.
const WORD: &str = "be-a-crowd";

pub(crate) const NODES: u8 = 50;

/// The span in which they come, and in which they go.
const WITHIN: Duration = Duration::from_secs(1);

/// They say it twice, a second apart, as a real node does.
const ANNOUNCED: u32 = 2;

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);

/// Gives the Pi an address for each of them.
pub(crate) fn make_room(pi: &Pi) {
    let add = "for n in $(seq 101 150); do ip addr add 10.77.0.$n/24 dev eth0; done";
    pi.run(&["sh", "-c", add]);
}

/// Starts the crowd of a round. No node is the same as in another round. They come from now on, and
/// begin to go at SIGTERM.
pub(crate) fn start(pi: &Pi, round: usize) -> Process {
    let binary = std::env::current_exe().expect("the benchmark has a path");
    let binary = binary.to_str().expect("its path is UTF-8");
    pi.start(&[binary, WORD, &round.to_string()])
}

/// Runs the crowd if this process was started as one.
pub(crate) fn run_if_asked() -> bool {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [word, round] = &args[..] else { return false };
    if word != WORD {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the machine has room for it").block_on(come_and_go(round));
    true
}

/// A node of the crowd that serves.
struct Member {
    advert: Advert,
    end: Trigger,
}

async fn come_and_go(round: &str) {
    let (signals, mut told_to_end) = shutdown::channel();
    signals.on_signals().expect("signals can be waited for");
    // Sends from port 5353, as RFC 6762, section 6 demands of answers.
    let mdns = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, GROUP.1)).expect("nobody else is here");
    mdns.set_multicast_ttl_v4(255).expect("a socket option");
    let say = |packet: &[u8]| mdns.send_to(packet, GROUP).expect("the Pi is plugged in");

    let mut serving = JoinSet::new();
    let members: Vec<_> = (0..NODES)
        .map(|n| {
            let config = config(n, &format!("n{n:02}r{round}-crowd"));
            let web = Web::bind(&config).expect("the Pi has this address");
            let (id, boot) = (&web.identity().id, web.identity().boot);
            let mut advert = Advert::new(&format!("pc-{id}"), address(n), web.addr().port());
            advert.txt.extend([format!("id={id}"), format!("boot={boot}")]);
            let (end, ended) = shutdown::channel();
            let mdns = mdns.try_clone().expect("a file more");
            let farewell = goodbye(&advert.label);
            let goodbye = async move {
                mdns.send_to(&farewell, GROUP).expect("the Pi is plugged in");
            };
            serving.spawn(web.serve(ended, goodbye));
            Member { advert, end }
        })
        .collect();
    for _ in 0..ANNOUNCED {
        one_by_one(&members, |member| {
            say(&member.advert.packet());
        })
        .await;
    }
    told_to_end.requested().await;
    one_by_one(&members, |member| member.end.request()).await;
    while serving.join_next().await.is_some() {}
    lab::say("all are gone");
}

/// Calls the function for each of them, evenly over a second.
async fn one_by_one(members: &[Member], act: impl Fn(&Member)) {
    let began = Instant::now();
    for (n, member) in (0..).zip(members) {
        act(member);
        sleep_until((began + WITHIN * (n + 1) / u32::from(NODES)).into()).await;
    }
}

fn config(n: u8, id: &str) -> WebConfig {
    let listen = format!("{}:8080", address(n));
    let args = ["picluster", "web", "--listen", &listen].map(OsString::from);
    let env = |name: &str| (name == "PICLUSTER_ID").then(|| OsString::from(id));
    match cli::parse(args, &env).map(|invocation| invocation.command) {
        Ok(Command::Web(config)) => config,
        other => panic!("the command line of a node: {other:?}"),
    }
}

fn address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 101 + n)
}

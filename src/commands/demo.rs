//! `picluster demo`: a balancer and a few named nodes on this machine, as real processes that find
//! each other by real mDNS, and what to try with them.
//!
//! Nothing outlives it, whatever ends it: the children hold the other end of a pipe as their
//! standard input and end with it, so even `kill -9` of this process reaches them. Stopping them is
//! the same act: the pipes are closed, and a child that still runs five seconds later is killed.
//!
//! stdout gets one line, the URL, for scripts; all other text goes to stderr. Either may be closed.

mod children;
mod ready;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};

use self::children::Children;
use crate::os::shutdown::Shutdown;
use crate::os::terminal::say;

/// The most nodes of a demo: there are no more names.
pub const NODES_MAX: usize = NAMES.len();

/// The time in which all nodes have to serve. They take about two seconds.
const READY: Duration = Duration::from_secs(15);

/// The time in which the children have to end. A node says goodbye and lingers for about two seconds.
const STOP: Duration = Duration::from_secs(5);

/// The most starts of the balancer. It is started anew if another program took its port: the port is
/// found free here and bound there, a moment later.
const BALANCER_STARTS_MAX: u32 = 3;

/// The balancer's exit code when it cannot bind its port.
const UNAVAILABLE: i32 = 69;

const BALANCER: &str = "balancer";

const NAMES: [&str; 16] = [
    "ada", "grace", "linus", "alan", "hedy", "dennis", "radia", "ken", "barbara", "tim",
    "margaret", "edsger", "annie", "niklaus", "joan", "guido",
];

/// `picluster demo`.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// The number of nodes, 1 to [`NODES_MAX`]. Default 3.
    pub nodes: usize,
    /// Shows the logs of the children.
    pub verbose: bool,
}

/// Runs the demo until a stop is requested or the balancer dies.
///
/// # Errors
/// When not every node serves in time, a child dies before that, or the balancer dies later; each
/// with the last log lines of the children concerned.
///
/// ## Cancel safety
/// Dropped midway it kills the children.
pub async fn run(config: DemoConfig, mut shutdown: Shutdown) -> anyhow::Result<()> {
    let mut children = Children::new(config.verbose)?;
    let played = tokio::select! {
        played = play(&config, &mut children) => played,
        () = shutdown.requested() => {
            say("stopping...");
            Ok(())
        }
    };
    children.stop(STOP).await;
    played
}

async fn play(config: &DemoConfig, children: &mut Children) -> anyhow::Result<()> {
    let names = &NAMES[..config.nodes];
    say(&format!("starting a balancer and {}...", nodes(names.len())));
    let mut addresses = start_balancer(children)?;
    for name in names {
        children.start(name, &["web", "--listen", "127.0.0.1:0", "--name", name])?;
    }
    all_serve(config, children, &mut addresses).await?;
    print_instructions(children, names, &addresses);
    watch(children).await
}

/// The addresses at which the balancer listens.
struct Addresses {
    requests: SocketAddr,
    admin: SocketAddr,
}

fn start_balancer(children: &mut Children) -> anyhow::Result<Addresses> {
    let addresses = free_addresses().context("failed to find a free port")?;
    let [listen, admin] = [addresses.requests.to_string(), addresses.admin.to_string()];
    children.start(BALANCER, &["lb", "--listen", &listen, "--admin", &admin, "--no-claim-name"])?;
    Ok(addresses)
}

/// Two free ports, held both at once so that they differ.
fn free_addresses() -> io::Result<Addresses> {
    let [requests, admin] = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
    ];
    Ok(Addresses { requests: requests.local_addr()?, admin: admin.local_addr()? })
}

/// Waits until the balancer would send requests to every node.
async fn all_serve(
    config: &DemoConfig,
    children: &mut Children,
    addresses: &mut Addresses,
) -> anyhow::Result<()> {
    let deadline = tokio::time::sleep(READY);
    tokio::pin!(deadline);
    let (mut starts, mut up) = (1, 0);
    while up < config.nodes {
        tokio::select! {
            (name, status) = children.ended() => {
                if name == BALANCER && status.code() == Some(UNAVAILABLE) && starts < BALANCER_STARTS_MAX {
                    starts += 1;
                    *addresses = start_balancer(children)?;
                    continue;
                }
                let why = describe(status);
                bail!("{name} {why} before all were ready{}", children.last_lines(&[&name]));
            }
            count = ready::nodes_up(addresses.admin) => up = count,
            () = &mut deadline => bail!(
                "only {up} of {} served after {} s{}",
                nodes(config.nodes), READY.as_secs(), children.last_lines(&[])
            ),
        }
    }
    Ok(())
}

/// Prints the URL for scripts, then for people the processes and what to try with them.
fn print_instructions(children: &Children, names: &[&str], addresses: &Addresses) {
    let Addresses { requests, admin } = addresses;
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "http://{requests}/").and_then(|()| stdout.flush());
    let is = if names.len() == 1 { "is" } else { "are" };
    say(&format!("\nA balancer and {} {is} running on this machine:\n", nodes(names.len())));
    for name in [BALANCER].iter().chain(names) {
        say(&format!("  {name:<10} pid {}", children.pid(name)));
    }
    say(&format!(
        "
Try in another terminal, or in a browser:

  for i in 1 2 3 4 5 6; do curl -s http://{requests}/; done
      the nodes answer in turn

  http://{admin}/
      the balancer's own page: what it knows of every node, and why"
    ));
    if let [victim, _, ..] = names {
        say(&format!(
            "
  kill -9 {}
      {victim} is gone; run the loop again: the others answer, no request fails",
            children.pid(victim)
        ));
    }
    say("\nCtrl-C ends all.\n");
}

/// Reports the nodes that end, until the balancer ends.
async fn watch(children: &mut Children) -> anyhow::Result<()> {
    loop {
        let (name, status) = children.ended().await;
        let (pid, why) = (children.pid(&name), describe(status));
        if name == BALANCER {
            bail!("the balancer (pid {pid}) {why}{}", children.last_lines(&[BALANCER]));
        }
        // The nodes: all children but the balancer.
        let rest = match children.running() - 1 {
            0 => "no node is left, requests now get a 503; Ctrl-C ends the demo".to_owned(),
            1 => "the other one goes on".to_owned(),
            rest => format!("the other {rest} go on"),
        };
        say(&format!("{name} (pid {pid}) is gone, it {why}: {rest}"));
    }
}

fn nodes(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// The end of a process in words that follow its name: "exited with code 1".
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(9)) => "was killed by SIGKILL".to_owned(),
        (None, Some(15)) => "was killed by SIGTERM".to_owned(),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_node_has_a_legal_name_of_its_own() {
        assert!(NAMES.iter().all(|name| crate::cluster::node::is_node_name(name)));
        assert_eq!(NAMES.iter().chain([&BALANCER]).collect::<HashSet<_>>().len(), NODES_MAX + 1);
    }

    #[test]
    fn two_free_addresses_differ() {
        let addresses = free_addresses().unwrap();
        assert_ne!(addresses.requests, addresses.admin);
    }

    #[test]
    fn an_end_is_reported_by_its_cause() {
        for (raw, text) in [
            (0x0100, "exited with code 1"),
            (9, "was killed by SIGKILL"),
            (6, "was killed by signal 6"),
        ] {
            assert_eq!(describe(ExitStatus::from_raw(raw)), text);
        }
    }
}

//! `picluster drain` and `picluster undrain`: takes a node out of the rotation, and puts it back, without
//! stopping it. It is this Pi's own node at every balancer, or any node at this Pi's balancer.

use std::net::SocketAddr;

use crate::cluster::api::DrainView;
use crate::cluster::health::Health;
use crate::cluster::protocol::{DRAIN_PATH, NODES_PATH, ReportedState, UNDRAIN_PATH};
use crate::commands::ask::{self, Unanswered};
use crate::commands::survey::{Unavailable, sentence};
use crate::os::terminal::say;

/// The node to drain or to undrain.
#[derive(Clone, Debug)]
pub struct DrainConfig {
    /// The node, and the program to ask.
    pub target: DrainTarget,
    /// True to drain it, false to end that.
    pub drain: bool,
}

/// A node, and the address of the program that drains it.
#[derive(Clone, Debug)]
pub enum DrainTarget {
    /// The node of this machine, which listens here.
    OwnNode(SocketAddr),
    /// A node by its name or id, at the balancer of this machine, whose admin port is here.
    AtBalancer(SocketAddr, String),
}

/// Drains or undrains the node, and prints what that means.
///
/// # Errors
/// No program answers (an [`Unavailable`] inside), or it refuses.
pub async fn run(config: DrainConfig) -> anyhow::Result<()> {
    let DrainConfig { target, drain } = config;
    let verb = if drain { "drain" } else { "undrain" };
    let (at, path) = match &target {
        DrainTarget::OwnNode(node) => {
            (*node, if drain { DRAIN_PATH } else { UNDRAIN_PATH }.to_owned())
        }
        DrainTarget::AtBalancer(admin, node) => {
            (*admin, format!("{NODES_PATH}/{}/{verb}", escaped(node)))
        }
    };
    let answer = ask::post(at, &path).await.map_err(|why| no_answer(&target, at, verb, &why))?;
    let text = String::from_utf8_lossy(&answer.body);
    match (answer.status, serde_json::from_str::<DrainView>(&text)) {
        (200, Ok(done)) => {
            say(&done_sentence(&target, drain, &done));
            Ok(())
        }
        // A refusal is a sentence. A server without this path answers "not found", or with a page: it
        // is another program, or another version.
        (403 | 404 | 503, _) if answer.body.len() < 20_000 && !text.contains("not found") => {
            anyhow::bail!("{}", sentence(text.trim_end()))
        }
        (status, _) => anyhow::bail!(
            "what answers on {at} knows no {verb} (status {status}): is it picluster, and of this \
             version?"
        ),
    }
}

fn no_answer(target: &DrainTarget, at: SocketAddr, verb: &str, why: &Unanswered) -> Unavailable {
    Unavailable(match target {
        DrainTarget::OwnNode(_) => format!(
            "no node of this machine answers on {at}: {why}; is `picluster web` running here? \
             --port names its port, and `picluster {verb} NODE` on the balancer's machine does it \
             at that balancer"
        ),
        DrainTarget::AtBalancer(..) => format!(
            "no balancer of this machine answers on {at}: {why}; type this on the machine of \
             `picluster lb` (--admin names its page), or `picluster {verb}` on the node's own"
        ),
    })
}

fn done_sentence(target: &DrainTarget, drain: bool, done: &DrainView) -> String {
    let (name, state, why) = (sentence(&done.name), sentence(&done.state), sentence(&done.why));
    match (target, drain) {
        (DrainTarget::OwnNode(_), true) => format!(
            "{name} is draining: within 1.5 s every balancer sends new requests elsewhere.\n\
             What runs is finished. `picluster undrain` takes it back, a restart does too."
        ),
        (DrainTarget::OwnNode(_), false) if state == ReportedState::Draining.as_str() => {
            format!("{name} is about to stop; it is back once it is started again.")
        }
        (DrainTarget::OwnNode(_), false) => {
            format!("{name} serves again: every balancer hears of it within 1.5 s.")
        }
        (DrainTarget::AtBalancer(..), true) => format!(
            "{name} gets no new requests from this balancer; what runs is finished.\n\
             `picluster undrain {name}` takes it back, a restart of the balancer does too."
        ),
        (DrainTarget::AtBalancer(..), false) if state == Health::Up.as_str() => {
            format!("{name} gets requests from this balancer again.")
        }
        (DrainTarget::AtBalancer(..), false) => {
            format!("{name} is no longer drained here; it is {state}: {why}")
        }
    }
}

/// A name as one segment of a path.
fn escaped(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let escape = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_part_of_a_path() {
        assert_eq!(escaped("pi-4.a_b~"), "pi-4.a_b~");
        assert_eq!(escaped("a/b?c#d%e"), "a%2Fb%3Fc%23d%25e");
    }
}

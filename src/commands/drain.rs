//! `picluster drain` and `picluster undrain`: takes a node out of the rotation, and back, without
//! stopping it. This Pi's own node at every balancer, or any node at this Pi's balancer.

use std::net::SocketAddr;

use hyper::Method;

use crate::cluster::api::DrainView;
use crate::cluster::health::Health;
use crate::cluster::protocol::{DRAIN_PATH, NODES_PATH, ReportedState, UNDRAIN_PATH};
use crate::commands::ask::ask;
use crate::commands::survey::{Unavailable, sentence};
use crate::os::terminal::say;

/// What to drain, or to take back.
#[derive(Clone, Debug)]
pub struct DrainConfig {
    /// Which node.
    pub whose: Whose,
    /// To drain it, or to end that.
    pub drain: bool,
}

/// Which node, and whom to tell.
#[derive(Clone, Debug)]
pub enum Whose {
    /// The node of this machine that serves here.
    Own(SocketAddr),
    /// A node by its name or id, at the balancer whose page is here.
    At(SocketAddr, String),
}

/// Does it, and says what that means.
///
/// # Errors
/// Nobody answers (an [`Unavailable`] inside), or it was refused.
pub async fn run(config: DrainConfig) -> anyhow::Result<()> {
    let DrainConfig { whose, drain } = config;
    let verb = if drain { "drain" } else { "undrain" };
    let (at, path) = match &whose {
        Whose::Own(node) => (*node, if drain { DRAIN_PATH } else { UNDRAIN_PATH }.to_owned()),
        Whose::At(admin, node) => (*admin, format!("{NODES_PATH}/{}/{verb}", escaped(node))),
    };
    let answer = ask(at, Method::POST, &path).await.map_err(|why| {
        Unavailable(match whose {
            Whose::Own(_) => format!(
                "no node of this machine answers on {at}: {why}; is `picluster web` running here? \
                 --port says where, and `picluster {verb} NODE` on the balancer's machine tells \
                 that balancer"
            ),
            Whose::At(..) => format!(
                "no balancer of this machine answers on {at}: {why}; type this on the machine of \
                 `picluster lb` (--admin says where its page is), or `picluster {verb}` on the \
                 node's own"
            ),
        })
    })?;
    let text = String::from_utf8_lossy(&answer.body);
    match (answer.status, serde_json::from_str::<DrainView>(&text)) {
        (200, Ok(done)) => {
            say(&told(&whose, drain, &done));
            Ok(())
        }
        // A sentence of a picluster of this version.
        (403 | 404 | 503, _) if answer.body.len() < 20_000 && !text.contains("not found") => {
            anyhow::bail!("{}", sentence(text.trim_end()))
        }
        (status, _) => anyhow::bail!(
            "what answers on {at} knows no {verb} (status {status}): is it picluster, and of this \
             version?"
        ),
    }
}

fn told(whose: &Whose, drain: bool, done: &DrainView) -> String {
    let (name, state, why) = (sentence(&done.name), sentence(&done.state), sentence(&done.why));
    match (whose, drain) {
        (Whose::Own(_), true) => format!(
            "{name} is draining: within 1.5 s every balancer sends new requests elsewhere.\n\
             What runs is finished. `picluster undrain` takes it back, a restart does too."
        ),
        (Whose::Own(_), false) if state == ReportedState::Draining.as_str() => {
            format!("{name} is about to stop; it is back once it is started again.")
        }
        (Whose::Own(_), false) => {
            format!("{name} serves again: every balancer hears of it within 1.5 s.")
        }
        (Whose::At(..), true) => format!(
            "{name} gets no new requests from this balancer; what runs is finished.\n\
             `picluster undrain {name}` takes it back, a restart of the balancer does too."
        ),
        (Whose::At(..), false) if state == Health::Up.as_str() => {
            format!("{name} gets requests from this balancer again.")
        }
        (Whose::At(..), false) => {
            format!("{name} is no longer drained here; it is {state}: {why}")
        }
    }
}

/// A name as a part of a path.
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

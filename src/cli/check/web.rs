//! The flags of `picluster web`, checked: each setting's default and range.

use super::serves;
use super::sources::{Sources, joined};
use crate::cli::flags;
use crate::cli::invocation::{Command, Invocation};
use crate::cli::values::{Env, Given, Refusal};
use crate::cluster::config::{self, WebConfig};
use crate::cluster::node::Offer;
use crate::cluster::node::offer::TXT_BYTES_MAX;

/// Checks `picluster web`.
pub(crate) fn web(raw: flags::Web, env: Env<'_>) -> Result<Invocation, Refusal> {
    let sources = Sources { role: "WEB", env };
    let id = sources.common("id", raw.common.id.clone())?;
    let listen = sources.own("listen", raw.listen)?;
    let config = WebConfig {
        serves: serves::check(&sources, raw.serves, listen.is_none())?,
        listen: listen.map_or(Ok(config::any(8080)), Given::address)?,
        name: sources.common("name", raw.name)?.map(Given::node_name).transpose()?,
        id: id.map(Given::id).transpose()?,
        drain: sources.drain(&raw.common)?,
        offer: offer(&sources, raw.offer)?,
        discovery: sources.discovery(&raw.common)?,
    };
    sources.invocation(Command::Web(config), raw.common)
}

fn offer(sources: &Sources<'_>, raw: flags::Offer) -> Result<Offer, Refusal> {
    let path = sources.own("path", raw.path)?.map(Given::path).transpose()?;
    let strip = sources.own_switch("strip", raw.strip)?;
    if strip && path.as_ref().is_none_or(|path| path == "/") {
        return Err(Refusal(
            "--strip needs a path to cut off; add --path, for example --path /blog".to_owned(),
        ));
    }
    let default = Offer::default();
    let service = sources.own("service", raw.service)?;
    let hosts = sources.own("host", joined(&raw.host))?;
    let weight = sources.own("weight", raw.weight)?.map(Given::weight).transpose()?;
    let offer = Offer {
        service: service.map_or(Ok(default.service), Given::service_name)?,
        hosts: hosts.map_or(Ok(default.hosts), Given::hosts)?,
        path: path.unwrap_or(default.path),
        strip,
        weight: weight.unwrap_or(default.weight),
        balance: sources.own("balance", raw.balance)?.map(Given::balance).transpose()?,
        forward: sources
            .own("forward-fields", raw.forward_fields)?
            .map_or(Ok(default.forward), Given::forward_fields)?,
    };
    let bytes = offer.txt_bytes();
    if bytes > TXT_BYTES_MAX {
        return Err(Refusal(format!(
            "--service, --host and --path together are too long for an advertisement: {bytes} \
             bytes of {TXT_BYTES_MAX}; give fewer or shorter hosts"
        )));
    }
    Ok(offer)
}

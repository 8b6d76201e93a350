//! The content of a web node, checked: its name, an application, or a folder, and only one of them.

use std::net::IpAddr;
use std::path::PathBuf;

use super::sources::Sources;
use crate::cli::flags;
use crate::cli::values::{Given, Refusal};
use crate::cluster::config::{AppConfig, AppHealth, DirConfig, Serves};
use crate::cluster::node::is_path;

/// Checks the flags about the content. `any_control_port`: there was no `--listen`.
pub(super) fn check(
    sources: &Sources<'_>,
    raw: flags::Serves,
    any_control_port: bool,
) -> Result<Serves, Refusal> {
    if raw.command.first().is_some_and(|program| program.trim().is_empty()) {
        let fix = "write what starts the application, for example -- node server.js";
        return Err(Refusal(format!("there is no command behind --; {fix}")));
    }
    // A content that was typed replaces one of the environment, with all variables about that.
    let typed = Sources { env: &|_| None, ..*sources };
    let is_app = raw.app.is_some() || raw.exec.is_some() || !raw.command.is_empty();
    let of_app = if raw.dir.is_some() { &typed } else { sources };
    let of_dir = if is_app { &typed } else { sources };
    let app = of_app.own("app", raw.app)?;
    let dir = of_dir.own("dir", raw.dir)?;
    let health = of_app.own("health", raw.health)?;
    let front = of_app.own_switch("front", raw.front)?;
    let follow_symlinks = of_dir.own_switch("follow-symlinks", raw.follow_symlinks)?;
    // A command that was typed replaces one of the environment.
    let exec = match (raw.command.is_empty(), raw.exec) {
        (false, Some(_)) => return Err(both("--exec", "-- COMMAND")),
        (false, None) => None,
        (true, exec) => of_app.own("exec", exec)?,
    };

    if let Some(dir) = dir {
        let of_command = (!raw.command.is_empty()).then_some("a command");
        if let Some(other) = app.as_ref().or(exec.as_ref()).map(Given::key).or(of_command) {
            return Err(both(dir.key(), other));
        }
        for (given, flag) in [(health.is_some(), "--health"), (front, "--front")] {
            if given {
                return Err(Refusal(format!(
                    "{flag} is about an application; leave it out beside --dir"
                )));
            }
        }
        return Ok(Serves::Dir(DirConfig { folder: PathBuf::from(dir.text()), follow_symlinks }));
    }
    if follow_symlinks {
        return Err(Refusal(
            "--follow-symlinks is about the files of a folder; add --dir".to_owned(),
        ));
    }
    let command = exec.map_or(Ok(raw.command), Given::words)?;
    if app.is_none() && command.is_empty() {
        for (given, flag) in [(health.is_some(), "--health"), (front, "--front")] {
            if given {
                let fix = "say which one with --app :3000, or -- COMMAND";
                return Err(Refusal(format!("{flag} is about an application; {fix}")));
            }
        }
        return Ok(Serves::Name);
    }
    let (ip, port) = app.as_ref().map(application).transpose()?.unzip();
    Ok(Serves::App(AppConfig {
        ip: ip.flatten(),
        port,
        health: health.as_ref().map_or(Ok(AppHealth::Path("/".to_owned())), how_to_ask)?,
        command,
        front,
        any_control_port,
    }))
}

fn both(one: &str, other: &str) -> Refusal {
    Refusal(format!(
        "{one} and {other} cannot both be served by one node; start two, with two --listen"
    ))
}

/// `:3000`, `3000`, `ADDR:3000`, or `http://` before and `/` behind it. No address, or one that every
/// machine calls its own, means this machine.
fn application(given: &Given) -> Result<(Option<IpAddr>, u16), Refusal> {
    let fix = format!("write its port, for example {}", given.example(":3000"));
    let (scheme, rest) = given.text().split_once("://").unwrap_or(("", given.text()));
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    match (scheme, path) {
        ("" | "http", "") => {}
        ("" | "http", _) => {
            return Err(
                given.refuse("has a path; requests go to the application with theirs", &fix)
            );
        }
        ("https", _) => {
            return Err(given.refuse("is HTTPS; applications are asked in plain HTTP", &fix));
        }
        _ => return Err(given.refuse("is no address of an application", &fix)),
    }
    let (host, port) = match address.rsplit_once(':') {
        Some(host_and_port) => host_and_port,
        None if scheme.is_empty() => ("", address),
        None => (address, "80"),
    };
    let Ok(port @ 1..) = port.parse::<u16>() else {
        return Err(given.refuse("has no port from 1 to 65535", &fix));
    };
    let ip = match host {
        "" | "localhost" => None,
        host => match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() || ip.is_unspecified() => None,
            Ok(ip) => Some(ip),
            Err(_) => {
                let wrong = "names another machine, or none: the application runs on this one";
                return Err(given.refuse(wrong, &fix));
            }
        },
    };
    Ok((ip, port))
}

fn how_to_ask(given: &Given) -> Result<AppHealth, Refusal> {
    match given.text() {
        "tcp" => Ok(AppHealth::Tcp),
        path if is_path(path) => Ok(AppHealth::Path(path.to_owned())),
        _ => {
            let fix = format!("write a path, for example {}, or tcp", given.example("/health"));
            Err(given.refuse("does not begin with a slash, or is no path", &fix))
        }
    }
}

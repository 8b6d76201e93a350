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
    let mut content = Content::gather(sources, raw)?;
    match content.dir.take() {
        Some(dir) => content.folder(&dir),
        None => content.name_or_app(any_control_port),
    }
}

/// All that is given about the content, by flags or by variables.
struct Content {
    app: Option<Given>,
    dir: Option<Given>,
    health: Option<Given>,
    front: bool,
    follow_symlinks: bool,
    /// A command in one text.
    exec: Option<Given>,
    /// A command in words, behind `--`; empty if there is none. Never beside `exec`.
    command: Vec<String>,
}

impl Content {
    fn gather(sources: &Sources<'_>, raw: flags::Serves) -> Result<Self, Refusal> {
        // A content that was typed replaces one of the environment, with all variables about that.
        let typed = Sources { env: &|_| None, ..*sources };
        let is_app = raw.app.is_some() || raw.exec.is_some() || !raw.command.is_empty();
        let of_app = if raw.dir.is_some() { &typed } else { sources };
        let of_dir = if is_app { &typed } else { sources };
        Ok(Self {
            app: of_app.own("app", raw.app)?,
            dir: of_dir.own("dir", raw.dir)?,
            health: of_app.own("health", raw.health)?,
            front: of_app.own_switch("front", raw.front)?,
            follow_symlinks: of_dir.own_switch("follow-symlinks", raw.follow_symlinks)?,
            // A command that was typed replaces one of the environment.
            exec: match (raw.command.is_empty(), raw.exec) {
                (false, Some(_)) => return Err(both("--exec", "-- COMMAND")),
                (false, None) => None,
                (true, exec) => of_app.own("exec", exec)?,
            },
            command: raw.command,
        })
    }

    fn folder(self, dir: &Given) -> Result<Serves, Refusal> {
        let of_command = (!self.command.is_empty()).then_some("a command");
        if let Some(other) = self.app.as_ref().or(self.exec.as_ref()).map(Given::key).or(of_command)
        {
            return Err(both(dir.key(), other));
        }
        if let Some(flag) = self.flag_of_app() {
            let text = format!("{flag} is about an application; leave it out beside --dir");
            return Err(Refusal(text));
        }
        let folder = PathBuf::from(dir.text());
        Ok(Serves::Dir(DirConfig { folder, follow_symlinks: self.follow_symlinks }))
    }

    fn name_or_app(self, any_control_port: bool) -> Result<Serves, Refusal> {
        if self.follow_symlinks {
            return Err(Refusal(
                "--follow-symlinks is about the files of a folder; add --dir".to_owned(),
            ));
        }
        let flag_of_app = self.flag_of_app();
        let command = self.exec.map_or(Ok(self.command), Given::words)?;
        if self.app.is_none() && command.is_empty() {
            let fix = "say which one with --app :3000, or -- COMMAND";
            return match flag_of_app {
                Some(flag) => Err(Refusal(format!("{flag} is about an application; {fix}"))),
                None => Ok(Serves::Name),
            };
        }
        let (ip, port) = self.app.as_ref().map(application).transpose()?.unzip();
        let health = self.health.as_ref();
        Ok(Serves::App(AppConfig {
            ip: ip.flatten(),
            port,
            health: health.map_or(Ok(AppHealth::Path("/".to_owned())), how_to_ask)?,
            command,
            front: self.front,
            any_control_port,
        }))
    }

    /// A flag that has no meaning without an application.
    fn flag_of_app(&self) -> Option<&'static str> {
        match (&self.health, self.front) {
            (Some(_), _) => Some("--health"),
            (None, true) => Some("--front"),
            (None, false) => None,
        }
    }
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

//! Single requests from the client's machine. One helper sends all of them and lives as long as the
//! lab, because a process for each request would cost more than the request.

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::http::{self, Answer, Connection};
use super::inside::{self, Program};
use super::process::Pipes;
use super::{Pi, lock};

/// Longer than a balancer holds a request.
const TIMEOUT: Duration = Duration::from_secs(8);

pub(super) struct Courier {
    pipes: Mutex<Pipes>,
}

#[derive(Serialize, Deserialize)]
struct Errand {
    url: String,
    headers: Vec<(String, String)>,
}

impl Courier {
    pub(super) fn start(client: &Pi) -> Self {
        Self { pipes: Mutex::new(client.helper(&Program::Courier).1) }
    }

    pub(super) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let errand = Errand { url: url.to_owned(), headers: headers.iter().map(owned).collect() };
        let errand = serde_json::to_string(&errand).expect("strings are JSON");
        let mut pipes = lock(&self.pipes);
        writeln!(pipes.0, "{errand}").expect("the courier lives as long as the lab");
        let answer = pipes.1.recv().expect("the courier lives as long as the lab");
        serde_json::from_str(&answer).expect("the courier writes JSON")
    }
}

/// The program of the helper.
pub(super) fn run() {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { return };
        let errand: Errand = serde_json::from_str(&line).expect("the lab writes JSON");
        inside::emit(&deliver(&errand).map_err(|error| http::reason(&error)));
    }
}

fn deliver(errand: &Errand) -> std::io::Result<Answer> {
    let (server, path) = http::split(&errand.url);
    let mut connection = Connection::open(server, TIMEOUT)?;
    connection.exchange("GET", path, &errand.headers, b"")
}

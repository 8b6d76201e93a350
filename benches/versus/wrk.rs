//! `wrk`, the load at saturation: one request at a time on each connection, each as fast as the
//! answers come.

use crate::asks::Asks;
use crate::lab::Pi;
use crate::load::Load;
use crate::product::write;

/// A script that prints one line at the end: the outcome, with times in microseconds, and the
/// errors by kind.
const SCRIPT: &str = r#"
function done(summary, latency)
    local p = function(percent) return latency:percentile(percent) end
    print(string.format("@wrk %d %d %d %d %d %d",
        summary.requests, summary.duration, p(50), p(99), p(99.9), latency.max))
    for kind, count in pairs(summary.errors) do print("@error " .. count .. " " .. kind) end
end
"#;

const POST: &str = "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", 65536)\n";

/// Puts the two scripts into the Pi's `/run`.
pub(crate) fn prepare(client: &Pi) {
    write(client, "get.lua", SCRIPT);
    write(client, "post.lua", &format!("{POST}{SCRIPT}"));
}

/// Its command line.
pub(crate) fn argv(server: &str, asks: Asks, clients: usize, seconds: u64) -> Vec<String> {
    let script = if asks == Asks::Post { "/run/post.lua" } else { "/run/get.lua" };
    let connections = clients.to_string();
    let seconds = format!("{seconds}s");
    let mut argv = vec!["wrk", "-t", "1", "-c", &connections, "-d", &seconds, "-s", script];
    if asks == Asks::Anew {
        argv.extend(["-H", "Connection: close"]);
    }
    let url = format!("http://{server}{}", asks.path());
    argv.push(&url);
    argv.into_iter().map(str::to_owned).collect()
}

/// The line that it wrote.
pub(crate) fn read(text: &str) -> Option<Load> {
    let line = text.lines().find_map(|line| line.strip_prefix("@wrk "))?;
    let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [answers, us, p50, p99, p999, worst] = numbers[..] else { return None };
    let error = |line: &str| {
        let (count, kind) = line.strip_prefix("@error ")?.split_once(' ')?;
        Some((kind.to_owned(), count.parse().ok().filter(|count| *count > 0)?))
    };
    Some(Load {
        answers: answers as u64,
        errors: text.lines().filter_map(error).collect(),
        per_second: answers / us * 1e6,
        p50_ms: p50 / 1e3,
        p99_ms: p99 / 1e3,
        p999_ms: p999 / 1e3,
        worst_ms: worst / 1e3,
    })
}

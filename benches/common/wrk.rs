//! `wrk`, the load generator of the comparison: kept connections, one request at a time on each, as
//! fast as they are answered.

use crate::lab::Pi;

/// One run of it.
pub(crate) struct Run {
    pub(crate) answers: u64,
    /// Answers that are not 2xx or 3xx, and errors of the connections.
    pub(crate) errors: u64,
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
}

impl Run {
    /// Asks `url` for some seconds.
    pub(crate) fn new(client: &Pi, url: &str, clients: usize, seconds: u64) -> Self {
        let connections = format!("-c{clients}");
        let duration = format!("-d{seconds}s");
        let text = client.run(&["wrk", "-t1", &connections, &duration, "--latency", url]);
        Self::read(&text).unwrap_or_else(|| panic!("wrk wrote\n{text}"))
    }

    /// ```text
    ///      99%    3.95ms
    ///   125514 requests in 3.00s, 30.29MB read
    ///   Socket errors: connect 0, read 0, write 0, timeout 0
    ///   Non-2xx or 3xx responses: 3
    /// Requests/sec:  41825.11
    /// ```
    /// The two lines of errors are there only when there are any.
    fn read(text: &str) -> Option<Self> {
        let line = |part: &str| text.lines().map(str::trim).find(|line| line.contains(part));
        let after = |part: &str| line(part)?.split_once(part).map(|(_, rest)| rest.trim());
        let refused = after("responses:").map_or(Some(0), |n| n.parse().ok())?;
        let broken = after("Socket errors:").map_or(Some(0), |counts| {
            let counts =
                counts.split(", ").map(|count| count.split(' ').nth(1)?.parse::<u64>().ok());
            counts.sum::<Option<u64>>()
        })?;
        Some(Self {
            answers: line(" requests in ")?.split(' ').next()?.parse().ok()?,
            errors: refused + broken,
            per_second: after("Requests/sec:")?.parse().ok()?,
            p99_ms: milliseconds(after("99%")?)?,
        })
    }
}

fn milliseconds(text: &str) -> Option<f64> {
    let number = |unit: &str| text.strip_suffix(unit)?.parse::<f64>().ok();
    // "us" and "ms" end in "s" as well.
    number("us").map(|us| us / 1e3).or_else(|| number("ms")).or_else(|| Some(number("s")? * 1e3))
}

//! The lists a change of the house edits: where each crate stands, and which parts are pure.
//!
//! A place is a file or folder below `src/`, without the `.rs`: `discovery/mdns` is that file and
//! the folder beside it.

/// The law of the whole of `src/`.
pub(super) struct Law<'a> {
    /// A crate with a strong opinion, and the only places that may name it. Each of them must name
    /// it, so that the list stays as short as the code allows.
    pub(super) owners: &'a [(&'a str, &'a [&'a str])],
    /// Places that may own a crate before they exist.
    pub(super) later: &'a [&'a str],
    /// The places that take time and chance as arguments and do no I/O. Each must exist.
    pub(super) pure: &'a [&'a str],
}

pub(super) const LAW: Law<'_> = Law {
    owners: &[
        ("clap", &["cli"]),
        ("httparse", &["http1"]),
        ("mdns_sd", &["discovery/mdns"]),
        ("prometheus_client", &["telemetry/exposition"]),
        ("axum", &["admin", "web"]),
        // hyper stays where one question is asked or axum is served, until one engine serves all.
        ("hyper", &["commands/ask", "admin", "web"]),
        ("hyper_util", &["commands/ask", "admin", "web"]),
        ("http_body_util", &["commands/ask", "admin", "web"]),
        ("rustls", &["tls"]),
        ("tokio_rustls", &["tls"]),
    ],
    later: &["tls"],
    pure: &[
        "http1",
        "pages",
        "cluster/api",
        "cluster/balance",
        "cluster/config",
        "cluster/health",
        "cluster/node",
        "cluster/pi",
        "cluster/protocol",
        "cluster/retry",
        "cluster/route",
        "discovery/membership",
    ],
};

/// The names that a pure part must not use, each as a part of a path. A generator made from nothing is seeded by
/// the machine; one made from a seed, or handed in, is not.
pub(super) const IMPURE: [&[&str]; 14] = [
    &["tokio"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "thread"],
    &["time", "Instant"],
    &["time", "SystemTime"],
    &["time", "UNIX_EPOCH"],
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["net", "TcpListener"],
    &["net", "TcpStream"],
    &["net", "UdpSocket"],
    &["Rng", "new"],
    &["Rng", "default"],
];

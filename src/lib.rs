//! picluster: a few Raspberry Pis, one web address, nothing configured by hand.
//!
//! `picluster web` announces itself by mDNS and serves its hostname; `picluster lb` finds web nodes
//! and shares HTTP requests among those that answer. This crate is all of it; the binary only turns
//! flags into an exit code.
//!
//! Two lines run through it:
//!
//! - **The data line**: [`server`] takes a connection, [`proxy`] reads a request,
//!   [`cluster::picker`] chooses a node, and the answer flows back, or the request is tried again as
//!   [`cluster::retry`] allows.
//! - **The discovery line**: [`discovery::mdns`] proposes nodes, [`discovery::membership`] judges
//!   them by the reports of probes and traffic, and publishes one immutable [`cluster::pool::Pool`].
//!
//! They meet in that pool and nowhere else.
//!
//! The modules are the rooms of the house, lowest first. A room uses only rooms above it in this list;
//! inside a room no two files use each other. `tests/it/floors` reads the order of the modules below and
//! holds the code to it. In a hurry, read [`cluster::node`], [`cluster::health`] and [`cluster::pool`],
//! then [`discovery`] or [`proxy`], then [`lb`]. The reasons are in `docs/ARCHITECTURE.md`.
//!
//! | room | holds |
//! |---|---|
//! | [`http1`] | HTTP/1 without I/O: bytes in, heads and framing out. Uses nothing of ours |
//! | [`telemetry`] | Numbers and their exposition, the log, the journal. Uses nothing of ours |
//! | [`cluster`] | What a node is, how it is doing, what may be sent again, and the published view of all nodes |
//! | [`os`] | This machine: its identity, its board, its sockets, its signals, its service manager |
//! | [`discovery`] | The discovery line, from a packet to a published pool |
//! | [`pages`] | The parts of which every page is made |
//! | [`server`] | The HTTP/1 server engine: a worker a core, its connections, buffers and admission |
//! | [`proxy`] | The data line, from a connection to its answer |
//! | [`admin`] | The balancer's page and API on the admin port, and what serves a router |
//! | [`web`] | The role of a node: `picluster web` |
//! | [`lb`] | The role of a balancer: `picluster lb` |
//! | [`commands`] | The commands that look at a cluster or play one, named as they are typed |
//! | [`cli`] | From arguments and environment to a checked configuration |

// The words: they know nothing of a machine or a network.
pub mod http1;
pub mod telemetry;
pub mod cluster;

// The machine.
pub mod os;

// The two lines, and what they stand on.
pub mod discovery;
pub mod pages;
pub mod server;
pub mod proxy;

// The roles, and how they are seen.
pub mod admin;
pub mod web;
pub mod lb;

// The commands, and the command line.
pub mod commands;
pub mod cli;

//! picluster: a few Raspberry Pis, one web address, nothing configured by hand.
//!
//! `picluster web` announces itself by mDNS and serves its hostname; `picluster lb` finds web nodes
//! and shares HTTP requests among those that answer. This crate is all of it; the binary only turns
//! flags into an exit code.
//!
//! Two lines run through it:
//!
//! - **The data line**: [`server`] takes a connection, [`proxy`] reads a request, [`picker`] chooses
//!   a node, and the answer flows back, or the request is tried again as [`retry`] allows.
//! - **The discovery line**: [`discovery::mdns`] proposes nodes, [`discovery::membership`] judges
//!   them by what probes and traffic say, and publishes one immutable [`pool::Pool`].
//!
//! They meet in that pool and nowhere else.
//!
//! The modules stand on floors; each uses its own floor and lower ones. The list below is the map
//! and the reading order, lowest first. In a hurry, read [`node`], [`health`], [`pool`], then
//! [`discovery`] or [`proxy`], then [`lb`]. The reasons are in `docs/ARCHITECTURE.md`.
//!
//! | floor | modules |
//! |---|---|
//! | 1, words | [`badge`] [`balance`] [`config`] [`h1`] [`health`] [`html`] [`node`] [`pi`] [`retry`] [`route`] |
//! | 2, views | [`journal`] [`metrics`] [`picker`] [`pool`] |
//! | 3, edges | [`ask`] [`board`] [`identity`] [`listen`] [`outlet`] [`process`] [`server`] [`shutdown`] [`systemd`] [`terminal`] |
//! | 4, lines | [`dashboard`] [`discovery`] [`proxy`] [`survey`] |
//! | 5, programs | [`cli`] [`demo`] [`drain`] [`lb`] [`nodes`] [`status`] [`web`] |

// Floor 1, words: plain types and rules; no tokio, no clock, no I/O.
pub mod badge;
pub mod balance;
pub mod config;
pub mod h1;
pub mod health;
pub mod html;
pub mod node;
pub mod pi;
pub mod retry;
pub mod route;
// Floor 2, views: what the request path reads, and what is counted of it.
pub mod journal;
pub mod metrics;
pub mod picker;
pub mod pool;
// Floor 3, edges: the outside world, one file a kind.
pub mod ask;
pub mod board;
pub mod identity;
pub mod listen;
pub mod outlet;
pub mod process;
pub mod server;
pub mod shutdown;
pub mod systemd;
pub mod terminal;
// Floor 4, lines: discovery, the data path, the page that shows both, and a look from outside.
pub mod dashboard;
pub mod discovery;
pub mod proxy;
pub mod survey;
// Floor 5, programs: one file a subcommand, named as typed.
pub mod cli;
pub mod demo;
pub mod drain;
pub mod lb;
pub mod nodes;
pub mod status;
pub mod web;

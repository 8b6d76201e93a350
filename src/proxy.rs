//! The data line: a connection of a client, from request to request, and each request until it is
//! answered.
//!
//! [`Proxy`] is the handler of one worker's connections. `serve` is the loop of a connection: it reads
//! a head and gives the request to `exchange`, which picks a node (`acquire`, `hold`), has the request
//! relayed there (`relay`, `upload`, `download`), and decides whether it is sent again.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use self::shared::Shared;
use crate::cluster::pool;
use crate::server::{ConnectionGuard, Handler};

pub mod access;
mod acquire;
mod affinity;
mod conn;
mod disposition;
mod download;
mod downstream;
mod exchange;
mod head;
pub mod headers;
mod hold;
mod io;
mod linger;
mod no_route_page;
mod outcome;
mod path;
mod pick;
mod pinned;
mod pins;
mod proxy_protocol;
mod reject;
mod relay;
mod request;
mod response;
mod scratch;
mod serve;
mod settings;
mod shared;
mod timer;
mod tunnel;
mod upload;
mod upstream;

pub use self::pins::Pins;
pub use self::settings::{EmptyClusterPage, Settings};

/// One worker's part of the data line: the handler of its connections.
pub struct Proxy(Rc<Shared>);

impl Proxy {
    /// Makes the worker's part and starts its helpers: one follows the published pool, one closes
    /// connections that were kept too long, one hands on the access log. Call it on the worker's own
    /// thread.
    pub fn start(settings: Arc<Settings>, watch: pool::Watch) -> Rc<Self> {
        let newest = Arc::clone(&watch.borrow());
        let shared = Rc::new(Shared::new(settings, newest));
        tokio::task::spawn_local(Rc::clone(&shared).follow(watch));
        tokio::task::spawn_local(Rc::clone(&shared).sweep());
        Rc::new(Self(shared))
    }
}

impl Handler for Proxy {
    fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        guard: ConnectionGuard,
    ) -> impl Future<Output = ()> + 'static {
        serve::serve(Rc::clone(&self.0), stream, peer, guard)
    }

    fn free_files(&self) {
        self.0.idle.clear();
    }
}

//! The contract between a request's exchange and the side that asked.
//!
//! [`exchange`](super::exchange) decides where a request goes and whether it is sent again. Everything
//! that depends on how the client speaks stands behind [`Downstream`]: today a connection of HTTP/1
//! (`serve`), later a stream of HTTP/2, of which a connection has many. It is used by static dispatch
//! only: the exchange is compiled once for each kind, and its future holds no pointer and no byte for
//! the contract.

use tokio::net::TcpStream;

use crate::cluster::pool::Member;
use crate::cluster::retry::Failure;
use crate::proxy::disposition::{Disposition, NodeConnection};
use crate::proxy::pinned::Pinned;
use crate::proxy::reject::Reject;
use crate::proxy::request::Request;
use crate::proxy::shared::Shared;

/// The side that asked, as an exchange needs it. A few methods are enough: the facts of a request, its
/// access log entry included, come with the [`Request`], and its bytes stay behind this contract.
pub(super) trait Downstream {
    /// Completes when the client has gone for good, so that an answer would reach nobody.
    ///
    /// ## Cancel safety
    /// It is dropped as soon as there is a node.
    fn gone(&self) -> impl Future<Output = ()>;

    /// Looks up the request's route by the newest pool, and renders its head for the nodes there.
    /// Returns whether there is a route.
    fn route_again(&self, shared: &Shared, request: &mut Request) -> bool;

    /// Sends the request to the node, and the node's answer down.
    ///
    /// ## Cancel safety
    /// None: a dropped attempt leaves both sides in the middle of a message.
    fn relay<'a>(
        &'a mut self,
        shared: &'a Shared,
        request: &'a mut Request,
        node: &'a mut TcpStream,
        member: &'a Member,
    ) -> impl Future<Output = Result<Relayed, AttemptError>>;

    /// Takes the connection to a node that serves this client alone, if the request goes there.
    fn take_pinned(&mut self, request: &Request) -> Option<Box<Pinned>>;

    /// Keeps a connection to a node for this client alone, until the client leaves. Returns its fate
    /// after the answer that was to keep it: it ends if there is no room for such a connection.
    fn pin(&mut self, pinned: Option<Box<Pinned>>) -> Disposition;

    /// Answers the request on the balancer's own behalf, and ends its access log entry.
    fn reject(
        &mut self,
        shared: &Shared,
        request: &mut Request,
        reject: Reject,
    ) -> impl Future<Output = Disposition>;
}

/// The good end of an attempt: the fate of the two connections.
pub(super) struct Relayed {
    pub(super) status: u16,
    pub(super) downstream: Disposition,
    pub(super) node: NodeConnection,
}

/// The end of an attempt without a whole answer, by whose fault it is.
pub(super) enum AttemptError {
    /// The node's, and nothing of its answer went down: another node may be tried.
    Node(Failure),
    /// The node's, after its answer's head went down: nothing can be sent again.
    Answer(Failure),
    /// The client's, or a limit's: it gets this answer.
    Rejected(Reject),
    /// The client's: it has gone, or does not read.
    ClientLeft,
}

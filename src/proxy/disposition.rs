//! The fates of the two connections after an answer.

/// The fate of a downstream after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// The next request may come.
    Keep,
    /// It ends. The client has nothing more to send.
    Close,
    /// It ends while the client may still be sending: not before it has read what was sent.
    Linger,
    /// It ends visibly short: the answer could not be completed.
    Cut,
}

/// The fate of a node's connection after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeConnection {
    /// It can take another request.
    Reusable,
    /// It can take another request of the same client: a login is bound to it.
    Pinned,
    /// It ends.
    Ends,
    /// It ends, because the node is about to stop.
    Drains,
}

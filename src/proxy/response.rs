//! The head of a node's answer: read, judged, and rendered for the client.

use crate::cluster::node::StickyKey;
use crate::cluster::pool::Member;
use crate::cluster::protocol::ReportedState;
use crate::cluster::retry::Failure;
use crate::http1::{self, Body, Framing, Refusal, ResponseHead, Slots, Version};
use crate::proxy::conn::Conn;
use crate::proxy::disposition::{Disposition, NodeConnection};
use crate::proxy::head;
use crate::proxy::headers::{self, AnswerForm, AnswerMarks};
use crate::proxy::request::Request;
use crate::proxy::shared::Shared;
use crate::proxy::upload::Progress;

/// The facts of an answer whose head has come.
pub(super) struct Response {
    pub(super) head_len: usize,
    pub(super) status: u16,
    pub(super) kind: Kind,
    pub(super) body: Body,
    pub(super) form: BodyForm,
    /// The part of the request's body that had gone up when this head was there.
    pub(super) upload: Progress,
    /// Its head, or a part of it, went to the client.
    pub(super) head_sent: bool,
    /// The fate of the client's connection: kept or closed.
    pub(super) client: Disposition,
    /// The fate of the node's connection, as far as its head decides that.
    pub(super) node: NodeConnection,
    /// It has to do with a login that is bound to the node's connection.
    pub(super) login: bool,
    /// The node stands in front of an application that has seen nothing of the request
    /// ([`Failure::Refused`]), or that went away over it ([`Failure::Died`]).
    pub(super) app_down: Option<Failure>,
    /// Marks the rendering of its head in the worker's scratch.
    pub(super) ticket: u32,
}

/// The kind of an answer, by the bytes that follow its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another head: this one is a 1xx that is not a 101.
    Interim,
    /// Another protocol: this is a 101.
    Switch,
    /// Its body.
    Final,
}

/// The form in which a body goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyForm {
    /// As it comes, in its own framing.
    Framed,
    /// As it comes, and the end of the connection is its end.
    UntilClose,
    /// Without its chunk framing, for a client of HTTP/1.0: the end of the connection is its end.
    Unchunked,
}

impl Response {
    /// Reads the answer's head, if it is whole, and renders it for the client. The first `seen` bytes
    /// of `bytes` were looked at before.
    ///
    /// # Errors
    /// It is not HTTP/1, or switches to a protocol that was not offered.
    pub(super) fn read(
        shared: &Shared,
        conn: &Conn,
        request: &Request,
        member: &Member,
        bytes: &[u8],
        seen: usize,
    ) -> Result<Option<Self>, Refusal> {
        let mut slots = Slots::new();
        let head = http1::parse_response(bytes, seen, &mut slots, request.is_head)?;
        let Some(head) = head else { return Ok(None) };
        let kind = match head.status {
            101 => Kind::Switch,
            _ if head.is_interim() => Kind::Interim,
            _ => Kind::Final,
        };
        if kind == Kind::Switch && !head::offers(conn, request, head.upgrade.unwrap_or_default()) {
            return Err(Refusal::BadSwitch);
        }
        let mut response = Self::of(&head, kind, request);
        if conn.guard.is_draining() {
            response.client = Disposition::Close;
        }
        let goes_on = kind == Kind::Interim;
        let settings = &shared.settings;
        let form = AnswerForm {
            close: response.client != Disposition::Keep && !goes_on,
            http10: request.version == Version::Http10 && !goes_on,
            node: settings.node_header.then_some(member.node.name.as_str()),
            sticks_to: (settings.sticky && !goes_on).then(|| new_key(request, member)).flatten(),
        };
        (response.ticket, ()) =
            shared.scratch.render(|out| headers::write_answer(&head, form, out));
        Ok(Some(response))
    }

    /// The facts of a head, not rendered yet.
    fn of(head: &ResponseHead<'_>, kind: Kind, request: &Request) -> Self {
        let form = match head.framing {
            Framing::Chunked if request.version == Version::Http10 => BodyForm::Unchunked,
            Framing::Close => BodyForm::UntilClose,
            _ => BodyForm::Framed,
        };
        let AnswerMarks { state, login } = AnswerMarks::read(&head.fields);
        let app_down = match head.status {
            503 => Some(Failure::Refused),
            502 => Some(Failure::Died),
            _ => None,
        };
        let upload = request.upload.progress();
        let client_may_stay =
            request.keep_alive && form == BodyForm::Framed && upload != Progress::Partly;
        let node = match state {
            Some(ReportedState::Draining) => NodeConnection::Drains,
            _ if head.keep_alive && form != BodyForm::UntilClose => NodeConnection::Reusable,
            _ => NodeConnection::Ends,
        };
        Self {
            head_len: head.len,
            status: head.status,
            kind,
            body: Body::of_answer(head.framing),
            form,
            upload,
            head_sent: false,
            client: if client_may_stay { Disposition::Keep } else { Disposition::Close },
            node,
            login,
            app_down: app_down.filter(|_| state == Some(ReportedState::AppDown)),
            ticket: 0,
        }
    }
}

/// The service and the key of a node to which the client shall stick from now on, unless it does so
/// already.
fn new_key<'a>(request: &Request, member: &'a Member) -> Option<(&'a str, StickyKey)> {
    let node = &member.node;
    let key = node.id.sticky_key();
    let has = request.affinity.as_ref().and_then(|affinity| affinity.sticky);
    (has != Some(key)).then_some((&node.offer.service, key))
}

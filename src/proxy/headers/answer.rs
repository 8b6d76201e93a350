//! The head of an answer as the client gets it.

use crate::cluster::node::StickyKey;
use crate::cluster::protocol::NODE_HEADER_WRITTEN;
use crate::http1::{Framing, ResponseHead, append_field, append_number, append_status_line};
use crate::proxy::affinity;

/// The form in which an answer goes to the client.
#[derive(Clone, Copy)]
pub struct AnswerForm<'a> {
    /// The connection ends with this answer.
    pub close: bool,
    /// The client speaks HTTP/1.0.
    pub http10: bool,
    /// The name of the node that gave it, unless names are switched off.
    pub node: Option<&'a str>,
    /// The service and the node that the client shall stick to from now on, if it does not yet.
    pub sticks_to: Option<(&'a str, StickyKey)>,
}

/// Writes the answer's head as the client gets it: the node's end-to-end fields in their order,
/// then ours. `X-Picluster-Node` is set, not appended.
pub fn write_answer(head: &ResponseHead<'_>, form: AnswerForm<'_>, out: &mut Vec<u8>) {
    append_status_line(out, head.status, head.reason);
    // Also where names are switched off: `picluster web` writes one itself.
    let replaced = |name: &str| name.eq_ignore_ascii_case(NODE_HEADER_WRITTEN);
    for field in head.fields.end_to_end().filter(|field| !replaced(field.name)) {
        append_field(out, field.name, field.value);
    }
    if let Some(bytes) = head.restated_length() {
        out.extend_from_slice(b"Content-Length: ");
        append_number(out, bytes);
        out.extend_from_slice(b"\r\n");
    }
    // HTTP/1.0 knows no chunks; the body is given without them and ends with the connection.
    if head.framing == Framing::Chunked && !form.http10 {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if let Some(node) = form.node {
        append_field(out, NODE_HEADER_WRITTEN, node.as_bytes());
    }
    if let Some((service, node)) = form.sticks_to {
        affinity::append_cookie(service, node, out);
    }
    if let Some(protocol) = head.upgrade {
        append_field(out, "Connection", b"upgrade");
        append_field(out, "Upgrade", protocol);
    }
    // A 101 does not decide the fate of the connection.
    if form.close && head.status != 101 {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if form.http10 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

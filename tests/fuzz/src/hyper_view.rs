//! The same bytes as hyper reads them: its server for requests, its client for answers. Both run in
//! memory and in one thread. All bytes are there from the start, so nothing has to wait.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Request, Response};

use super::said::{Pairs, pairs};

/// The number of times that hyper is polled. It needs a few; after this many it has stopped for
/// ever.
const TURNS_MAX: usize = 1000;

/// The number of fields that hyper accepts. It stops at 100, as we do. A forwarded head of 100
/// fields has ours too.
const FIELDS_MAX: usize = 128;

/// A message as hyper understands it.
#[derive(Debug)]
pub(crate) struct View {
    /// The method and the target of a request.
    pub(crate) method: String,
    pub(crate) target: String,
    /// The status of an answer.
    pub(crate) status: u16,
    pub(crate) fields: Pairs,
    /// The body; `None` if it did not come to its end.
    pub(crate) body: Option<Vec<u8>>,
}

/// The request at the start of `bytes`, after which the connection ends; `None` if hyper refuses
/// it.
pub(crate) fn request(bytes: &[u8]) -> Option<View> {
    let view = RefCell::new(None);
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let fields = pairs(head.headers.iter().map(|(name, value)| (name.as_str(), value)));
        let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
        let (method, target) = (head.method.to_string(), head.uri.to_string());
        view.borrow_mut().get_or_insert(View { method, target, status: 0, fields, body });
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let wire = Wire { input: bytes.to_owned(), at: 0, open: true };
    let mut server = hyper::server::conn::http1::Builder::new();
    let mut connection =
        pin!(server.half_close(true).max_headers(FIELDS_MAX).serve_connection(wire, service));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..TURNS_MAX {
        if connection.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
    view.take()
}

/// The final answer in `bytes`, after which the connection ends; `None` if hyper refuses it.
pub(crate) fn response(bytes: &[u8], head_request: bool) -> Option<View> {
    let wire = Wire { input: bytes.to_owned(), at: 0, open: false };
    let mut cx = Context::from_waker(Waker::noop());
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_headers(FIELDS_MAX);
    let shaken = pin!(client.handshake(wire)).as_mut().poll(&mut cx);
    let Poll::Ready(Ok((mut sender, connection))) = shaken else {
        panic!("a handshake of HTTP/1 exchanges nothing")
    };
    let method = if head_request { "HEAD" } else { "GET" };
    let request = Request::builder().method(method).uri("/").header("host", "pi");
    let request = request.body(Empty::<Bytes>::new()).expect("a request like any other");
    let mut answer = pin!(async move {
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let fields = pairs(head.headers.iter().map(|(name, value)| (name.as_str(), value)));
        let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
        let (method, target) = (String::new(), String::new());
        Some(View { method, target, status: head.status.as_u16(), fields, body })
    });
    let mut connection = pin!(connection);
    let mut over = false;
    for _ in 0..TURNS_MAX {
        if let Poll::Ready(view) = answer.as_mut().poll(&mut cx) {
            return view;
        }
        over = over || connection.as_mut().poll(&mut cx).is_ready();
    }
    None
}

/// The peer of hyper: it sends its input and then the end, and accepts all bytes.
struct Wire {
    input: Vec<u8>,
    at: usize,
    /// True if hyper may read from it already: an answer comes after its request.
    open: bool,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.open {
            return Poll::Pending;
        }
        let rest = &self.input[self.at..];
        let taken = rest.len().min(to.remaining());
        to.put_slice(&rest[..taken]);
        self.at += taken;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.open = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

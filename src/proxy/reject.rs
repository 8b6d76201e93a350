//! The answers of the balancer on its own behalf: one table from cause to status and words.

use std::time::SystemTime;

use crate::cluster::pool::Pool;
use crate::cluster::retry::{Failure, Reason};
use crate::http1::{Refusal, Version};
use crate::proxy::disposition::Disposition;
use crate::proxy::no_route_page;
use crate::proxy::settings::EmptyClusterPage;
use crate::server::OverLimit;

/// Why the balancer answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reject {
    /// The request breaks a rule of HTTP/1 or exceeds a bound.
    Refused(Refusal),
    /// A trusted proxy did not introduce its client, as it has to (`--proxy-protocol`).
    NoProxyHeader,
    /// There is no place for this connection.
    OverLimit(OverLimit),
    /// Too many requests or answers need much memory at the moment.
    NoMemory,
    /// The client took too long with its head.
    SlowHead,
    /// The client took too long with its body.
    SlowBody,
    /// The request asks for `/.picluster/..`, which is between balancer and node.
    Private,
    /// No route takes the request: the answer lists the routes there are.
    NoRoute,
    /// The path of a route that is cut off came without the slash behind it: the answer leads there, because
    /// links of the page would be relative to the path above.
    NoSlash,
    /// The path could be read as another one, where services differ by their paths.
    DotSegment,
    /// The request came through this balancer before.
    Loop,
    /// An OPTIONS or TRACE that may go no further (`Max-Forwards: 0`): it is ours to answer.
    LastHop {
        /// It is a TRACE; nothing is echoed, because a page would see all that its browser sent.
        trace: bool,
    },
    /// There never was a node: the answer teaches how to add one.
    NoNodeYet,
    /// There were nodes; none came back within the hold.
    NoNodeNow,
    /// There are nodes, and each had as many requests as it may until the hold was over.
    AllBusy,
    /// The most requests that may wait for a node do.
    TooManyHeld,
    /// Every attempt failed: the last one with this failure, and for this reason there was no other.
    Failed(Failure, Reason),
}

impl Reject {
    /// The status line's code.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::NoProxyHeader => 400,
            Self::OverLimit(OverLimit::Client) => 429,
            Self::OverLimit(OverLimit::All) | Self::NoMemory => 503,
            Self::SlowHead | Self::SlowBody => 408,
            Self::Private | Self::NoRoute => 404,
            Self::NoSlash => 307,
            Self::DotSegment => 400,
            Self::Loop => 508,
            Self::LastHop { trace: false } => 200,
            Self::LastHop { trace: true } => 405,
            Self::NoNodeYet | Self::NoNodeNow | Self::AllBusy | Self::TooManyHeld => 503,
            Self::Failed(Failure::AnswerTimeout, _) => 504,
            Self::Failed(..) => 502,
        }
    }

    /// The rule of HTTP that the request, or the last answer to it, breaks.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) | Self::Failed(Failure::BadAnswer(refusal), _) => Some(refusal),
            _ => None,
        }
    }

    /// The word for log fields and metric labels.
    pub(super) fn cause(self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NoProxyHeader => "no_proxy_header",
            Self::OverLimit(OverLimit::Client) => "too_many_connections_of_client",
            Self::OverLimit(OverLimit::All) => "too_many_connections",
            Self::NoMemory => "no_memory",
            Self::SlowHead => "slow_head",
            Self::SlowBody => "slow_body",
            Self::Private => "private",
            Self::NoRoute => "no_route",
            Self::NoSlash => "no_slash",
            Self::DotSegment => "dot_segment",
            Self::Loop => "loop",
            Self::LastHop { .. } => "last_hop",
            Self::NoNodeYet => "no_node_yet",
            Self::NoNodeNow => "no_node_now",
            Self::AllBusy => "all_busy",
            Self::TooManyHeld => "too_many_held",
            Self::Failed(failure, _) => failure.as_str(),
        }
    }

    /// The sentence the client reads.
    pub(super) fn sentence(self) -> String {
        let text = match self {
            Self::Refused(refusal) => return refusal.to_string(),
            Self::NoProxyHeader => {
                "a connection from this address has to begin with a PROXY protocol header"
            }
            Self::OverLimit(OverLimit::Client) => {
                "this address has too many connections already; please close one or try again later"
            }
            Self::OverLimit(OverLimit::All) => "too many clients are connected; please try again",
            Self::NoMemory => "too many large headers are under way; please try again",
            Self::SlowHead => "the request head did not come in time",
            Self::SlowBody => "the request body did not come in time",
            Self::Private => "nothing is served under /.picluster/ here",
            Self::NoRoute => "no application of this network takes this address",
            Self::NoSlash => "this application is served at this path with a slash behind it",
            Self::DotSegment => "a path with . or .. in it could be read as another application's",
            Self::LastHop { .. } => "this is the last hop the request may make",
            Self::Loop => "this request came through this balancer before",
            Self::NoNodeYet => "no node has joined this cluster yet",
            Self::NoNodeNow => "no node answers at the moment; please try again",
            Self::AllBusy => "all nodes are busy; please try again",
            Self::TooManyHeld => "too many requests wait for a node; please try again",
            Self::Failed(Failure::Refused | Failure::Unreachable, _) => "no node could be reached",
            Self::Failed(Failure::ConnectTimeout, _) => "no node could be reached in time",
            Self::Failed(Failure::Died | Failure::Vanished, reason) => match reason {
                Reason::Unsafe => {
                    "the node went away before it answered, and may have done what was asked: \
                     a request of this method is not sent twice"
                }
                Reason::Pinned => {
                    "the node went away before it answered, and the login of this connection with it"
                }
                Reason::BodyGone => {
                    "the node went away before it answered, and the body is too long to be held \
                     for another"
                }
                _ => "the node went away before it answered",
            },
            Self::Failed(Failure::AnswerTimeout, _) => "the node did not answer in time",
            Self::Failed(Failure::BadAnswer(refusal), _) => {
                return format!("the node's answer is not valid HTTP: {refusal}");
            }
        };
        text.to_owned()
    }

    /// The reason phrase of the status line.
    pub(super) fn reason(status: u16) -> &'static str {
        match status {
            200 => "OK",
            307 => "Temporary Redirect",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            413 => "Content Too Large",
            414 => "URI Too Long",
            417 => "Expectation Failed",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            505 => "HTTP Version Not Supported",
            508 => "Loop Detected",
            _ => "Error",
        }
    }

    /// Writes the whole answer in a form: its head and, unless it answers a HEAD, its body. `now` is
    /// for its `Date`; an `empty` cluster has a page of its own, and the routes listed are those of
    /// `pool`. Returns the number of the body's bytes.
    pub(super) fn write(
        self,
        form: &Form,
        now: SystemTime,
        empty: &EmptyClusterPage,
        pool: &Pool,
        out: &mut Vec<u8>,
    ) -> usize {
        let status = self.status();
        let reason = Self::reason(status);
        let (media, body) = self.body(form, empty, pool);
        let retry = if matches!(status, 429 | 503) { "Retry-After: 1\r\n" } else { "" };
        // RFC 9110 sections 15.5.6 and 9.3.7: a 405, and the answer to an OPTIONS, lists the methods
        // that are taken, and anything but CONNECT is.
        let allow = if matches!(status, 200 | 405) { ALLOW } else { "" };
        let location = form.location.as_ref();
        let location = location.map_or_else(String::new, |to| format!("Location: {to}\r\n"));
        // RFC 9110 section 6.6.1.
        let date = httpdate::fmt_http_date(now);
        let connection = match (form.then, form.version) {
            (Disposition::Keep, Version::Http10) => "Connection: keep-alive\r\n",
            (Disposition::Keep, Version::Http11) => "",
            (Disposition::Close | Disposition::Linger | Disposition::Cut, _) => {
                "Connection: close\r\n"
            }
        };
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: {media}; charset=utf-8\r\n\
             Content-Length: {}\r\nCache-Control: no-store\r\n{location}{allow}{retry}{connection}\r\n",
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        let body = if form.is_head { "" } else { body.as_str() };
        out.extend_from_slice(body.as_bytes());
        body.len()
    }

    /// The media type of the body, and the body.
    fn body(self, form: &Form, empty: &EmptyClusterPage, pool: &Pool) -> (&'static str, String) {
        match (self, &form.browser_port) {
            (Self::NoNodeYet, Some(_)) => ("text/html", empty.html.clone()),
            (Self::NoNodeYet, None) => ("text/plain", empty.text.clone()),
            (Self::NoRoute, Some(port)) => ("text/html", no_route_page::html(pool, port)),
            (other, _) => {
                let status = self.status();
                let reason = Self::reason(status);
                let mut text = format!("{status} {reason}: {}\n", other.sentence());
                if other == Self::NoRoute {
                    text.push_str(&no_route_page::text(pool));
                }
                ("text/plain", text)
            }
        }
    }
}

/// The methods of RFC 9110 section 9 without CONNECT, and that of RFC 5789. Unknown ones are passed
/// on too; each node answers for itself which of them it takes.
const ALLOW: &str = "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH\r\n";

/// The form of an answer: what the client can take, and the fate of the connection.
pub(super) struct Form {
    /// It answers a HEAD.
    pub(super) is_head: bool,
    /// A client of HTTP/1.0 keeps a connection only if the answer announces it.
    pub(super) version: Version,
    /// The port at which a browser asked for HTML: `:8000`, or nothing.
    pub(super) browser_port: Option<String>,
    /// The address at which the client finds the resource that it asked for.
    pub(super) location: Option<String>,
    /// The fate of the connection after it.
    pub(super) then: Disposition,
}

impl Form {
    /// An answer to what is no request; the connection ends with it.
    pub(super) fn last(is_head: bool) -> Self {
        let (version, then) = (Version::Http11, Disposition::Linger);
        Self { is_head, version, browser_port: None, location: None, then }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reject: Reject, is_head: bool, html: bool) -> String {
        let mut out = Vec::new();
        let form = Form { browser_port: html.then(String::new), ..Form::last(is_head) };
        let empty = EmptyClusterPage { html: "<p>teach".to_owned(), text: "teach\n".to_owned() };
        reject.write(&form, SystemTime::UNIX_EPOCH, &empty, &Pool::default(), &mut out);
        String::from_utf8(out).expect("our own answers are text")
    }

    #[test]
    fn an_empty_cluster_teaches_in_the_form_the_client_asked_for() {
        assert!(written(Reject::NoNodeYet, false, true).ends_with("\r\n\r\n<p>teach"));
        assert!(written(Reject::NoNodeYet, false, false).ends_with("\r\n\r\nteach\n"));
        assert!(written(Reject::NoNodeYet, false, false).contains("\r\nRetry-After: 1\r\n"));
    }

    #[test]
    fn the_answer_to_a_head_has_the_length_and_no_body() {
        let text = written(Reject::Private, true, false);
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n"));
        assert!(!text.contains("Content-Length: 0"));
    }

    #[test]
    fn every_answer_has_its_date_and_a_405_says_which_methods_are_taken() {
        let text = written(Reject::Refused(Refusal::Connect), false, false);
        assert!(text.contains("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), "{text}");
        assert!(text.contains("\r\nAllow: GET, HEAD, POST, "), "{text}");
        let text = written(Reject::Private, false, false);
        assert!(text.contains("\r\nDate: Thu, ") && !text.contains("\r\nAllow: "), "{text}");
    }

    #[test]
    fn a_client_that_gets_no_place_learns_when_to_come_again() {
        for (over, status) in [(OverLimit::Client, 429), (OverLimit::All, 503)] {
            let text = written(Reject::OverLimit(over), false, false);
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
            assert!(text.contains("\r\nRetry-After: 1\r\nConnection: close\r\n"), "{text}");
        }
    }

    #[test]
    fn a_node_that_is_too_slow_is_a_504_and_other_failures_are_a_502() {
        assert_eq!(Reject::Failed(Failure::AnswerTimeout, Reason::Final).status(), 504);
        for failure in [Failure::Refused, Failure::Died, Failure::BadAnswer(Refusal::BadLineEnd)] {
            assert_eq!(Reject::Failed(failure, Reason::Final).status(), 502);
        }
    }

    #[test]
    fn a_client_reads_why_its_request_was_not_sent_again() {
        let died = |reason| Reject::Failed(Failure::Died, reason).sentence();
        assert!(died(Reason::Unsafe).ends_with("a request of this method is not sent twice"));
        assert!(died(Reason::BodyGone).contains("too long to be held"));
        assert_eq!(died(Reason::SecondDeath), "the node went away before it answered");
    }
}

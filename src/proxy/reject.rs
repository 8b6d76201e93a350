//! What the balancer answers on its own behalf: one table from cause to status and words.

use std::time::SystemTime;

use crate::cluster::pool::Pool;
use crate::cluster::retry::{Failure, Reason};
use crate::http1::Refusal;
use crate::proxy::{EmptyClusterPage, no_route_page};
use crate::server::OverLimit;

/// Why the balancer answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// The request breaks a rule of HTTP/1 or exceeds a bound.
    Refused(Refusal),
    /// A trusted proxy did not say who its client is, as it was told to (`--proxy-protocol`).
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
    /// No route takes the request: the answer lists those there are.
    NoRoute,
    /// The path could be read as another's, where services are told apart by their paths.
    DotSegment,
    /// The request came through this balancer before.
    Loop,
    /// An OPTIONS or TRACE that may go no further (`Max-Forwards: 0`): it is ours to answer.
    LastHop {
        /// A TRACE; nothing is echoed, because that shows a page what its browser sent.
        trace: bool,
    },
    /// There never was a node: the answer teaches how to add one.
    NoNodeYet,
    /// There were nodes; none came back within the hold.
    NoNodeNow,
    /// There are nodes, and each had as many requests as it may until the hold was over.
    AllBusy,
    /// As many requests wait for a node as may.
    TooManyHeld,
    /// Every attempt failed; how the last one did, and why there was no other.
    Failed(Failure, Reason),
}

impl Reject {
    /// The status line's code.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::NoProxyHeader => 400,
            Self::OverLimit(OverLimit::Client) => 429,
            Self::OverLimit(OverLimit::All) | Self::NoMemory => 503,
            Self::SlowHead | Self::SlowBody => 408,
            Self::Private | Self::NoRoute => 404,
            Self::DotSegment => 400,
            Self::Loop => 508,
            Self::LastHop { trace: false } => 200,
            Self::LastHop { trace: true } => 405,
            Self::NoNodeYet | Self::NoNodeNow | Self::AllBusy | Self::TooManyHeld => 503,
            Self::Failed(Failure::AnswerTimeout, _) => 504,
            Self::Failed(..) => 502,
        }
    }

    /// The word for log fields and metric labels.
    pub(crate) fn cause(self) -> &'static str {
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
    pub(crate) fn sentence(self) -> String {
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
                Reason::BodyGone => {
                    "the node went away before it answered, and the body is too long to be held \
                     for another"
                }
                _ => "the node went away before it answered",
            },
            Self::Failed(Failure::AnswerTimeout, _) => "the node did not answer in time",
            Self::Failed(Failure::BadAnswer, _) => "the node's answer is not valid HTTP",
        };
        text.to_owned()
    }

    /// The reason phrase of the status line.
    pub(crate) fn reason(status: u16) -> &'static str {
        match status {
            200 => "OK",
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

    /// Writes the whole answer: its head and, unless it answers a HEAD, its body. Gives the number of
    /// the body's bytes.
    pub(crate) fn write(self, answer: &Answer<'_>, out: &mut Vec<u8>) -> usize {
        let status = self.status();
        let reason = Self::reason(status);
        let (media, body) = match (self, answer.browser) {
            (Self::NoNodeYet, Some(_)) => ("text/html", answer.teaching.html.clone()),
            (Self::NoNodeYet, None) => ("text/plain", answer.teaching.text.clone()),
            (Self::NoRoute, Some(port)) => ("text/html", no_route_page::html(answer.pool, port)),
            (other, _) => {
                let mut text = format!("{status} {reason}: {}\n", other.sentence());
                if other == Self::NoRoute {
                    text.push_str(&no_route_page::text(answer.pool));
                }
                ("text/plain", text)
            }
        };
        let retry = if matches!(status, 429 | 503) { "Retry-After: 1\r\n" } else { "" };
        // RFC 9110 sections 15.5.6 and 9.3.7: a 405, and the answer to an OPTIONS, says what is
        // taken, and anything but CONNECT is.
        let allow = if matches!(status, 200 | 405) { ALLOW } else { "" };
        // RFC 9110 section 6.6.1.
        let date = httpdate::fmt_http_date(answer.now);
        let connection = match (answer.close, answer.http10) {
            (true, _) => "Connection: close\r\n",
            (false, true) => "Connection: keep-alive\r\n",
            (false, false) => "",
        };
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: {media}; charset=utf-8\r\n\
             Content-Length: {}\r\nCache-Control: no-store\r\n{allow}{retry}{connection}\r\n",
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        let body = if answer.head_only { "" } else { body.as_str() };
        out.extend_from_slice(body.as_bytes());
        body.len()
    }
}

/// The methods of RFC 9110 section 9 without CONNECT, and that of RFC 5789. Unknown ones are passed
/// on too; which of all these a node takes, it says itself.
const ALLOW: &str = "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH\r\n";

/// The form of an answer: what the client can take and what becomes of the connection.
pub(crate) struct Answer<'a> {
    /// The request was a HEAD.
    pub(crate) head_only: bool,
    /// The client asked for HTML, at this port: `:8000`, or nothing.
    pub(crate) browser: Option<&'a str>,
    /// The client speaks HTTP/1.0: a kept connection must be said.
    pub(crate) http10: bool,
    /// The connection ends after this answer.
    pub(crate) close: bool,
    /// For its `Date`.
    pub(crate) now: SystemTime,
    /// What an empty cluster answers.
    pub(crate) teaching: &'a EmptyClusterPage,
    /// Whose routes are listed.
    pub(crate) pool: &'a Pool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reject: Reject, head_only: bool, html: bool) -> String {
        let mut out = Vec::new();
        let answer = Answer {
            head_only,
            browser: html.then_some(""),
            http10: false,
            close: true,
            now: SystemTime::UNIX_EPOCH,
            teaching: &EmptyClusterPage { html: "<p>teach".to_owned(), text: "teach\n".to_owned() },
            pool: &Pool::default(),
        };
        reject.write(&answer, &mut out);
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
        for failure in [Failure::Refused, Failure::Died, Failure::BadAnswer] {
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

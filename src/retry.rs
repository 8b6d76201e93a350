//! What may be sent again, decided by one pure function from the facts of a failed attempt.
//!
//! The rules are RFC 9110 section 9.2.2 (a proxy must not repeat a request that is not idempotent)
//! and two of our own: nothing after a head went down, and a request that may have killed a node
//! is given to one more node at the most.

use std::time::Duration;

/// Whether a request may be executed twice with the effect of once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// GET, HEAD, OPTIONS, TRACE, PUT, DELETE (RFC 9110 section 9.2.2), or any method that
    /// carries an `Idempotency-Key`.
    Idempotent,
    /// All others.
    Unsafe,
}

impl Safety {
    /// By the method alone. Methods are case-sensitive (RFC 9110 section 9.1).
    pub fn of_method(method: &str) -> Self {
        match method {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" => Self::Idempotent,
            _ => Self::Unsafe,
        }
    }
}

/// How an attempt ended without a whole response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// No route, no link, or another error of connecting.
    Unreachable,
    /// Not connected within the limit.
    ConnectTimeout,
    /// The connection ended (reset or closed) before a whole head came.
    Died,
    /// The node's host vanished while the answer was awaited: nothing there answers any more.
    Vanished,
    /// The node is alive but sent no head within the limit.
    AnswerTimeout,
    /// The node sent something that is not HTTP/1.
    BadAnswer,
}

/// What is known of a failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// How it ended.
    pub failure: Failure,
    /// Whether there was a connection.
    pub connected: bool,
    /// Bytes written to the node, counted from the first of the head.
    pub written: u64,
    /// Whether a response head went down to the client.
    pub head_sent: bool,
    /// May the request be executed twice?
    pub safety: Safety,
    /// Whether the request's body is none or was held whole so far.
    pub body_held: bool,
    /// Whether an earlier attempt of this request already died with bytes written.
    pub died_before: bool,
    /// Attempts that cost a try so far, this one not counted.
    pub tries: u32,
    /// Since the request came.
    pub elapsed: Duration,
}

/// The bounds on sending again.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The most attempts that cost a try. Default 4.
    pub attempts: u32,
    /// No new attempt later than this after the request came. Default 15 s.
    pub within: Duration,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send to another node; the request did not reach one, so it costs no try.
    AgainFree,
    /// Send to another node; it costs a try and, while the failed node stays in the pool, budget.
    Again,
    /// Tell the client.
    GiveUp,
}

/// Decides what to do after `attempt` failed. The cheapest refusal comes first.
pub fn decide(attempt: &Attempt, policy: &RetryPolicy) -> Verdict {
    if attempt.head_sent || attempt.elapsed >= policy.within {
        return Verdict::GiveUp;
    }
    if !attempt.connected || attempt.written == 0 {
        return Verdict::AgainFree;
    }
    let may_repeat = matches!(attempt.failure, Failure::Died | Failure::Vanished)
        && attempt.safety == Safety::Idempotent
        && attempt.body_held
        && !(attempt.failure == Failure::Died && attempt.died_before)
        && attempt.tries + 1 < policy.attempts;
    if may_repeat { Verdict::Again } else { Verdict::GiveUp }
}

/// Whether one more replay may start while `active` requests run and `replaying` of them are
/// replays: a fifth of the active ones, and three in any case (Envoy's retry budget), so that a
/// sick cluster is not killed by its own retries.
pub fn within_budget(active: usize, replaying: usize) -> bool {
    replaying < (active / 5).max(3)
}

/// The pause before the `round`-th pass over all nodes (from 0): full jitter between 25 ms and a
/// bound that doubles up to 250 ms. `random` is uniform in 0.0..1.0.
pub fn backoff(round: u32, random: f64) -> Duration {
    const LEAST: Duration = Duration::from_millis(25);
    const MOST: Duration = Duration::from_millis(250);
    let bound = (LEAST * 2u32.saturating_pow(round.saturating_add(1)).min(16)).min(MOST);
    LEAST + (bound - LEAST).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { attempts: 4, within: Duration::from_secs(15) };

    /// A GET whose connection was reset after it had been sent.
    fn died() -> Attempt {
        Attempt {
            failure: Failure::Died,
            connected: true,
            written: 100,
            head_sent: false,
            safety: Safety::Idempotent,
            body_held: true,
            died_before: false,
            tries: 0,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn a_get_whose_node_died_is_sent_to_one_more_node() {
        assert_eq!(decide(&died(), &POLICY), Verdict::Again);
        let again = Attempt { died_before: true, tries: 1, ..died() };
        assert_eq!(decide(&again, &POLICY), Verdict::GiveUp);
    }

    #[test]
    fn a_host_that_vanished_was_not_killed_by_the_request() {
        let vanished = Attempt { failure: Failure::Vanished, died_before: true, ..died() };
        assert_eq!(decide(&vanished, &POLICY), Verdict::Again);
        let post = Attempt { safety: Safety::Unsafe, ..vanished };
        assert_eq!(decide(&post, &POLICY), Verdict::GiveUp);
    }

    #[test]
    fn whatever_reached_no_node_is_sent_again_free_of_charge() {
        for safety in [Safety::Idempotent, Safety::Unsafe] {
            for failure in [Failure::Refused, Failure::Unreachable, Failure::ConnectTimeout] {
                let attempt =
                    Attempt { failure, safety, connected: false, written: 0, tries: 3, ..died() };
                assert_eq!(decide(&attempt, &POLICY), Verdict::AgainFree);
            }
            let dead_before_a_byte = Attempt { safety, written: 0, died_before: true, ..died() };
            assert_eq!(decide(&dead_before_a_byte, &POLICY), Verdict::AgainFree);
        }
    }

    #[test]
    fn every_other_fact_alone_forbids_a_second_try() {
        let cases = [
            ("unsafe", Attempt { safety: Safety::Unsafe, ..died() }),
            ("head sent", Attempt { head_sent: true, ..died() }),
            ("body not held", Attempt { body_held: false, ..died() }),
            ("no tries left", Attempt { tries: 3, ..died() }),
            ("too late", Attempt { elapsed: POLICY.within, ..died() }),
            ("slow node", Attempt { failure: Failure::AnswerTimeout, ..died() }),
            ("bad answer", Attempt { failure: Failure::BadAnswer, ..died() }),
        ];
        for (name, attempt) in cases {
            assert_eq!(decide(&attempt, &POLICY), Verdict::GiveUp, "{name}");
        }
    }

    #[test]
    fn the_budget_is_a_fifth_of_the_active_requests_and_at_least_three() {
        assert!(within_budget(1, 2) && !within_budget(1, 3));
        assert!(within_budget(100, 19) && !within_budget(100, 20));
    }

    #[test]
    fn the_backoff_stays_between_25_and_250_ms() {
        assert_eq!(backoff(0, 0.0), Duration::from_millis(25));
        assert_eq!(backoff(0, 1.0), Duration::from_millis(50));
        for round in [3, 10, u32::MAX] {
            assert_eq!(backoff(round, 1.0), Duration::from_millis(250));
        }
    }

    #[test]
    fn methods_are_sorted_by_the_rfc_and_by_case() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert_eq!(Safety::of_method(method), Safety::Idempotent);
        }
        for method in ["POST", "PATCH", "get", "LOCK"] {
            assert_eq!(Safety::of_method(method), Safety::Unsafe);
        }
    }
}

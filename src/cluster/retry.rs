//! The decision whether a request is sent again: one pure function of the facts of a failed attempt.
//!
//! The rules are RFC 9110 section 9.2.2 (a proxy must not repeat a request that is not idempotent)
//! and two of our own: nothing after a head went down, and a request that may have killed a node
//! is given to one more node at the most, unless a death that it cannot have caused clears it.

use std::time::Duration;

use crate::http1::Refusal;

/// The safety of executing a request twice: with the effect of once, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// GET, HEAD, OPTIONS, TRACE, PUT, DELETE (RFC 9110 section 9.2.2), or any method that
    /// carries an `Idempotency-Key`.
    Idempotent,
    /// All others.
    Unsafe,
    /// It belongs to one connection of its node, because a login is bound to that: over another one it
    /// would be another request.
    Pinned,
}

impl Safety {
    /// The safety by the method alone. Methods are case-sensitive (RFC 9110 section 9.1).
    pub fn of_method(method: &str) -> Self {
        match method {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" => Self::Idempotent,
            _ => Self::Unsafe,
        }
    }
}

/// The end of an attempt without a whole response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No program listens there.
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
    /// The node sent something that is not HTTP/1, or that can be read in two ways.
    BadAnswer(Refusal),
}

impl Failure {
    /// Its word in logs, labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "connect_refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Died => "node_died",
            Self::Vanished => "node_vanished",
            Self::AnswerTimeout => "answer_timeout",
            Self::BadAnswer(_) => "bad_answer",
        }
    }
}

/// The reach of an attempt before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No byte was written, also because there was no connection: no node has seen anything of it.
    Unsent,
    /// A byte or more was written: a node may have executed it.
    Sent,
    /// A response head went down to the client, or a part of one.
    Answered,
}

/// The suspicion that a request kills its nodes, by its earlier attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// None of them died with bytes written.
    None,
    /// One died with bytes written.
    Suspected,
    /// One did, and a node that this request was never sent to fell in the same moment: something
    /// else kills nodes.
    Cleared,
}

/// The facts of a failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Its end.
    pub failure: Failure,
    /// The point to which it came.
    pub reach: Reach,
    /// The safety of the request.
    pub safety: Safety,
    /// The request has no body, or it was held whole so far.
    pub body_held: bool,
    /// The suspicion that the request kills its nodes, before this attempt.
    pub suspicion: Suspicion,
    /// A node that takes requests was not tried for it.
    pub others_untried: bool,
    /// The node was on trial: no answer of such a node is a surprise.
    pub on_trial: bool,
    /// The node has left the pool, or is not picked any more: it is not the replays that keep it busy.
    pub node_left: bool,
    /// Attempts that cost a try so far, this one not counted.
    pub tries: u32,
    /// The time since the request came.
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

/// The next step after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send to another node; the request did not reach one, so it costs no try.
    AgainFree,
    /// Send to another node; it costs a try.
    Again {
        /// It waits for the budget as well: the failed node still stands in the pool, so it may suffer
        /// from replays.
        budget: bool,
    },
    /// Answer the client with an error.
    GiveUp(Reason),
}

/// The reason for which a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A response head went down: the client would get two answers in one.
    HeadSent,
    /// The time in which a new attempt may begin is over.
    TooLate,
    /// A node may have executed it, and it must not be executed twice.
    Unsafe,
    /// A login is bound to the connection that failed.
    Pinned,
    /// Its body was longer than what is held, and is gone.
    BodyGone,
    /// It may be the cause of its nodes' deaths; two are enough.
    SecondDeath,
    /// All its tries are used.
    NoTryLeft,
    /// Another node would hardly do better: the node is alive, and slow or wrong.
    Final,
}

impl Reason {
    /// Its word in logs, labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HeadSent => "head_sent",
            Self::TooLate => "too_late",
            Self::Unsafe => "unsafe",
            Self::Pinned => "pinned",
            Self::BodyGone => "body_gone",
            Self::SecondDeath => "second_death",
            Self::NoTryLeft => "no_try_left",
            Self::Final => "final",
        }
    }
}

/// Decides the next step after `attempt` failed. The first rule that applies gives the reason.
///
/// ```
/// use std::time::Duration;
///
/// use picluster::cluster::retry::{
///     Attempt, Failure, Reach, Reason, RetryPolicy, Safety, Suspicion, Verdict, decide,
/// };
///
/// let policy = RetryPolicy { attempts: 4, within: Duration::from_secs(15) };
/// // The node's connection was reset after a GET had been sent.
/// let get = Attempt {
///     failure: Failure::Died,
///     reach: Reach::Sent,
///     safety: Safety::Idempotent,
///     body_held: true,
///     suspicion: Suspicion::None,
///     others_untried: true,
///     on_trial: false,
///     node_left: false,
///     tries: 0,
///     elapsed: Duration::from_millis(3),
/// };
/// assert_eq!(decide(&get, &policy), Verdict::Again { budget: true });
///
/// // A node may have executed a POST: it must not be executed twice.
/// let post = Attempt { safety: Safety::Unsafe, ..get };
/// assert_eq!(decide(&post, &policy), Verdict::GiveUp(Reason::Unsafe));
///
/// // Nobody listened there, so no node has seen it: it costs no try.
/// let refused = Attempt { failure: Failure::Refused, reach: Reach::Unsent, ..post };
/// assert_eq!(decide(&refused, &policy), Verdict::AgainFree);
/// ```
pub fn decide(attempt: &Attempt, policy: &RetryPolicy) -> Verdict {
    let reason = if attempt.reach == Reach::Answered {
        Reason::HeadSent
    } else if attempt.elapsed >= policy.within {
        Reason::TooLate
    } else if attempt.reach == Reach::Unsent {
        return Verdict::AgainFree;
    } else if attempt.safety == Safety::Unsafe {
        Reason::Unsafe
    } else if attempt.safety == Safety::Pinned {
        Reason::Pinned
    } else if !is_worth_another_node(attempt) {
        Reason::Final
    } else if !attempt.body_held {
        Reason::BodyGone
    } else if attempt.failure == Failure::Died && attempt.suspicion == Suspicion::Suspected {
        Reason::SecondDeath
    } else if attempt.tries + 1 >= policy.attempts {
        Reason::NoTryLeft
    } else {
        return Verdict::Again { budget: !attempt.node_left };
    };
    Verdict::GiveUp(reason)
}

/// Returns whether another node may do better. A node that is slow does what its application does
/// everywhere. One that gives no valid answer may be the only one of its kind.
fn is_worth_another_node(attempt: &Attempt) -> bool {
    match attempt.failure {
        Failure::Died | Failure::Vanished => true,
        Failure::BadAnswer(_) => attempt.on_trial || attempt.others_untried,
        _ => false,
    }
}

/// Returns whether one more replay may start while `active` requests run and `replaying` of them are
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
    const DIED: Attempt = Attempt {
        failure: Failure::Died,
        reach: Reach::Sent,
        safety: Safety::Idempotent,
        body_held: true,
        suspicion: Suspicion::None,
        others_untried: false,
        on_trial: false,
        node_left: false,
        tries: 0,
        elapsed: Duration::ZERO,
    };

    const INVALID: Failure = Failure::BadAnswer(Refusal::BadLineEnd);
    const AGAIN: Verdict = Verdict::Again { budget: true };

    #[test]
    fn a_get_whose_node_died_is_sent_to_one_more_node() {
        assert_eq!(decide(&DIED, &POLICY), AGAIN);
        let again = Attempt { suspicion: Suspicion::Suspected, tries: 1, ..DIED };
        assert_eq!(decide(&again, &POLICY), Verdict::GiveUp(Reason::SecondDeath));
    }

    #[test]
    fn a_request_is_cleared_by_a_death_that_it_cannot_have_caused() {
        let again = Attempt { suspicion: Suspicion::Cleared, tries: 1, ..DIED };
        assert_eq!(decide(&again, &POLICY), AGAIN);
    }

    #[test]
    fn a_host_that_vanished_was_not_killed_by_the_request() {
        let suspicion = Suspicion::Suspected;
        let vanished = Attempt { failure: Failure::Vanished, suspicion, ..DIED };
        assert_eq!(decide(&vanished, &POLICY), AGAIN);
        let post = Attempt { safety: Safety::Unsafe, ..vanished };
        assert_eq!(decide(&post, &POLICY), Verdict::GiveUp(Reason::Unsafe));
    }

    #[test]
    fn a_replay_costs_budget_only_while_the_failed_node_stays() {
        let left = Attempt { node_left: true, ..DIED };
        assert_eq!(decide(&left, &POLICY), Verdict::Again { budget: false });
    }

    #[test]
    fn every_other_fact_alone_forbids_a_second_try() {
        for (reason, attempt) in [
            (Reason::HeadSent, Attempt { reach: Reach::Answered, ..DIED }),
            (Reason::TooLate, Attempt { elapsed: POLICY.within, ..DIED }),
            (Reason::Unsafe, Attempt { safety: Safety::Unsafe, ..DIED }),
            (Reason::BodyGone, Attempt { body_held: false, ..DIED }),
            (Reason::NoTryLeft, Attempt { tries: 3, ..DIED }),
            (Reason::Final, Attempt { failure: Failure::AnswerTimeout, ..DIED }),
            (Reason::Final, Attempt { failure: INVALID, ..DIED }),
            (Reason::Pinned, Attempt { safety: Safety::Pinned, ..DIED }),
        ] {
            assert_eq!(decide(&attempt, &POLICY), Verdict::GiveUp(reason));
        }
        let on_trial = Attempt { failure: INVALID, on_trial: true, ..DIED };
        assert_eq!(decide(&on_trial, &POLICY), AGAIN);
    }

    #[test]
    fn a_get_whose_answer_was_refused_goes_to_an_untried_node_alone() {
        let others_untried = Attempt { failure: INVALID, others_untried: true, ..DIED };
        assert_eq!(decide(&others_untried, &POLICY), AGAIN);
        // It kills nobody.
        let suspected = Attempt { suspicion: Suspicion::Suspected, ..others_untried };
        assert_eq!(decide(&suspected, &POLICY), AGAIN);
        let post = Attempt { safety: Safety::Unsafe, ..others_untried };
        assert_eq!(decide(&post, &POLICY), Verdict::GiveUp(Reason::Unsafe));
    }

    /// Every combination of facts, at the edges of its numbers.
    fn all_attempts() -> impl Iterator<Item = Attempt> {
        const FAILURES: [Failure; 7] = [
            Failure::Refused,
            Failure::Unreachable,
            Failure::ConnectTimeout,
            Failure::Died,
            Failure::Vanished,
            Failure::AnswerTimeout,
            INVALID,
        ];
        const REACHES: [Reach; 3] = [Reach::Unsent, Reach::Sent, Reach::Answered];
        const SUSPICIONS: [Suspicion; 3] =
            [Suspicion::None, Suspicion::Suspected, Suspicion::Cleared];
        let flags = 0_u32..1 << 7;
        flags.flat_map(|flags| {
            let flag = move |bit: u32| flags & (1 << bit) != 0;
            let safety = match (flag(0), flag(5)) {
                (true, _) => Safety::Unsafe,
                (false, true) => Safety::Pinned,
                (false, false) => Safety::Idempotent,
            };
            let failures = FAILURES.into_iter();
            let kinds = failures.flat_map(|failure| REACHES.map(|reach| (failure, reach)));
            kinds.flat_map(move |(failure, reach)| {
                (0..=4).flat_map(move |tries| {
                    SUSPICIONS.map(|suspicion| Attempt {
                        failure,
                        reach,
                        safety,
                        body_held: flag(1),
                        suspicion,
                        others_untried: flag(6),
                        on_trial: flag(2),
                        node_left: flag(3),
                        tries,
                        elapsed: if flag(4) { POLICY.within } else { Duration::ZERO },
                    })
                })
            })
        })
    }

    #[test]
    fn no_combination_of_facts_breaks_a_law() {
        let mut sent_again = 0;
        for attempt in all_attempts() {
            let verdict = decide(&attempt, &POLICY);
            let again = !matches!(verdict, Verdict::GiveUp(_));
            sent_again += u32::from(again);
            let written = attempt.reach != Reach::Unsent;
            let laws = [
                ("nothing after a head went down", !(again && attempt.reach == Reach::Answered)),
                (
                    "no unsafe method after a byte",
                    !(again && attempt.safety != Safety::Idempotent && written),
                ),
                ("nothing too late", !(again && attempt.elapsed >= POLICY.within)),
                ("a body that is gone", !(again && written && !attempt.body_held)),
                (
                    "two deaths at the most",
                    !(again
                        && written
                        && attempt.failure == Failure::Died
                        && attempt.suspicion == Suspicion::Suspected),
                ),
                (
                    "at most four tries",
                    !matches!(verdict, Verdict::Again { .. }) || attempt.tries < 3,
                ),
                (
                    "what reached no node is free, in time",
                    (verdict == Verdict::AgainFree)
                        == (!written && attempt.elapsed < POLICY.within),
                ),
                (
                    "budget as long as the node stays",
                    verdict != Verdict::Again { budget: attempt.node_left },
                ),
            ];
            for (law, kept) in laws {
                assert!(kept, "{law}: {attempt:?} got {verdict:?}");
            }
        }
        assert!(sent_again > 0, "a function that always gives up keeps every law");
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

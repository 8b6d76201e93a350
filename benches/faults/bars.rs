//! The bars of picluster under each fault, and the bars that a trial missed.

use crate::faults::fault::Fault;
use crate::faults::trial::Met;

/// The longest wait of a request that may be sent again.
const WAIT_MAX_MS: u64 = 1_000;

/// The longest wait for the answer that a request may not be sent again.
const REFUSAL_MAX_MS: u64 = 1_500;

/// A machine that stalls longer than this has other work.
const STALL_MAX_MS: u64 = 200;

/// The missed bars, in a few words each.
pub(crate) fn of(fault: Fault, met: &Met) -> Vec<String> {
    let mut missed = Vec::new();
    let mut miss = |is_missed: bool, words: &str| {
        if is_missed {
            missed.push(words.to_owned());
        }
    };
    let is_post = met.clients.method == "POST";
    miss(is_post && !met.twice.is_empty(), "a POST arrived twice");
    match fault {
        Fault::Kill | Fault::Cable | Fault::Drop | Fault::Freeze if is_post => {
            miss(met.most_of_a_client() > 1, "two POSTs of one client");
            miss(met.slowest_failure_ms() > REFUSAL_MAX_MS, "a 502 after 1.5 s");
            let others = met.report.reasons.keys().any(|reason| !reason.starts_with("502 "));
            miss(others, "a failure that is no 502");
            let late = fault == Fault::Kill && met.sent_after_the_fault().next().is_some();
            miss(late, "a POST sent after the kill");
        }
        Fault::Kill | Fault::Cable | Fault::Drop | Fault::Freeze => {
            miss(met.report.failed > 0, "failed");
            let is_stalled = met.report.stall_ms > STALL_MAX_MS;
            let long = if is_stalled {
                "waited over 1.0 s, the machine stalled"
            } else {
                "waited over 1.0 s"
            };
            miss(met.report.worst_ms > WAIT_MAX_MS, long);
        }
        Fault::Term | Fault::Restart | Fault::NoMulticast => {
            miss(met.report.failed > 0, "failed");
        }
        _ => {}
    }
    miss(met.back.is_none(), "not back in 15 s");
    missed
}

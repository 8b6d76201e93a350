//! The corpus of exact cases (`tests/corpus`) against the real balancer, in front of a node that
//! records all bytes. Each case is sent at once, byte by byte, and cut at a random place.
//!
//! A reader that shares no code with the balancer's judges the bytes at the node, so that nobody
//! makes one mistake twice.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::data_line::{PATIENCE, TestBalancer};
use crate::lab::{Need, Turn, pause, say};
use case::Case;
use node::{Node, Script};
use reader::Read;

pub(crate) mod case;
mod node;
pub(crate) mod reader;

/// Balancers with a node each that work side by side. They wait more than they work.
const BENCHES: usize = 8;

/// The most pieces into which a long case is cut.
const PIECES_MAX: usize = 2_000;

/// The way in which bytes are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    AtOnce,
    ByteByByte,
    /// In two pieces; the first has this many thousandths of the bytes.
    Halves(usize),
}

/// Sends until the other side takes no more: a refusal may come before the end.
pub(crate) fn write_in(stream: &mut TcpStream, bytes: &[u8], manner: Manner) {
    let piece = match manner {
        Manner::AtOnce => bytes.len(),
        Manner::ByteByByte => bytes.len().div_ceil(PIECES_MAX),
        Manner::Halves(permille) => bytes.len() * permille / 1000,
    };
    for (at, piece) in bytes.chunks(piece.max(1)).enumerate() {
        if stream.write_all(piece).is_err() {
            return;
        }
        match manner {
            // Long enough that the first piece is read separately, as a rule.
            Manner::Halves(_) if at == 0 => pause(Duration::from_millis(1)),
            Manner::Halves(_) => {}
            _ => thread::yield_now(),
        }
    }
}

#[test]
fn every_case_ends_as_the_corpus_says_however_it_is_sent() {
    let _turn = Turn::wait(Need::Core);
    let began = Instant::now();
    let cases = case::all();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..BENCHES {
            scope.spawn(|| {
                let bench = Bench::new();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let halves = Manner::Halves(fastrand::usize(1..1000));
                    for manner in [Manner::AtOnce, Manner::ByteByByte, halves] {
                        if let Err(failure) = bench.run(case, manner) {
                            failures.lock().unwrap().push(failure);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    say(&format!("corpus: {} cases in three manners, {:?}", cases.len(), began.elapsed()));
    assert!(
        failures.is_empty(),
        "{} of {} runs failed:\n{}",
        failures.len(),
        cases.len() * 3,
        failures.join("\n")
    );
}

#[test]
fn the_corpus_is_consistent_and_large_enough() {
    let cases = case::all();
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "each case has a name of its own");
    assert!(cases.len() >= 400, "{} cases", cases.len());
    let passes = cases.iter().filter(|case| !case.arrives.is_empty()).count();
    assert!(passes * 3 >= cases.len(), "only {passes} of {} let anything pass", cases.len());
    for case in &cases {
        requests(&case.arrives).unwrap_or_else(|wrong| panic!("{}: {wrong}", case.name));
    }
}

/// The whole requests in some bytes. After an accepted offer to switch, the bytes are no HTTP; they
/// belong to the last request.
pub(crate) fn requests(mut bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let len = match reader::request(bytes)? {
            Read::Whole(_) if bytes.windows(10).any(|part| part == b"\r\nUpgrade:") => bytes.len(),
            Read::Whole(len) => len,
            Read::Unfinished => return Err("a request without its end".to_owned()),
        };
        requests.push(&bytes[..len]);
        bytes = &bytes[len..];
    }
    Ok(requests)
}

/// A balancer and its node.
struct Bench {
    node: Node,
    lb: TestBalancer,
}

impl Bench {
    fn new() -> Self {
        let node = Node::start();
        let lb = TestBalancer::to(node.addr, |setup| setup.node_header = false);
        Self { node, lb }
    }

    fn run(&self, case: &Case, manner: Manner) -> Result<(), String> {
        self.node.follow(Script { answer: case.node_answer.clone(), manner });
        let exchange = exchange(&self.lb, case, manner);
        let came = self.node.came();
        let judged = match &exchange {
            Ok((got, end)) => judge_client(case, got, end).and_then(|()| judge_node(case, &came)),
            Err(error) => Err(format!("the client waited in vain: {error}")),
        };
        judged.map_err(|wrong| {
            let got = exchange.map(|(got, _)| got).unwrap_or_default();
            format!(
                "{} ({manner:?}): {wrong}\n  source: {}\n  sent: {}\n  got: {}\n  at the node: {}",
                case.name,
                case.source,
                shown(&case.sent),
                shown(&got),
                came.iter().map(|bytes| shown(bytes)).collect::<Vec<_>>().join(" | "),
            )
        })
    }
}

/// The end of a connection: proper or a reset.
pub(crate) type End = Result<(), io::ErrorKind>;

/// Sends the bytes of a case on its own connection and reads until the end.
pub(crate) fn exchange(
    lb: &TestBalancer,
    case: &Case,
    manner: Manner,
) -> io::Result<(Vec<u8>, End)> {
    let mut stream = TcpStream::connect(lb.addr())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write_in(&mut stream, &case.sent, manner);
    // The balancer must end a connection without this, if it has to end it.
    if !case.close || case.at_end {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) => Ok((got, Ok(()))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Ok((got, Err(error.kind())))
        }
        Err(error) => Err(error),
    }
}

/// Returns whether the nth final answer of a case answers a HEAD.
pub(crate) fn answers_head(case: &Case) -> impl Fn(usize) -> bool {
    let forwarded = requests(&case.arrives).unwrap_or_default();
    let mut heads: Vec<_> = forwarded.iter().map(|request| request.starts_with(b"HEAD ")).collect();
    if heads.is_empty() {
        heads.push(case.sent.starts_with(b"HEAD "));
    }
    move |nth| heads.get(nth).is_some_and(|&head| head)
}

fn judge_client(case: &Case, got: &[u8], end: &End) -> Result<(), String> {
    if let Some(exact) = case.gets.as_deref().filter(|exact| *exact != got) {
        return Err(format!("the client was to get {}", shown(exact)));
    }
    let cut = is_cut(case, got, end);
    if case.cut || (case.broken && cut) {
        return if cut { Ok(()) } else { Err("not an answer cut short".to_owned()) };
    }
    if end.is_err() {
        return Err("the connection was reset".to_owned());
    }
    let answers = reader::answers(got, answers_head(case))?;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    let expected = if case.broken { &vec![502] } else { &case.statuses };
    if statuses != *expected || !answers.iter().all(|answer| answer.whole) {
        return Err(format!("{statuses:?} instead of {expected:?}"));
    }
    let close = answers.last().is_some_and(|answer| answer.close);
    if close != case.close {
        return Err(format!("Connection: close is {close} in the last answer"));
    }
    Ok(())
}

/// Returns whether the last answer began as it should, and the client can see that it is incomplete.
fn is_cut(case: &Case, got: &[u8], end: &End) -> bool {
    let line = case.statuses.last().map(|status| format!("HTTP/1.1 {status} "));
    let begun =
        line.is_some_and(|line| got.windows(line.len()).any(|part| part == line.as_bytes()));
    let answers = reader::answers(got, answers_head(case));
    begun && (end.is_err() || answers.is_ok_and(|all| all.last().is_some_and(|last| !last.whole)))
}

fn judge_node(case: &Case, came: &[Vec<u8>]) -> Result<(), String> {
    let mut whole = Vec::new();
    for (at, bytes) in came.iter().enumerate() {
        // The balancer may give up a request before all of its head was sent.
        let may_be_unfinished = case.unfinished && at + 1 == came.len();
        let bare = match reader::without_ours(bytes) {
            Err(_) if may_be_unfinished => continue,
            bare => bare?,
        };
        match reader::request(&bare)? {
            Read::Unfinished if may_be_unfinished => {}
            Read::Unfinished => return Err("a request without its end at the node".to_owned()),
            Read::Whole(len) if len == bare.len() || case.statuses.contains(&101) => {
                whole.extend_from_slice(&bare);
            }
            Read::Whole(_) => return Err("more than one request on a connection".to_owned()),
        }
    }
    let times = if case.twice { 2 } else { 1 };
    if whole == case.arrives.repeat(times) {
        Ok(())
    } else {
        Err(format!("{} instead of {} at the node", shown(&whole), shown(&case.arrives)))
    }
}

/// Bytes in the notation of the corpus, without the middle of long ones.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match bytes {
        [start @ .., _, _, _] if start.len() > 1500 => {
            let (start, end) = (&bytes[..700], &bytes[bytes.len() - 100..]);
            format!("{} ... {} ({} bytes)", start.escape_ascii(), end.escape_ascii(), bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

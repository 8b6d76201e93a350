//! The client: a number of requests, one after the other, over one connection. It is a program of
//! its own, because it runs inside the lab; this binary is started again as one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::course::Course;
use crate::lab::{Balancer, Lab, Pi};

/// The first argument, before the others.
const WORD: &str = "ask-so-often";

/// Its arguments for a course's request.
pub(crate) struct Asker {
    client: Pi,
    server: String,
    request: String,
    count: u64,
}

impl Asker {
    pub(crate) fn new(lab: &Lab, lb: &Balancer, course: &Course) -> Self {
        let server = lb.endpoint().to_string();
        Self { client: lab.client(), server, request: course.request(), count: course.requests }
    }

    /// Sends `times` times the number of requests of the course. Returns the time that this took.
    pub(crate) fn ask(&self, times: u64) -> Duration {
        let binary = std::env::current_exe().expect("the benchmark has a path");
        let binary = binary.to_str().expect("its path is UTF-8");
        let count = (times * self.count).to_string();
        let began = Instant::now();
        let text = self.client.run(&[binary, WORD, &self.server, &self.request, &count]);
        assert!(text.contains(&format!("{count} answers")), "the client wrote\n{text}");
        began.elapsed()
    }
}

/// Runs the client that this process was started as; `false` if it was started as none.
pub(crate) fn run_if_asked() -> bool {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [word, server, request, count] = &args[..] else { return false };
    if word != WORD {
        return false;
    }
    let count: u64 = count.parse().expect("a count");
    let mut stream = TcpStream::connect(server).expect("the balancer listens");
    stream.set_nodelay(true).expect("a TCP socket has that option");
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..count {
        stream.write_all(request.as_bytes()).expect("the balancer reads");
        read_answer(&mut stream, &mut bytes);
    }
    let _ = writeln!(std::io::stdout(), "{count} answers");
    true
}

/// Reads a whole answer, which must be a 200.
fn read_answer(stream: &mut TcpStream, bytes: &mut [u8]) {
    let mut filled = 0;
    let mut whole = None;
    while whole.is_none_or(|whole| filled < whole) {
        let n = stream.read(&mut bytes[filled..]).expect("the balancer answers");
        assert!(n > 0, "the balancer closed");
        filled += n;
        whole = whole.or_else(|| length(&bytes[..filled]));
    }
    assert_eq!(whole, Some(filled), "more than an answer came");
}

/// The length of head and body together, once the head is there.
fn length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 200 "), "{text}");
    let value = text.split_once("\r\ncontent-length:").expect("nodes say how long it is").1;
    let body: usize = value.lines().next()?.trim().parse().expect("a length");
    Some(head + body)
}

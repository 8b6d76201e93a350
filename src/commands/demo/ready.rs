//! Asks the balancer's admin port how many nodes it would send requests to.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Between two questions: short beside the second or two that mDNS takes.
const PAUSE: Duration = Duration::from_millis(100);

/// The balancer is on this machine.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Sixteen nodes take under 8 KiB.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// The part of `/api/v1/nodes` that counts here.
#[derive(Deserialize)]
struct Answer {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    state: String,
}

/// After a short pause, the number of nodes that are up; 0 while the balancer does not answer.
pub(super) async fn nodes_up(admin: SocketAddr) -> usize {
    tokio::time::sleep(PAUSE).await;
    let answer = tokio::time::timeout(TIMEOUT, ask(admin)).await;
    answer.ok().and_then(Result::ok).and_then(|answer| count(&answer)).unwrap_or(0)
}

/// HTTP/1.0 by hand: the answer is neither chunked nor kept alive, so it is all there is to read.
async fn ask(admin: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /api/v1/nodes HTTP/1.0\r\nHost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn count(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let answer: Answer = serde_json::from_slice(&answer[head + 4..]).ok()?;
    Some(answer.nodes.iter().filter(|node| node.state == "up").count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_that_are_up_count() {
        let answer = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n\
            {\"schema\":\"picluster/1\",\"nodes\":[{\"state\":\"up\",\"id\":\"a\"},{\"state\":\"starting\"}]}";
        assert_eq!(count(answer), Some(1));
    }

    #[test]
    fn a_text_that_is_no_answer_counts_nothing() {
        assert_eq!(count(b""), None);
        assert_eq!(count(b"HTTP/1.0 503 Service Unavailable\r\n\r\n"), None);
        assert_eq!(count(b"\r\n\r\n{\"nodes\":7}"), None);
    }
}

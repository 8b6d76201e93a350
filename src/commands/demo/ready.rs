//! Asks the balancer's admin port for the number of nodes that it would send requests to.

use std::net::SocketAddr;
use std::time::Duration;

use crate::commands::survey::balancer;

/// Between two questions: short beside the second or two that mDNS takes.
const PAUSE: Duration = Duration::from_millis(100);

/// After a short pause, the number of nodes that are up; 0 while the balancer does not answer.
pub(super) async fn nodes_up(admin: SocketAddr) -> usize {
    tokio::time::sleep(PAUSE).await;
    balancer::nodes(admin).await.map_or(0, |document| document.view.nodes_up())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Asks a balancer that gives this answer.
    async fn counted(answer: &'static str) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        nodes_up(admin).await
    }

    #[tokio::test]
    async fn only_nodes_that_are_up_count() {
        let answer = "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n\
            {\"schema\":\"picluster/1\",\"cluster\":\"demo\",\
            \"nodes\":[{\"state\":\"up\",\"id\":\"a\"},{\"state\":\"starting\"}]}";
        assert_eq!(counted(answer).await, 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_list_of_nodes_counts_nothing() {
        assert_eq!(counted("").await, 0);
        assert_eq!(counted("HTTP/1.0 503 Service Unavailable\r\n\r\n").await, 0);
        assert_eq!(counted("\r\n\r\n{\"nodes\":7}").await, 0);
    }
}

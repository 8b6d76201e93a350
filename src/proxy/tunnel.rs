//! The tunnel after a 101: bytes both ways, until both sides have ended or nothing moved for too long.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::proxy::access::LogEntry;
use crate::proxy::linger;
use crate::server::buffer::{Buffer, Buffers};

/// Carries bytes between the two, beginning with those that were read already. When one side ends its
/// sending, the connection to the other is half-closed. Completes when both directions have ended.
/// Unless both have, both connections are reset when they are dropped.
///
/// A side that does not read stops the other one, which is no fault: the protocol that the two have
/// agreed on is not known here. Nothing but the limit on silence counts, and a write of which a part
/// was taken is no silence.
///
/// # Errors
/// One side broke, or nothing moved for `silence_max` in either direction
/// ([`io::ErrorKind::TimedOut`]).
pub(super) async fn run(
    client: &mut TcpStream,
    node: &mut TcpStream,
    from_client: Buffer,
    from_node: Buffer,
    free: &Buffers,
    silence_max: Duration,
    entry: &LogEntry,
) -> io::Result<()> {
    linger::reset_on_drop(client);
    linger::reset_on_drop(node);
    let (client_in, client_out) = client.split();
    let (node_in, node_out) = node.split();
    let moved = Cell::new(Instant::now());
    let both = async {
        tokio::try_join!(
            carry(client_in, node_out, from_client, free, &moved, entry),
            carry(node_in, client_out, from_node, free, &moved, entry),
        )
    };
    tokio::select! {
        result = both => drop(result?),
        () = silence(&moved, silence_max) => return Err(io::ErrorKind::TimedOut.into()),
    }
    linger::close_on_drop(client);
    linger::close_on_drop(node);
    Ok(())
}

/// Carries one direction. Holds a buffer only while bytes are on their way, so that a silent tunnel
/// costs its two sockets alone.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut buffer: Buffer,
    free: &Buffers,
    moved: &Cell<Instant>,
    entry: &LogEntry,
) -> io::Result<()> {
    loop {
        while !buffer.is_empty() {
            let taken = to.write(buffer.filled()).await?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            buffer.consume(taken);
            entry.sent(taken);
            moved.set(Instant::now());
        }
        buffer = Buffer::new(free);
        if buffer.read_from(&mut from).await? == 0 {
            return to.shutdown().await;
        }
        moved.set(Instant::now());
    }
}

/// Completes when nothing moved for `silence_max`.
async fn silence(moved: &Cell<Instant>, silence_max: Duration) {
    loop {
        let end = moved.get() + silence_max;
        if Instant::now() >= end {
            return;
        }
        tokio::time::sleep_until(end).await;
    }
}

//! The buffers of a worker: taken when bytes come, given back when they went, so that an idle
//! connection holds none and an ordinary request allocates nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use tokio::io::{AsyncRead, ReadBuf};

use crate::config::{BUFFER_BYTES, BUFFERS_KEPT_MAX};

/// The free list of one worker.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Rc<RefCell<Vec<Vec<u8>>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    /// Grown buffers are not kept: they would hold their memory for requests that do not need it.
    fn give_back(&self, bytes: Vec<u8>) {
        let mut free = self.0.borrow_mut();
        if bytes.len() == BUFFER_BYTES && free.len() < BUFFERS_KEPT_MAX {
            free.push(bytes);
        }
    }
}

/// Bytes that came and were not used up yet: `bytes[start..end]`. Holds no memory until
/// [`Buffer::space`] is asked for, and none again after [`Buffer::release`].
///
/// The whole length of `bytes` is initialised once, when the buffer is made; that costs less than
/// it saves in unsafe code.
pub(crate) struct Buffer {
    free: Buffers,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer without memory.
    pub(crate) fn new(free: &Buffers) -> Self {
        Self { free: free.clone(), bytes: Vec::new(), start: 0, end: 0 }
    }

    /// What is in it.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The number of bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room to read into, behind what is in it; moves that to the front first when the room behind
    /// it is used up. Empty when the buffer is full.
    fn space(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = self.free.take();
        }
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// Whether there is no room left, even after moving.
    pub(crate) fn is_full(&self) -> bool {
        !self.bytes.is_empty() && self.len() == self.bytes.len()
    }

    /// Reads what comes next; gives 0 at the end. While nothing comes, an empty buffer holds no
    /// memory (a grown one stays: it would be made anew at each piece of a long body). Waiting for
    /// readiness first would not do: the runtime takes a fresh connection for ready.
    ///
    /// ## Cancel safety
    /// A byte that was read is in the buffer.
    pub(crate) async fn read_from(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<usize> {
        poll_fn(|context| {
            let mut space = ReadBuf::new(self.space());
            let polled = Pin::new(&mut *from).poll_read(context, &mut space);
            let n = space.filled().len();
            self.filled_more(n);
            if polled.is_pending() && self.capacity() <= BUFFER_BYTES {
                self.release();
            }
            polled.map_ok(|()| n)
        })
        .await
    }

    /// Counts `n` bytes that were read into [`Buffer::space`].
    fn filled_more(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// Uses up the first `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
    }

    /// Removes the bytes `from..to` (counted from the first that is in it).
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.bytes.copy_within(self.start + to..self.end, self.start + from);
        self.end -= to - from;
    }

    /// Makes it at least `bytes_min` long.
    pub(crate) fn grow(&mut self, bytes_min: usize) {
        if self.bytes.len() < bytes_min {
            let mut grown = vec![0; bytes_min];
            let len = self.len();
            grown[..len].copy_from_slice(self.filled());
            self.give_back();
            (self.bytes, self.start, self.end) = (grown, 0, len);
        }
    }

    /// The length it has now, with the room; 0 without memory.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.give_back();
            (self.start, self.end) = (0, 0);
        }
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            self.free.give_back(bytes);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn put(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.space()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled_more(bytes.len());
    }

    #[test]
    fn memory_is_taken_at_the_first_byte_and_given_back_for_the_next_buffer() {
        let free = Buffers::default();
        let mut buffer = Buffer::new(&free);
        assert_eq!(buffer.capacity(), 0);
        put(&mut buffer, b"hello");
        assert_eq!(buffer.capacity(), BUFFER_BYTES);
        buffer.consume(5);
        buffer.release();
        assert_eq!((buffer.capacity(), free.0.borrow().len()), (0, 1));
    }

    #[tokio::test]
    async fn while_nothing_comes_an_empty_buffer_holds_no_memory() {
        let free = Buffers::default();
        let mut buffer = Buffer::new(&free);
        let (mut ours, mut theirs) = tokio::io::duplex(8);
        {
            let mut read = pin!(buffer.read_from(&mut ours));
            assert!(poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_pending())).await);
            assert_eq!(free.0.borrow().len(), 1);
        }
        theirs.write_all(b"hello").await.expect("there is room");
        assert_eq!(buffer.read_from(&mut ours).await.expect("no error"), 5);
        assert_eq!((buffer.filled(), free.0.borrow().len()), (&b"hello"[..], 0));
        drop(theirs);
        assert_eq!(buffer.read_from(&mut ours).await.expect("an end is no error"), 0);
    }

    #[test]
    fn what_is_left_moves_to_the_front_when_the_end_is_reached() {
        let mut buffer = Buffer::new(&Buffers::default());
        put(&mut buffer, &[b'a'; BUFFER_BYTES]);
        assert!(buffer.is_full() && buffer.space().is_empty());
        buffer.consume(BUFFER_BYTES - 1);
        assert_eq!(buffer.space().len(), BUFFER_BYTES - 1);
        assert_eq!(buffer.filled(), b"a");
    }

    #[test]
    fn growing_and_cutting_keep_the_rest_in_order() {
        let mut buffer = Buffer::new(&Buffers::default());
        put(&mut buffer, b"headbodynext");
        buffer.grow(BUFFER_BYTES * 2);
        buffer.cut(4, 8);
        assert_eq!(buffer.filled(), b"headnext");
        assert_eq!(buffer.capacity(), BUFFER_BYTES * 2);
    }

    #[test]
    fn a_grown_buffer_is_not_kept() {
        let free = Buffers::default();
        let mut buffer = Buffer::new(&free);
        buffer.grow(BUFFER_BYTES * 2);
        drop(buffer);
        assert!(free.0.borrow().is_empty());
    }
}

//! The buffers of a worker: taken when bytes come, given back when they went, so that an idle
//! connection holds none and an ordinary request finds one that is there.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::{BUFFER_BYTES, BUFFERS_KEPT_MAX};

/// The free list of one worker.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Rc<RefCell<Free>>);

#[derive(Default)]
struct Free {
    list: Vec<Vec<u8>>,
    /// The fewest there were since the last trim: so many nobody needed.
    least: usize,
}

impl Buffers {
    fn take(&self) -> Vec<u8> {
        let mut free = self.0.borrow_mut();
        let taken = free.list.pop();
        free.least = free.least.min(free.list.len());
        taken.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Grown buffers are not kept: they would hold their memory for requests that do not need it.
    fn give_back(&self, mut bytes: Vec<u8>) {
        let mut free = self.0.borrow_mut();
        if bytes.capacity() <= BUFFER_BYTES && free.list.len() < BUFFERS_KEPT_MAX {
            bytes.clear();
            free.list.push(bytes);
        }
    }

    /// Frees what nobody needed since the last call: a burst's buffers do not stay.
    pub(crate) fn trim(&self) {
        let mut free = self.0.borrow_mut();
        // The oldest; the newest are warm.
        let unused = free.least;
        free.list.drain(..unused);
        free.least = free.list.len();
    }
}

/// Bytes that came and were not used up yet: `bytes[start..]`. Holds no memory until it is read
/// into, and none again after [`Buffer::release`]. What was never read into is never touched.
pub(crate) struct Buffer {
    free: Buffers,
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// A buffer without memory.
    pub(crate) fn new(free: &Buffers) -> Self {
        Self { free: free.clone(), bytes: Vec::new(), start: 0 }
    }

    /// What is in it.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The number of bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room left, even after moving.
    pub(crate) fn is_full(&self) -> bool {
        self.capacity() != 0 && self.len() == self.capacity()
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
            self.make_room();
            let polled = pin!(from.read_buf(&mut self.bytes)).poll(context);
            if polled.is_pending() && self.capacity() <= BUFFER_BYTES {
                self.release();
            }
            polled
        })
        .await
    }

    /// Makes room behind what is in it; moves that to the front first when the room behind it is
    /// used up.
    fn make_room(&mut self) {
        debug_assert!(!self.is_full(), "a full buffer has to grow first");
        if self.capacity() == 0 {
            self.bytes = self.free.take();
        } else if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        } else if self.bytes.len() == self.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Uses up the first `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.bytes.len());
    }

    /// Removes the bytes `from..to` (counted from the first that is in it).
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.bytes.drain(self.start + from..self.start + to);
    }

    /// Makes it at least `bytes_min` long.
    pub(crate) fn grow(&mut self, bytes_min: usize) {
        if self.capacity() < bytes_min {
            let mut grown = Vec::with_capacity(bytes_min);
            grown.extend_from_slice(self.filled());
            self.give_back();
            self.bytes = grown;
        }
    }

    /// The length it has now, with the room; 0 without memory.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.start = 0;
        if bytes.capacity() != 0 {
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
    use std::task::Poll;

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn put(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.make_room();
        buffer.bytes.extend_from_slice(bytes);
    }

    fn kept(free: &Buffers) -> usize {
        free.0.borrow().list.len()
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
        assert_eq!((buffer.capacity(), kept(&free)), (0, 1));
    }

    #[tokio::test]
    async fn while_nothing_comes_an_empty_buffer_holds_no_memory() {
        let free = Buffers::default();
        let mut buffer = Buffer::new(&free);
        let (mut ours, mut theirs) = tokio::io::duplex(8);
        {
            let mut read = pin!(buffer.read_from(&mut ours));
            assert!(poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_pending())).await);
            assert_eq!(kept(&free), 1);
        }
        theirs.write_all(b"hello").await.expect("there is room");
        assert_eq!(buffer.read_from(&mut ours).await.expect("no error"), 5);
        assert_eq!((buffer.filled(), kept(&free)), (&b"hello"[..], 0));
        drop(theirs);
        assert_eq!(buffer.read_from(&mut ours).await.expect("an end is no error"), 0);
    }

    #[test]
    fn what_is_left_moves_to_the_front_when_the_end_is_reached() {
        let mut buffer = Buffer::new(&Buffers::default());
        put(&mut buffer, &[b'a'; BUFFER_BYTES]);
        assert!(buffer.is_full());
        buffer.consume(BUFFER_BYTES - 1);
        put(&mut buffer, b"b");
        assert_eq!((buffer.filled(), buffer.capacity()), (&b"ab"[..], BUFFER_BYTES));
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
    fn what_a_burst_needed_and_nobody_since_is_given_back_to_the_system() {
        let free = Buffers::default();
        let burst: Vec<_> = (0..8)
            .map(|_| {
                let mut buffer = Buffer::new(&free);
                put(&mut buffer, b"x");
                buffer
            })
            .collect();
        drop(burst);
        free.trim();
        assert_eq!(kept(&free), 8, "they were needed since the last time");
        put(&mut Buffer::new(&free), b"x");
        free.trim();
        assert_eq!(kept(&free), 1);
    }

    #[test]
    fn a_grown_buffer_is_not_kept() {
        let free = Buffers::default();
        let mut buffer = Buffer::new(&free);
        buffer.grow(BUFFER_BYTES * 2);
        drop(buffer);
        assert_eq!(kept(&free), 0);
    }
}

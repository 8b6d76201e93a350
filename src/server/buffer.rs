//! The buffers of a worker: taken when bytes come, given back when they went, so that an idle connection
//! holds none and an ordinary request finds one that is ready.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The size of a buffer of the data line. A head that does not fit grows it to
/// [`HEAD_BYTES_MAX`](crate::http1::limits::HEAD_BYTES_MAX).
const BUFFER_BYTES: usize = 16 * 1024;

/// The most free buffers that a worker keeps. A buffer that was not needed for a second goes back
/// to the allocator (which may keep it for the next use).
const BUFFERS_KEPT_MAX: usize = 1024;

/// Bytes that stay in a buffer while nothing comes are moved to as little memory as they need, up
/// to this length: more bytes are rare, and copying them is not worth it.
const STOWED_BYTES_MAX: usize = 4 * 1024;

/// The memory by which all buffers of all workers have grown beyond their first size, and its bound.
#[derive(Debug)]
pub struct Memory {
    grown_bytes: AtomicUsize,
    grown_bytes_max: usize,
}

impl Memory {
    /// Lets all buffers together grow by this many bytes.
    pub fn new(grown_bytes_max: usize) -> Self {
        Self { grown_bytes: AtomicUsize::new(0), grown_bytes_max }
    }

    /// The bytes by which they have grown now.
    pub fn grown_bytes(&self) -> usize {
        self.grown_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize, need: Need) -> bool {
        let bytes_max = match need {
            Need::Must => self.grown_bytes_max,
            Need::Helps => self.grown_bytes_max / 2,
            Need::Speeds => self.grown_bytes_max / 8,
        };
        let before = self.grown_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= bytes_max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.grown_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The urgency with which a buffer asks to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Without it the request fails.
    Must,
    /// The request is only better with it: half of the memory is left to those that must have it.
    Helps,
    /// The answer only takes fewer system calls. A client that does not read makes the memory stand still,
    /// so few may have it: a thousand such clients should need less than 32 MB.
    Speeds,
}

/// The free list of one worker.
#[derive(Clone)]
pub(crate) struct Buffers(Rc<Shelf>);

struct Shelf {
    free: RefCell<Free>,
    memory: Arc<Memory>,
}

#[derive(Default)]
struct Free {
    list: Vec<Vec<u8>>,
    /// The shortest length of the list since the last trim: this many buffers nobody needed.
    least: usize,
}

impl Buffers {
    /// A free list without a buffer. Buffers that grow take their share of `memory`.
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self(Rc::new(Shelf { free: RefCell::default(), memory }))
    }

    fn take(&self) -> Vec<u8> {
        let mut free = self.0.free.borrow_mut();
        let taken = free.list.pop();
        free.least = free.least.min(free.list.len());
        taken.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Keeps the buffer for the next request. Grown buffers are not kept, because they would hold their
    /// memory for requests that do not need it; nor are stowed ones, which are too small.
    fn give_back(&self, mut bytes: Vec<u8>) {
        self.0.memory.give_back(grown(&bytes));
        let mut free = self.0.free.borrow_mut();
        if bytes.capacity() == BUFFER_BYTES && free.list.len() < BUFFERS_KEPT_MAX {
            bytes.clear();
            free.list.push(bytes);
        }
    }

    /// Frees the buffers that nobody needed since the last call, so that those of a burst do not stay.
    pub(crate) fn trim(&self) {
        let mut free = self.0.free.borrow_mut();
        // The oldest ones: the newest are still in the processor's cache.
        let unused = free.least;
        free.list.drain(..unused);
        free.least = free.list.len();
    }
}

fn grown(bytes: &Vec<u8>) -> usize {
    bytes.capacity().saturating_sub(BUFFER_BYTES)
}

/// Bytes that came and were not used up yet: `bytes[start..]`. Holds no memory until it is read into, and
/// none again after [`Buffer::release`]. Memory that was never read into is never touched.
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

    /// The bytes in it.
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

    /// Whether it has no room left, even after moving its bytes to the front.
    pub(crate) fn is_full(&self) -> bool {
        self.capacity() >= BUFFER_BYTES && self.len() == self.capacity()
    }

    /// Reads the next bytes and returns their number, 0 at the end. While nothing comes, the buffer is
    /// [stowed](Self::stow) (a grown one stays: it would be made anew at each piece of a long body).
    /// Waiting for readiness first would not do: the runtime takes a fresh connection for ready.
    ///
    /// ## Cancel safety
    /// Every byte that was read is in the buffer.
    pub(crate) async fn read_from(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<usize> {
        poll_fn(|context| {
            self.make_room();
            let polled = pin!(from.read_buf(&mut self.bytes)).poll(context);
            if polled.is_pending() && self.capacity() <= BUFFER_BYTES {
                self.stow();
            }
            polled
        })
        .await
    }

    /// Makes room behind the bytes in it; moves them to the front first when the room behind them is used
    /// up.
    fn make_room(&mut self) {
        debug_assert!(!self.is_full(), "a full buffer has to grow first");
        if self.capacity() < BUFFER_BYTES {
            let mut bytes = self.free.take();
            bytes.extend_from_slice(self.filled());
            self.replace(bytes);
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

    /// Removes the bytes `from..to`, counted from the first one in it.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.bytes.drain(self.start + from..self.start + to);
    }

    /// Makes it at least `bytes_min` long, if there is memory for that. Returns whether it is.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes_min: usize, need: Need) -> bool {
        if self.capacity() >= bytes_min {
            return true;
        }
        if !self.free.0.memory.take(bytes_min.saturating_sub(BUFFER_BYTES), need) {
            return false;
        }
        let mut grown = Vec::with_capacity(bytes_min);
        grown.extend_from_slice(self.filled());
        self.replace(grown);
        true
    }

    /// Shrinks to the memory that its bytes need, if that is much less: for a wait that may be long.
    pub(crate) fn stow(&mut self) {
        if self.is_empty() {
            self.give_back();
        } else if self.len() <= STOWED_BYTES_MAX && self.capacity() >= BUFFER_BYTES {
            self.replace(self.filled().to_vec());
        }
    }

    /// Shrinks to exactly its bytes, however many they are.
    pub(crate) fn shrink(&mut self) {
        if self.len() < self.capacity() {
            let bytes = self.filled().to_vec();
            self.free.0.memory.grown_bytes.fetch_add(grown(&bytes), Ordering::Relaxed);
            self.replace(bytes);
        }
    }

    /// Holds the same bytes in other memory.
    fn replace(&mut self, bytes: Vec<u8>) {
        debug_assert_eq!(bytes, self.filled());
        self.give_back();
        self.bytes = bytes;
    }

    /// Its length with the room, in bytes; 0 without memory.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives the memory back if it is empty.
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

    fn free_list() -> Buffers {
        Buffers::new(Arc::new(Memory::new(BUFFER_BYTES * 4)))
    }

    fn kept(free: &Buffers) -> usize {
        free.0.free.borrow().list.len()
    }

    #[test]
    fn memory_is_taken_at_the_first_byte_and_given_back_for_the_next_buffer() {
        let free = free_list();
        let mut buffer = Buffer::new(&free);
        assert_eq!(buffer.capacity(), 0);
        put(&mut buffer, b"hello");
        assert_eq!(buffer.capacity(), BUFFER_BYTES);
        buffer.consume(5);
        buffer.release();
        assert_eq!((buffer.capacity(), kept(&free)), (0, 1));
    }

    #[tokio::test]
    async fn an_empty_buffer_holds_no_memory_while_nothing_comes() {
        let free = free_list();
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
    fn the_rest_moves_to_the_front_when_the_end_is_reached() {
        let mut buffer = Buffer::new(&free_list());
        put(&mut buffer, &[b'a'; BUFFER_BYTES]);
        assert!(buffer.is_full());
        buffer.consume(BUFFER_BYTES - 1);
        put(&mut buffer, b"b");
        assert_eq!((buffer.filled(), buffer.capacity()), (&b"ab"[..], BUFFER_BYTES));
    }

    #[test]
    fn growing_and_cutting_keep_the_rest_in_order() {
        let mut buffer = Buffer::new(&free_list());
        put(&mut buffer, b"headbodynext");
        assert!(buffer.grow(BUFFER_BYTES * 2, Need::Must));
        buffer.cut(4, 8);
        assert_eq!(buffer.filled(), b"headnext");
        assert_eq!(buffer.capacity(), BUFFER_BYTES * 2);
    }

    #[test]
    fn buffers_unused_since_a_burst_are_given_back_to_the_system() {
        let free = free_list();
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

    #[tokio::test]
    async fn a_few_bytes_are_held_in_little_memory_while_nothing_comes() {
        let free = free_list();
        let mut buffer = Buffer::new(&free);
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(b"GET").await.expect("there is room");
        assert_eq!(buffer.read_from(&mut ours).await.expect("no error"), 3);
        {
            let mut read = pin!(buffer.read_from(&mut ours));
            assert!(poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_pending())).await);
        }
        assert_eq!((buffer.filled(), buffer.capacity(), kept(&free)), (&b"GET"[..], 3, 1));
        assert!(!buffer.is_full());
        theirs.write_all(b" /").await.expect("there is room");
        assert_eq!(buffer.read_from(&mut ours).await.expect("no error"), 2);
        assert_eq!((buffer.filled(), buffer.capacity()), (&b"GET /"[..], BUFFER_BYTES));
    }

    #[test]
    fn a_shrunken_buffer_counts_for_its_present_size() {
        let free = free_list();
        let mut buffer = Buffer::new(&free);
        assert!(buffer.grow(BUFFER_BYTES * 3, Need::Must));
        put(&mut buffer, &vec![b'a'; BUFFER_BYTES * 2]);
        buffer.shrink();
        assert_eq!(free.0.memory.grown_bytes(), BUFFER_BYTES);
        buffer.consume(BUFFER_BYTES * 2 - 1);
        buffer.shrink();
        assert_eq!((buffer.filled(), free.0.memory.grown_bytes()), (&b"a"[..], 0));
    }

    #[test]
    fn all_buffers_together_grow_to_a_bound_and_to_half_if_it_only_helps() {
        let free = free_list();
        let grown = |need| {
            let mut buffer = Buffer::new(&free);
            buffer.grow(BUFFER_BYTES * 2, need).then_some(buffer)
        };
        let helped: Vec<_> = (0..4).filter_map(|_| grown(Need::Helps)).collect();
        assert_eq!(helped.len(), 2);
        let needed: Vec<_> = (0..4).filter_map(|_| grown(Need::Must)).collect();
        assert_eq!((needed.len(), free.0.memory.grown_bytes()), (2, BUFFER_BYTES * 4));
        drop((helped, needed));
        assert_eq!(free.0.memory.grown_bytes(), 0);
    }

    #[test]
    fn a_grown_buffer_is_not_kept() {
        let free = free_list();
        let mut buffer = Buffer::new(&free);
        assert!(buffer.grow(BUFFER_BYTES * 2, Need::Must));
        drop(buffer);
        assert_eq!(kept(&free), 0);
    }
}

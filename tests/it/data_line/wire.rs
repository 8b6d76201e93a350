//! One end of a raw connection, and a node that does only what its test says.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use picluster::cluster::health::Health;
use picluster::cluster::node::{ForwardFields, Offer};
use picluster::cluster::pool::{Counters, Member, Share};
use socket2::{Domain, SockRef, Socket, Type};

use crate::sample;

/// Longer than anything takes on a busy machine, so that a test fails and does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The one field of a request that differs each time, as tests write it.
pub(super) const ANY_ID: &str = "X-Request-Id: 00000000000000000000000000000000\r\n";

/// One end of a connection.
pub(super) struct Wire(pub(super) TcpStream);

impl Wire {
    pub(super) fn connect(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect(addr).unwrap())
    }

    /// Connects from another address of this machine: 127.0.0.`host`.
    pub(super) fn connect_from(host: u8, addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).unwrap();
        socket.connect(&addr.into()).unwrap();
        Self::new(socket.into())
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends all in one segment, or each byte in its own segment.
    pub(super) fn send_in_pieces(&mut self, bytes: impl AsRef<[u8]>, bytewise: bool) {
        let bytes = bytes.as_ref();
        for piece in bytes.chunks(if bytewise { 1 } else { bytes.len() }) {
            self.send(piece);
        }
    }

    /// Sends a request and returns the first bytes of the answer.
    pub(super) fn ask_for_one_answer(mut self, request: &str) -> String {
        self.send_what_is_taken(request);
        let mut first = [0; 1024];
        let len = self.0.read(&mut first).unwrap_or(0);
        String::from_utf8_lossy(&first[..len]).into_owned()
    }

    /// Sends until the other side takes no more.
    pub(super) fn send_what_is_taken(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// Checks that the next bytes are these.
    #[track_caller]
    pub(super) fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut came = vec![0; expected.len()];
        let mut len = 0;
        while len < came.len() {
            match self.0.read(&mut came[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) => panic!("{error} after {:?}", text(&came[..len])),
            }
        }
        let came = without_id(came);
        assert!(came[..len] == *expected, "{:?} is not {:?}", text(&came[..len]), text(expected));
    }

    /// The next head, with its empty line.
    #[track_caller]
    pub(super) fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                other => panic!("{other:?} after {:?}", text(&head)),
            }
        }
        String::from_utf8(head).unwrap()
    }

    /// Checks that the next head begins like this.
    #[track_caller]
    pub(super) fn expect_head(&mut self, start: &str) -> String {
        let head = self.head();
        assert!(head.starts_with(start), "{head:?} does not begin with {start:?}");
        head
    }

    /// Checks that nothing more comes and that the end is a proper one.
    #[track_caller]
    pub(super) fn expect_end(&mut self) {
        let (rest, end) = self.rest();
        assert!(rest.is_empty() && end.is_ok(), "{:?}, then {end:?}", text(&rest));
    }

    /// Waits for one byte, or for the end.
    pub(super) fn first_byte(&mut self) -> io::Result<usize> {
        self.0.read(&mut [0])
    }

    /// Checks that these bytes come, and then the end.
    #[track_caller]
    pub(super) fn expect_then_end(mut self, expected: impl AsRef<[u8]>) {
        self.expect(expected);
        self.expect_end();
    }

    /// The remaining bytes, and whether the connection ends properly or with a reset.
    pub(super) fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut rest = Vec::new();
        let end = self.0.read_to_end(&mut rest).map(drop);
        if let Err(error) = &end {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        (rest, end)
    }

    /// Checks that nothing comes for this long.
    #[track_caller]
    pub(super) fn expect_silence(&mut self, span: Duration) {
        self.0.set_read_timeout(Some(span)).unwrap();
        let came = self.0.read(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let silent = came.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        assert!(silent, "{came:?}");
    }

    /// Half-closes the connection: nothing more is sent.
    pub(super) fn finish(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// A second handle, to send and receive at the same time.
    pub(super) fn twin(&self) -> Self {
        Self(self.0.try_clone().unwrap())
    }

    /// Reads one head after the other and answers each with `answer`, until the end.
    fn answer_all(mut self, answer: &str) {
        let mut head = Vec::new();
        let mut byte = [0];
        while matches!(self.0.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                if self.0.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

/// Replaces the 32 hexadecimal digits of every id by zeros.
fn without_id(mut bytes: Vec<u8>) -> Vec<u8> {
    let (name, any) = ANY_ID.as_bytes().split_at(14);
    let digits = any.len() - 2;
    let is_id = |at: &usize| {
        bytes[*at..].starts_with(name)
            && bytes[at + name.len()..].iter().take(digits).all(u8::is_ascii_hexdigit)
    };
    let found: Vec<_> = (0..bytes.len().saturating_sub(ANY_ID.len() - 1)).filter(is_id).collect();
    for at in found {
        bytes[at + name.len()..][..digits].fill(b'0');
    }
    bytes
}

fn text(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]);
    format!("{shown} ({} bytes)", bytes.len())
}

/// A node that does only what its test makes it do.
pub(super) struct ScriptedNode {
    name: &'static str,
    epoch: u64,
    listener: TcpListener,
    pub(super) counters: Arc<Counters>,
}

static EPOCHS: AtomicU64 = AtomicU64::new(1);

impl ScriptedNode {
    pub(super) fn new(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        let epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
        Self { name, epoch, listener, counters: Arc::default() }
    }

    /// A node whose kernel completes no connection, because its queue is full.
    pub(super) fn unreachable(name: &'static str) -> (Self, Wire) {
        let node = Self::new(name);
        rustix::net::listen(&node.listener, 0).unwrap();
        let filler = Wire::connect(node.addr());
        (node, filler)
    }

    /// A node that serves by itself: it answers each request with its name.
    pub(super) fn greeter(name: &'static str) -> Self {
        let node = Self::new(name);
        let listener = node.listener.try_clone().unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let answer = answer.clone();
                thread::spawn(move || Wire::new(stream).answer_all(&answer));
            }
        });
        node
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection to this node.
    #[track_caller]
    pub(super) fn accept(&self) -> Wire {
        Wire::new(self.listener.accept().expect("a connection comes").0)
    }

    /// Checks that no connection waits to be accepted.
    #[track_caller]
    pub(super) fn expect_nobody(&self) {
        self.listener.set_nonblocking(true).unwrap();
        let came = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        assert!(came.is_err(), "{} was connected to", self.name);
    }

    pub(super) fn up(&self) -> Member {
        let mut member = sample::member(self.epoch, self.addr());
        self.name.clone_into(&mut member.node.name);
        Member { counters: Arc::clone(&self.counters), ..member }
    }

    /// Up, and a node of an application.
    pub(super) fn serving(&self, offer: Offer) -> Member {
        let mut member = self.up();
        member.node.offer = Arc::new(offer);
        member
    }

    pub(super) fn down(&self) -> Member {
        Member { health: Health::Down, ..self.up() }
    }

    pub(super) fn vanished(&self) -> Member {
        Member { silent: true, ..self.down() }
    }

    pub(super) fn suspect(&self) -> Member {
        Member { health: Health::Suspect, silent: true, last_resort: true, ..self.up() }
    }

    /// It has fallen, and gets one request at a time.
    pub(super) fn on_trial(&self) -> Member {
        Member { share: Share::Trial(Arc::default()), ..self.up() }
    }

    /// A device without picluster.
    pub(super) fn foreign(&self) -> Member {
        let mut member = self.up();
        member.node.boot = None;
        member.node.offer = Arc::new(Offer { forward: ForwardFields::For, ..Offer::default() });
        member
    }

    pub(super) fn draining(&self) -> Member {
        Member { health: Health::Draining, last_resort: true, ..self.up() }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }
}

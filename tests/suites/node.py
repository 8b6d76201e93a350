"""The node of the clients' suite: `node.py PORT`. Its answers depend only on the request.

Most answers describe the request as it arrived: the request line, the fields in their order, the
length and the hash of the body. So a difference in a client's answer shows a difference in either
direction.
"""

import gzip
import hashlib
import http.server
import re
import sys

# Fields that belong to one connection, or that a balancer adds (vtc/duties checks them).
UNTOLD = re.compile(
    "connection|keep-alive|te|transfer-encoding|via|x-forwarded-.*|x-real-ip|forwarded|x-request-id", re.IGNORECASE
)
FIXED = [("Date", "Tue, 01 Jan 2030 00:00:00 GMT"), ("Server", "suite")]


class Node(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        path = self.path.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
        if "100-continue" in self.headers.get("Expect", "") and path == "forbidden":
            self.close_connection = True
            return self.send(403, b"no\n", [("Connection", "close")])
        body = self.body()
        getattr(self, "get_" + path, self.get_nothing)(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def get_echo(self, body):
        """The end-to-end parts of the request."""
        fields = [field for field in self.headers.items() if not UNTOLD.fullmatch(field[0])]
        lines = [f"{self.command} {self.path}", *(f"{name}: {value}" for name, value in fields)]
        lines += [f"body: {len(body)} {hashlib.sha256(body).hexdigest()}", ""]
        self.send(200, "\n".join(lines).encode(), [("Content-Type", "text/plain")])

    def get_fields(self, _):
        """Fields whose order, case and number matter."""
        cookies = [("Set-Cookie", f"c{n}={n}; Path=/") for n in range(20)]
        odd = [("x-lower", "1"), ("X-UPPER", "2"), ("X-Twice", "a"), ("X-Between", ""), ("X-Twice", "b")]
        self.send(200, b"fields\n", cookies + odd)

    def get_redirect(self, _):
        self.send(302, b"go on\n", [("Location", "echo?redirected")])

    def get_gzip(self, _):
        body = gzip.compress(b"hello, world\n" * 1000, mtime=0)
        self.send(200, body, [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")])

    def get_cookies(self, body):
        if "Cookie" not in self.headers:
            fields = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/; HttpOnly")]
            return self.send(302, b"", [*fields, ("Location", "cookies?again")])
        self.get_echo(body)

    def get_range(self, _):
        whole = bytes(range(256)) * 4
        said = self.headers.get("Range", "")
        if not said.startswith("bytes="):
            return self.send(200, whole, [("Accept-Ranges", "bytes")])
        first, last = map(int, said[6:].split("-"))
        self.send(206, whole[first : last + 1], [("Content-Range", f"bytes {first}-{last}/{len(whole)}")])

    def get_large(self, _):
        self.send(200, bytes(i % 251 for i in range(1 << 20)), [("ETag", '"large"')])

    def get_chunked(self, _):
        """Chunks and trailers. An HTTP/1.0 client gets the bytes and the end of the connection."""
        if self.request_version == "HTTP/1.0":
            self.close_connection = True
            return self.send(200, b"hello, world\n", [("Connection", "close")], length=False)
        self.head(200, [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")])
        for part in b"hello,", b" world\n":
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\nX-Sum: 42\r\n\r\n")

    def get_close(self, _):
        self.close_connection = True
        self.send(200, b"until the end\n", [("Connection", "close")], length=False)

    def get_hints(self, _):
        if self.request_version != "HTTP/1.0":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        self.send(200, b"page\n", [])

    def get_unchanged(self, _):
        self.send(304, b"", [("ETag", '"v1"')], length=False)

    def get_empty(self, _):
        self.send(204, b"", [], length=False)

    def get_big(self, body):
        """A large field in each direction."""
        self.send(200, b"big\n", [("X-Big", "b" * 6000), ("X-Came", str(len(self.headers.get("X-Big", ""))))])

    def get_nothing(self, _):
        self.send(404, b"nothing here\n", [("Content-Type", "text/plain")])

    def body(self):
        if "100-continue" in self.headers.get("Expect", ""):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def handle_expect_100(self):
        return True  # `body` sends the 100, once it is known that the body is wanted.

    def send(self, status, body, fields, length=True):
        self.head(status, fields + ([("Content-Length", str(len(body)))] if length else []))
        if self.command != "HEAD":
            self.wfile.write(body)

    def head(self, status, fields):
        if self.request_version == "HTTP/1.0" and not self.close_connection:
            fields = [("Connection", "keep-alive"), *fields]
        self.send_response_only(status)
        for name, value in FIXED + fields:
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", int(sys.argv[1])), Node).serve_forever()

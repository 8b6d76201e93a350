//! An application that is well by its health, and breaks off requests.

use std::time::Duration;

use super::Folder;
use crate::lab::Lab;

/// It answers each GET. A file beside it says whether it answers a POST too, or closes the connection.
const SERVER: &str = "
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def answer(self):
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
    def do_GET(self):
        self.answer()
    def do_POST(self):
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if os.path.exists(sys.argv[1]):
            self.close_connection = True
        else:
            self.answer()
    def log_message(self, *_):
        pass
ThreadingHTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
";

#[test]
fn a_healthy_node_that_breaks_off_posts_costs_few_of_them() {
    let Some(lab) = Lab::busy("fickle") else { return };
    if !lab.has("python3") {
        return;
    }
    let folder = Folder::new("fickle");
    let file = folder.put("server.py", SERVER);
    let mark = format!("{file}.breaks");
    let nodes = ["ada", "bob", "eve"].map(|name| {
        let breaks = if name == "eve" { mark.as_str() } else { "/nowhere" };
        lab.pi(name).web().args(&["--", "python3", &file, breaks]).start()
    });
    for clients in [4, 16, 64] {
        // A balancer of its own, because the one before has ejected the node for a while.
        let lb = lab.pi(&format!("front{clients}")).lb().start();
        lb.wait_for_nodes(nodes.len());
        let load = lab.client().load(&lb.url()).clients(clients).sending("POST", 100).start();
        load.wait_for_nodes(nodes.len());
        folder.put("server.py.breaks", "");
        load.keep_on(Duration::from_secs(8));
        let report = load.stop();
        std::fs::remove_file(&mark).unwrap();
        let what = format!("POSTs lost to a node that breaks off, {clients} clients");
        lab.figure(&what, report.failed, "20, and what was under way");
        let in_flight = clients as u64 / 3 * 2;
        assert!(report.failed < 20 + in_flight, "{report:#?}");
        lb.sigterm();
    }
}

//! A login that an application binds to its connection, as IIS and SharePoint do.

use super::Folder;
use crate::lab::Lab;

/// An application that asks for a handshake of two requests and remembers the user of the connection.
const SERVER: &str = "
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def setup(self):
        super().setup()
        self.user, self.asked = 'nobody', False
    def do_GET(self):
        login = self.headers.get('Authorization', '')
        status, challenge = 200, None
        if login.startswith('NTLM hello'):
            status, challenge, self.asked = 401, 'NTLM who', True
        elif login.startswith('NTLM i-am-') and self.asked:
            self.user = login[10:]
        elif login:
            status, challenge = 401, 'NTLM'
        body = (self.user + '\\n').encode()
        self.send_response(status)
        if challenge:
            self.send_header('WWW-Authenticate', challenge)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
ThreadingHTTPServer((sys.argv[1], int(os.environ['PORT'])), Handler).serve_forever()
";

#[test]
fn a_login_of_a_connection_works_through_balancer_and_node_and_leaks_to_nobody() {
    let Some(lab) = Lab::new("login") else { return };
    if !lab.has_all(&["python3", "curl"]) {
        return;
    }
    let folder = Folder::new("login");
    let file = folder.put("server.py", SERVER);
    for (name, front) in [("ada", None), ("bob", Some("--front"))] {
        let address = if front.is_some() { "127.0.0.1" } else { "0.0.0.0" };
        let mut args: Vec<_> = front.into_iter().collect();
        args.extend(["--", "python3", &file, address]);
        let lb = lab.pi(&format!("lb-{name}")).lb().cluster(name).start();
        let nodes: Vec<_> = ["1", "2"]
            .map(|n| lab.pi(&format!("{name}{n}")).web().cluster(name).args(&args).start())
            .into();
        lb.wait_for_nodes(nodes.len());
        let (url, client) = (lb.url(), lab.client());
        let user = |user: &str| {
            let login = format!("Authorization: NTLM i-am-{user}");
            let hello = ["-s", "-H", "Authorization: NTLM hello", &url, "--next"];
            let login = ["-s", "-H", &login, &url, "--next"];
            let more = ["-s", &url, &url, &url];
            client.run(&[&["curl"][..], &hello, &login, &more].concat())
        };
        for _ in 0..4 {
            assert_eq!(user("eve"), "nobody\neve\neve\neve\neve\n", "{name}");
            for _ in 0..4 {
                assert_eq!(client.run(&["curl", "-s", &url, &url]), "nobody\nnobody\n", "{name}");
            }
        }
    }
}

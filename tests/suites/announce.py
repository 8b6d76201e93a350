"""Announces a server that knows nothing of picluster: `announce.py CLUSTER PORT`.

By mDNS on loopback, the balancer hears of a node that takes requests at PORT and answers for its
health at another port (the TXT key `ctl`). This program serves that other port. So the server at
PORT receives only the requests of clients, and need not know picluster.
"""

import http.server
import json
import signal
import sys
import threading
import uuid

from zeroconf import ServiceInfo, Zeroconf

SERVICE = "_picluster._tcp.local."


def main(cluster, port):
    node, boot = uuid.uuid4().hex[:13], uuid.uuid4().hex[:16]
    health = serve_health(
        {"schema": "picluster/1", "id": node, "name": "node", "boot": boot, "state": "up"}
    )
    keys = {"v": "1", "id": node, "boot": boot, "cluster": cluster, "ctl": str(health)}
    label = f"suite-{node}"
    info = ServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        parsed_addresses=["127.0.0.1"],
        port=port,
        properties=keys,
        server=f"{label}.local.",
    )
    Zeroconf(interfaces=["127.0.0.1"]).register_service(info)
    signal.pause()


def serve_health(document):
    """Answers every GET with this document. Returns the port."""
    body = json.dumps(document).encode()

    class Health(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""What answers in the place of a router, and says what it was asked: standard library alone.

It streams a part, and the rest only when /v1/models/release was asked for, so that whoever gets the
first part before that knows that nothing on the way waits for the whole.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

released = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/models/release":
            released.set()
        self.answer(json.dumps(dict(self.headers.items())).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        released.clear()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.part(b"data: first\n\n")
        if released.wait(60):
            self.part(b"data: [DONE]\n\n")
        self.part(b"")

    def part(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", 4000), Handler).serve_forever()

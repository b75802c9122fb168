"""A real HTTP server on loopback that replays recorded payloads."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Replay:
    """What was asked, and what is answered: ``answer(path, query) -> payload or (code, …)``."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []  # path, query, headers
        self.methods = []  # of each
        self.url = ""

    def give(self, path, query, headers):
        self.asked.append((path, query, headers))
        found = self.answer(path, query)
        if callable(found):
            return found
        code, body, more = found if isinstance(found, tuple) else (200, found, {})
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return code, data, more


@contextmanager
def replaying(answer):
    """Serve until the block ends."""
    replay = Replay(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            replay.methods.append(self.command)
            parts = urlsplit(self.path)
            query = {
                k: v[0] if len(v) == 1 else v for k, v in parse_qs(parts.query).items()
            }
            found = replay.give(parts.path, query, dict(self.headers))
            if callable(found):  # it does with the connection what it likes
                self.close_connection = True
                with suppress(OSError):
                    found(self.connection)
                return
            code, data, more = found
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **more}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(ConnectionError):  # who asked has left
                self.wfile.write(data)

        def do_POST(self):  # as AWS is asked
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *args):
            pass

    for method in ("PUT", "PATCH", "DELETE", "HEAD"):  # to see that nobody asks so
        setattr(Handler, f"do_{method}", Handler.do_POST)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    replay.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield replay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A receiver of notifications over real HTTP, for tests: it judges signatures with standardwebhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook


@dataclass
class Receiver:
    """What came, in order; `answer` says with which status, `delay` after how many seconds."""

    url: str = ""
    secrets: list[str] = field(default_factory=list)
    got: list[dict] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    answer: int = 204
    delay: float = 0.0
    location: str | None = None

    def take(self, headers: dict[str, str], body: bytes) -> None:
        try:
            for secret in self.secrets:
                Webhook(secret).verify(body, headers)
        except Exception as error:
            self.bad.append(repr(error))
        told = json.loads(body)
        self.got.append({"id": headers["webhook-id"], **told})

    def types(self, batch: int | None = None) -> list[str]:
        return [g["type"] for g in self.got if batch is None or g["data"].get("batch") == batch]


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if made.delay:
                time.sleep(made.delay)
            made.take({k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(made.answer)
            if made.location:
                self.send_header("Location", made.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()

"""A TCP proxy that does what networks do: cuts, falls silent, drips; or loses the answer to a COMMIT."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CHUNK = 65536
_COMMIT = re.compile(rb"COMMIT\0")


class Proxy:
    """Relays connections to `target`, (host, port) or the path of a Unix socket."""

    def __init__(self, target: tuple[str, int] | Path) -> None:
        self._target = target
        self.away = False
        """Whoever comes is turned away, as by a server that does not run."""
        self.silent = False
        """Half-open: bytes are taken and go nowhere, nobody is told."""
        self.pause = 0.0
        """Seconds before each piece is passed on."""
        self.lose_commits: frozenset[int] = frozenset()
        """The answers to these COMMITs are lost, the first being 0, and their connections with them."""
        self.commits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """End every connection now."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _end(pair)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, Path):
            there = socket.socket(socket.AF_UNIX)
            there.connect(str(self._target))
            return there
        return socket.create_connection(self._target)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            if self.away:
                here.close()
                continue
            try:
                there = self._connect()
            except OSError:
                here.close()  # nobody is behind: the caller sees it as we do
                continue
            pair = _Pair(here, there)
            with self._lock:
                self._pairs.append(pair)
            for asks in (True, False):
                threading.Thread(target=self._relay, args=(pair, asks), daemon=True).start()

    def _relay(self, pair: _Pair, asks: bool) -> None:
        source, sink = (pair.here, pair.there) if asks else (pair.there, pair.here)
        try:
            while data := source.recv(CHUNK):
                while self.silent:
                    time.sleep(0.02)
                if self.pause:
                    time.sleep(self.pause)
                if asks and _COMMIT.search(data):
                    pair.deaf = self.commits in self.lose_commits
                    self.commits += 1
                if not asks and pair.deaf:
                    break  # the server has committed and said so; nobody hears it
                sink.sendall(data)
        except OSError:
            pass  # the other direction ended it
        _end(pair)


@dataclass(eq=False)
class _Pair:
    here: socket.socket
    there: socket.socket
    deaf: bool = False


def _end(pair: _Pair) -> None:
    for one in (pair.here, pair.there):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was closed already
        one.close()


def through(url: str, line: Proxy) -> str:
    """The same PostgreSQL database, on its way through the proxy."""
    parts = urlsplit(url)
    netloc = f"{parts.username or 'postgres'}:@127.0.0.1:{line.port}"
    return parts._replace(netloc=netloc, query="").geturl()


def socket_of(url: str) -> Path:
    """The Unix socket that a PostgreSQL server of a test listens on."""
    query = parse_qs(urlsplit(url).query)
    return Path(query["host"][0]) / f".s.PGSQL.{query.get('port', ['5432'])[0]}"


@contextmanager
def proxy(target: tuple[str, int] | Path) -> Iterator[Proxy]:
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()

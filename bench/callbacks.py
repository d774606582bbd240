"""Callbacks at 64 connections: ours against a bare Flask view with the same verification and one INSERT.

Both under the same gunicorn line (the bare view is `bench.callbacks:bare()`), each body signed beforehand.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from dataclasses import dataclass

import aiohttp
from flask import Flask, Response, request

from net.webhooks import sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONNECTIONS = 64
LINE = (
    "gunicorn {app} --worker-class gthread --threads 16 --bind 127.0.0.1:{port} --no-control-socket"
)
_RECEIPT = "<Package>{n:06d}" + "x" * 1200 + "</Package>"


def bare() -> Flask:
    """`gunicorn bench.callbacks:bare()`; the database is BARE_DATABASE, a file or a PostgreSQL URL."""
    app = Flask("bare")
    where = os.environ["BARE_DATABASE"]
    local = threading.local()

    def insert(key: str, body: bytes) -> None:
        if where.startswith("postgresql"):
            import psycopg

            if not hasattr(local, "db"):
                local.db = psycopg.connect(where, autocommit=True)
            local.db.execute(
                "INSERT INTO bare_inbox VALUES (%s, %s) ON CONFLICT DO NOTHING", [key, body]
            )
            return
        if not hasattr(local, "db"):
            local.db = sqlite3.connect(where, timeout=60, isolation_level=None)
            local.db.execute("PRAGMA synchronous=FULL")
        local.db.execute("INSERT INTO bare_inbox VALUES (?, ?) ON CONFLICT DO NOTHING", [key, body])

    @app.post("/callbacks/customs")
    def receive() -> Response:
        body, headers = request.get_data(), request.headers
        key = headers["webhook-id"]
        verify(
            [SECRET],
            key,
            headers["webhook-timestamp"],
            headers["webhook-signature"],
            body,
            time.time(),
        )
        insert(key, body)
        return Response(status=202)

    return app


@dataclass
class Load:
    """What a load measured."""

    rate: float
    p99: float
    """Milliseconds."""


def load(port: int, count: int, first: int, every: float = 0.0) -> Load:
    """`count` callbacks over 64 connections, as fast as they go or one `every` so many seconds; dies unless every one
    is accepted.
    """
    moment = int(time.time())
    calls = []
    for n in range(first, first + count):
        data = {"receiptId": f"R{n:012d}", "xml": _RECEIPT.format(n=n)}
        body = json.dumps({"type": "receipt.created", "data": data}).encode()
        headers = {"webhook-id": f"msg_{n}", "webhook-timestamp": str(moment),
                   "webhook-signature": sign(SECRET, f"msg_{n}", moment, body)}  # fmt: skip
        calls.append((body, headers))
    seconds, times = asyncio.run(_post(f"http://127.0.0.1:{port}/callbacks/customs", calls, every))
    return Load(count / seconds, sorted(times)[int(count * 0.99)] * 1000)


async def _post(
    url: str, calls: list[tuple[bytes, dict[str, str]]], every: float
) -> tuple[float, list[float]]:
    """Seconds in all, and of each call from when it was due, where it was: a wait for a connection counts."""
    times: list[float] = []
    waiting = iter(enumerate(calls))

    async def connection(session: aiohttp.ClientSession) -> None:
        for n, (body, headers) in waiting:
            due = all_began + n * every if every else time.perf_counter()
            if every:
                await asyncio.sleep(due - time.perf_counter())
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()
                if answer.status != 202:
                    raise SystemExit(f"callback: {answer.status}")
            times.append(time.perf_counter() - due)

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        all_began = time.perf_counter()
        await asyncio.gather(*(connection(session) for _ in range(CONNECTIONS)))
        return time.perf_counter() - all_began, times

"""A large sheet dropped on a page: how long a person waits after its last byte has left. Real processes, SQLite."""

from __future__ import annotations

import csv
import io
import itertools
import sqlite3
import statistics
import time
import uuid
import zipfile
from collections.abc import Sequence
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection

from bench import data
from bench.parts import context_in, signed_in
from bench.rig import Bench
from tests.support.system import System


def dropped(bench: Bench, rows: int, times: int) -> None:
    """From the last byte of a sheet to the answer that leads to its check, each sheet new."""
    sheets = {"xlsx": data.sheet(bench.folder, rows).read_bytes(), "csv": _as_csv(rows)}
    for kind, content in sheets.items():
        alone, beside = _by_both(bench, kind, content, times)
        print(f"\nA sheet of {rows:,} rows dropped ({kind}, {len(content) / 1e6:.1f} MB): answered {_ms(alone)} after its"
              f" last byte (goal 300), {_ms(beside)} while workers read those before", flush=True)  # fmt: skip


def _by_both(
    bench: Bench, kind: str, content: bytes, times: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Seconds with nothing beside it, and beside workers that read the sheets that came before."""
    with bench.served() as system:
        with context_in(system.home) as context:
            token = signed_in(context)
        again = itertools.count()

        def drop() -> float:
            another = _another(kind, content, next(again))
            return _dropped(system.console_port, token, kind, another)

        drop()  # for warming up
        alone = [drop() for _ in range(times)]
        system.start("worker")
        system.wait(lambda: _reads(system), "a worker reads")
        return alone, [drop() for _ in range(times)]


def _ms(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms (slowest {max(seconds) * 1000:.0f})"


def _as_csv(rows: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(data.HEADER)
    writer.writerows(data.orders(rows))
    return text.getvalue().encode("utf-8-sig")


def _another(kind: str, content: bytes, number: int) -> bytes:
    """The same orders in other bytes: what was kept before is not kept again."""
    if kind == "csv":
        return content + b"\r\n" * number
    book = io.BytesIO(content)
    with zipfile.ZipFile(book, "a") as archive:
        archive.comment = str(number).encode()
    return book.getvalue()


def _dropped(port: int, token: str, kind: str, content: bytes) -> float:
    """Seconds from the last byte sent to the answer."""
    mark = uuid.uuid4().hex
    once = f'--{mark}\r\nContent-Disposition: form-data; name="once"\r\n\r\n{mark}\r\n'
    file = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.{kind}"\r\n\r\n'
    body = f"{once}{file}".encode() + content + f"\r\n--{mark}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}", "Sec-Fetch-Site": "same-origin",
               "Cookie": f"blankforms_sign_in={token}"}  # fmt: skip
    with closing(HTTPConnection("127.0.0.1", port)) as line:
        line.request("POST", "/import", body, headers)
        sent = time.perf_counter()
        answer = line.getresponse()
        seconds = time.perf_counter() - sent
        place = answer.getheader("Location", "")
    if answer.status != HTTPStatus.SEE_OTHER or not place.endswith("/check"):
        raise SystemExit(f"upload: {answer.status} {place}")
    return seconds


def _reads(system: System) -> bool:
    with closing(sqlite3.connect(system.home / "blankforms.db")) as db:
        return db.execute("SELECT 1 FROM batch_row LIMIT 1").fetchone() is not None

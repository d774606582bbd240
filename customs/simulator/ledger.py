"""What the simulated customs knows and remembers: its own SQLite file, every commit fsynced.

A referee reads `message` and `decision` to see what customs saw, whatever the product believes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS form (
  serial TEXT, form_type TEXT, holder TEXT, state TEXT DEFAULT '1', certificate TEXT,
  issued_on TEXT, updated_at REAL, PRIMARY KEY (serial, form_type)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ix_form_holder ON form (holder, serial);
CREATE INDEX IF NOT EXISTS ix_form_certificate ON form (certificate) WHERE certificate IS NOT NULL;
CREATE TABLE IF NOT EXISTS certificate (
  number TEXT PRIMARY KEY, type TEXT, exporter TEXT, agent TEXT, approved_on TEXT, pages INTEGER,
  status TEXT);
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY, number TEXT, sender TEXT, sha256 TEXT, seq_no TEXT, body BLOB,
  taken_at REAL, visible_at REAL, decide_at REAL, decided INTEGER DEFAULT 0,
  UNIQUE (number, sender));
CREATE INDEX IF NOT EXISTS ix_message_open ON message (decide_at) WHERE decided = 0;
CREATE TABLE IF NOT EXISTS decision (
  id INTEGER PRIMARY KEY, message_id INTEGER, serial TEXT, form_type TEXT, operation TEXT,
  certificate TEXT, rep_code TEXT, form_state TEXT, effect INTEGER, at REAL);
CREATE INDEX IF NOT EXISTS ix_decision_message ON decision (message_id);
CREATE TABLE IF NOT EXISTS receipt (
  id INTEGER PRIMARY KEY, receipt_id TEXT, message_id INTEGER, xml TEXT, offered_at REAL,
  call_at REAL, calls INTEGER DEFAULT 0);
CREATE INDEX IF NOT EXISTS ix_receipt_call ON receipt (call_at) WHERE call_at IS NOT NULL;
"""


class Ledger:
    """The file. Every thread has a connection of its own; commits are durable."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        self._writing = threading.Lock()
        """Threads wait for each other here: SQLite's own waiting sleeps up to 0.1 s at a time."""
        with self.transaction() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)

    def _connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self._path, timeout=60, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            self._local.db = db
        return db

    def close(self) -> None:
        """Close the connection of this thread; those of others end with their threads."""
        db: sqlite3.Connection | None = self._local.__dict__.pop("db", None)
        if db is not None:
            db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One writing transaction."""
        db = self._connection()
        with self._writing:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Rows of one query."""
        return self._connection().execute(sql, values).fetchall()

    def issue(self, forms: Iterable[tuple[str, str, str, date | None]]) -> None:
        """Forms issued to holders: (serial, form type, holder, date). Known ones stay as they are."""
        with self.transaction() as db:
            db.executemany(
                "INSERT INTO form (serial, form_type, holder, issued_on, updated_at)"
                " VALUES (?, ?, ?, ?, strftime('%s','now')) ON CONFLICT DO NOTHING",
                ((s, t, h, d.isoformat() if d else None) for s, t, h, d in forms),
            )

    def approve(self, certificates: Iterable[tuple[Any, ...]]) -> None:
        """Certificates: (number, type, exporter, agent, approved on, pages, status); replaces."""
        with self.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO certificate VALUES (?, ?, ?, ?, ?, ?, ?)", certificates
            )

    def settle_by_hand(self, serial: str, form_type: str, state: str, certificate: str) -> None:
        """Somebody verified or voided a form at the portal: an effect without a message of ours."""
        with self.transaction() as db:
            db.execute(
                "UPDATE form SET state = ?, certificate = ?, updated_at = strftime('%s','now')"
                " WHERE serial = ? AND form_type = ? AND state = '1'",
                (state, certificate, serial, form_type),
            )
            db.execute(
                "INSERT INTO decision (serial, form_type, operation, certificate, rep_code,"
                " form_state, effect, at) VALUES (?, ?, 'portal', ?, '0000', ?, 1, strftime('%s'))",
                (serial, form_type, certificate, state),
            )


def ledger_in(folder: Path) -> Ledger:
    """The books of the embedded simulator."""
    return Ledger(folder / "ledger.db")

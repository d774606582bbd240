"""A database with years behind it: forms used and free, their messages, receipts, history, and batches that ended.

Made by the database itself, indexes last. What is free is in blocks of their own, some of it held or lost.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.schema import CreateIndex

from bench.data import AGENT, EXPORTER
from models.tables.everything import metadata

BLOCK: Final = 10_000
"""Forms in a block."""

FIRST: Final = 300_000_000
_AT: Final = "'2026-05-01 00:00:00.000000+00:00'"
_GROWING: Final = (
    *("form", "used_form", "form_event", "certificate", "batch", "batch_row", "submission"),
    *("item", "attempt", "inbox", "receipt_line"),
)


def fill(engine: Engine, forms: int, batches: int) -> None:
    """Half of the forms used, one message each, all of `batches` batches; a whole number of blocks."""
    lite = engine.dialect.name == "sqlite"
    indexes = [i for t in _GROWING for i in metadata.tables[t].indexes if not i.unique]
    made = [str(CreateIndex(i).compile(engine)) for i in indexes]
    before = [f"PRAGMA {p}" for p in _QUICK] if lite else ["SET session_replication_role = replica"]
    after = ["ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"] if lite else ["VACUUM ANALYZE"]
    raw = engine.raw_connection()
    connection: Any = raw.driver_connection
    if not lite:
        connection.autocommit = True
    cursor = connection.cursor()
    for statement in (
        *before,
        *(f"DROP INDEX {i.name}" for i in indexes),
        *_statements(forms, forms // 2, batches, lite=lite),
        *made,
        *after,
    ):
        cursor.execute(statement)
    raw.detach()
    connection.close()


_QUICK: Final = ("synchronous=OFF", "cache_size=-200000", "temp_store=MEMORY", "foreign_keys=OFF")
"""A database that is made anew need not survive anything while it is made."""


def _statements(forms: int, used: int, batches: int, *, lite: bool) -> list[str]:
    def rows(count: int) -> str:
        if lite:
            return f"(WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {count}) SELECT i FROM g) g"
        return f"(SELECT generate_series(1, {count}) AS i) g"

    def number(pattern: str, what: str) -> str:
        if lite:
            return f"printf('{pattern}', {what})"
        width = int("".join(c for c in pattern if c.isdigit()) or 0)
        return f"lpad(({what})::text, {width}, '0')"

    def block(i: str) -> str:
        return f"1 + ({i} - 1) / {BLOCK}"

    serial, key, seq = (number(p, "{}") for p in ("%09d", "%032d", "%018d"))
    certificate = (
        "'B20' || "
        + number("%09d", f"100000000 + i / {BLOCK}")
        + " || "
        + number("%04d", f"i % {BLOCK}")
    )
    blob, no, yes = (
        ("zeroblob(300)", "0", "1") if lite else ("repeat('x', 300)::bytea", "false", "true")
    )
    state = f"CASE WHEN i > {used} THEN 'issued' WHEN i % 20 = 0 THEN 'voided' ELSE 'verified' END"
    batch = f"1 + (i - 1) % {batches}"
    moves = (
        ("issued", "reserved", "reserve"),
        ("reserved", "verify_submitted", "send"),
        ("verify_submitted", "verified", "receipt"),
    )
    hash_of = number("%064d", "i")
    return [
        f"INSERT INTO stock (id, owner, form_type, low, count_at) VALUES (1, '{AGENT}', 'B', {no}, '2099-01-01')",
        f"INSERT INTO block (id, stock_id, first_serial, last_serial, form_count, lowest_free, issued_on, source, created_at)"
        f" SELECT i, 1, {serial.format(f'{FIRST} + (i - 1) * {BLOCK} + 1')}, {serial.format(f'{FIRST} + i * {BLOCK}')}, {BLOCK},"
        f" CASE WHEN i * {BLOCK} > {used} THEN {serial.format(f'{FIRST} + (i - 1) * {BLOCK} + 1')} END, '2026-01-01', 'sheet', {_AT}"
        f" FROM {rows(forms // BLOCK)}",
        f"INSERT INTO certificate (number, type, exporter, agent, approved_on, pages, status, updated_at)"
        f" SELECT {certificate}, 'B', '{EXPORTER}', '{AGENT}', '2026-04-01', NULL, 'approved', {_AT} FROM {rows(used)}",
        f"INSERT INTO form (id, serial, form_type, stock_id, block_id, state, certificate, outside, event_count, chain)"
        f" SELECT i, {serial.format(f'{FIRST} + i')}, 'B', 1, {block('i')}, {state}, CASE WHEN i <= {used} THEN {certificate} END,"
        f" {no}, 3, '' FROM {rows(forms)}",
        f"INSERT INTO used_form (form_id, serial, state, self_handled) SELECT i, {serial.format(f'{FIRST} + i')}, {state},"
        f" i % 100 = 0 FROM {rows(used)}",
        "INSERT INTO tally (key, amount) SELECT 'stock:1:' || block_id || ':' || CASE state WHEN 'issued' THEN 'on_hand'"
        " ELSE state END, COUNT(*) FROM form GROUP BY block_id, state",
        f"INSERT INTO batch (id, state, file_name, sheet, header, columns, header_row, row_count, blank_count, all_or_nothing,"
        f" answers, reading, questions, confirmed_content, created_at, confirmed_at, finished_at, reported_at, expires_at)"
        f" SELECT i, 'finished', '月末.xlsx', 'S', '[]', '{{}}', 1, 1, 0, {no}, '{{}}', '{{}}', '[]', {number('%064d', 'i')},"
        f" {_AT}, {_AT}, {_AT}, {_AT}, {_AT} FROM {rows(batches)}",
        f"INSERT INTO batch_row (batch_id, number, status, certificate, action, pages_mode, reference, cells, read_problems, problems)"
        f" SELECT {batch}, 2 + (i - 1) / {batches}, 'ok', {certificate}, 'verify', 'additional', '', '[]', '[]', '[]'"
        f" FROM {rows(used)}",
        f"INSERT INTO submission (id, number, guid, batch_id, certificate, certificate_type, exporter, agent, stock_owner, action,"
        f" form_count, turn, created_at, state, payload, payload_sha256, signed_at, send_count, ask_count, seq_no, taken_at, decided_at)"
        f" SELECT i, {key.format('i')}, 'G', {batch}, {certificate}, 'B', '{EXPORTER}', '{AGENT}', '{AGENT}', 'verify', 1, i, {_AT},"
        f" 'decided', {blob}, {hash_of}, {_AT}, 1, 0, {seq.format('i')}, {_AT}, {_AT} FROM {rows(used)}",
        f"INSERT INTO item (id, batch_id, row_number, position, serial, action, certificate, named, state, form_id, submission_id,"
        f" g_no, rep_code, decided_at) SELECT i, {batch}, 2 + (i - 1) / {batches}, 1, {serial.format(f'{FIRST} + i')}, 'verify',"
        f" {certificate}, {yes}, 'decided', i, i, 1, '0000', {_AT} FROM {rows(used)}",
        f"INSERT INTO attempt (id, submission_id, kind, number, payload_sha256, started_at, deadline_at, finished_at, outcome)"
        f" SELECT i, i, 'send', 1, {hash_of}, {_AT}, {_AT}, {_AT}, 'taken' FROM {rows(used)}",
        f"INSERT INTO inbox (id, key, source, receipt_id, body, received_at, state, submission_number, applied_at)"
        f" SELECT i, 'receipt:' || i, 'poll', 'R' || i, {blob}, {_AT}, 'applied', {key.format('i')}, {_AT} FROM {rows(used)}",
        f"INSERT INTO receipt_line (id, inbox_id, item_id, form_id, rep_code, rep_text, form_state, managed_at, verdict, open,"
        f" ask_count) SELECT i, i, i, i, '0000', '', '2', {_AT}, 'decided', {no}, 0 FROM {rows(used)}",
        *(
            f"INSERT INTO form_event (id, form_id, from_state, to_state, at, cause, certificate, batch_id, number, hash)"
            f" SELECT {n} * {used} + i, i, '{before}', '{after}', {_AT}, '{cause}', {certificate}, {batch}, {n + 1}, ''"
            f" FROM {rows(used)}"
            for n, (before, after, cause) in enumerate(moves)
        ),
        *(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT MAX(id) FROM {table}))"
            for table in (
                "stock",
                "block",
                "form",
                "batch",
                "submission",
                "item",
                "attempt",
                "inbox",
                "receipt_line",
                "form_event",
            )
            if not lite
        ),
    ]

"""The sweep's question over a million rows of which none is due."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from bench.data import AGENT
from bench.parts import context_in
from config.names import Task
from sheets.imports import IssuedRange
from tasks.imports import add_ranges
from tasks.pipeline import due

_ROWS = {
    "sqlite": "WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < {rows})",
    "postgresql": "WITH n(g) AS (SELECT generate_series(1, {rows}))",
}
_FILL = (
    (
        "INSERT INTO batch (id, state, file_name, sheet, header, columns, header_row, row_count,"
        " blank_count, all_or_nothing, created_at, reported_at) VALUES"
        " (1, 'finished', 'x', '', '[]', '{{}}', 0, 0, 0, false, '2026-01-01', '2026-01-02')"
    ),
    (
        "INSERT INTO submission (id, number, guid, batch_id, certificate, certificate_type, exporter,"
        " agent, stock_owner, action, form_count, created_at, state, send_count, ask_count)"
        " {with_n} SELECT g, 'N' || g, 'G', 1, 'C' || g, 'B', 'e', 'a', 'o', 'verify', 1, '2026-01-01',"
        " 'decided', 1, 0 FROM n"
    ),
    (
        "INSERT INTO item (id, batch_id, row_number, position, serial, action, certificate, named, state)"
        " {with_n} SELECT g, 1, g, 1, 'S' || g, 'verify', 'C' || g, true, 'decided' FROM n"
    ),
    (
        "INSERT INTO inbox (id, key, source, body, received_at, state) {with_n} SELECT g, 'K' || g, 'poll',"
        " {blob}, '2026-01-01', 'applied' FROM n"
    ),
    (
        "INSERT INTO receipt_line (id, inbox_id, item_id, form_id, rep_code, rep_text, form_state,"
        " managed_at, verdict, open) {with_n} SELECT g, g, g, (SELECT MIN(id) FROM form), '0000', '',"
        " '2', '2026-01-01', 'decided', false FROM n"
    ),
)


def sweeping(folder: Path, url: str, rows: int) -> float:
    """Milliseconds (median of 20) that the sweep asks, over `rows` messages, items and receipts done."""
    with context_in(folder, **({"DATABASE_URL": url} if url else {})) as context:
        kind = context.database.engine.dialect.name
        blob = "'x'::bytea" if kind == "postgresql" else "x'78'"
        add_ranges(context, [IssuedRange(AGENT, "B", "211000001", "211000001", 1, None)], "sheet")
        with context.database.write() as session:
            for statement in _FILL:
                session.execute(text(statement.format(
                    with_n=_ROWS[kind].format(rows=rows), blob=blob)))  # fmt: skip
        if kind == "postgresql":
            with context.database.engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            ) as db:
                db.execute(text("VACUUM ANALYZE"))
        times = []
        for _ in range(20):
            began = time.perf_counter()
            with context.database.read() as session:
                found = [task for task, _ in due(session, datetime.now(UTC))]
            times.append(time.perf_counter() - began)
        if {Task.SEND, Task.SIGN, Task.ASK, Task.APPLY} & set(found):
            raise SystemExit(f"something was due: {found}")
        return statistics.median(times) * 1000

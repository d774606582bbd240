"""The floor: one script with no queue and no promises. `python -m bench.floor <sheet> <home> <rows>`.

Reads the sheet, one set-based statement for each step in a SQLite file of its own, builds and signs
the same messages as ours (one certificate and operation each), sends them over kept-alive
connections while it signs on, fetches the receipts and applies them in bulk, writes a result sheet.
A crash loses count of what was sent: that is what the difference to ours buys.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import xlsxwriter
from python_calamine import CalamineWorkbook

from bench import quiet
from bench.data import AGENT, EXPORTER, stock_of
from config.settings import Settings, load_settings
from customs.gateway import Message, MessageLine
from customs.profile.bcm1_xml import parse_receipt, signed_message
from customs.signing.keyfile import KeyFileSigner
from customs.signing.xmldsig import PROFILES
from models.rules.serials import serials_between
from models.rules.states import Action

UNVERIFIED = replace(PROFILES["rsa-sha256"], verify=lambda *_: None)
SCHEMA = """
CREATE TABLE form (serial TEXT PRIMARY KEY, state TEXT, number TEXT);
CREATE TABLE line (row INTEGER, certificate TEXT, action TEXT, serials TEXT, pages INTEGER);
CREATE TABLE message (number TEXT PRIMARY KEY, certificate TEXT, action TEXT);
"""


def orders_in(sheet: Path) -> Iterator[tuple[int, str, str, str, int]]:
    rows = CalamineWorkbook.from_path(str(sheet)).get_sheet_by_index(0).iter_rows()
    for number, row in enumerate(rows):
        if number:
            action = Action.VOID if row[1] == "作废" else Action.VERIFY
            yield number, str(row[0]), action.value, str(row[2]), int(row[3] or 0)  # type: ignore[arg-type]


def planned(db: sqlite3.Connection, sheet: Path, rows: int) -> list[tuple[str, Action, list[str]]]:
    """Import, allocate the lowest free serials to page counts, one message a certificate and action."""
    db.executemany("INSERT INTO line VALUES (?, ?, ?, ?, ?)", orders_in(sheet))
    lines = db.execute("SELECT * FROM line ORDER BY row").fetchall()
    named = {s for line in lines if line[3] for s in _named(line[3])}
    issued = (
        s for r in stock_of(rows) for s in serials_between(r.first_serial, r.last_serial, 1 << 20)
    )
    free = iter([s for s in issued if s not in named])
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for _, certificate, action, serials, pages in lines:
        taken = _named(serials) if serials else [next(free) for _ in range(pages)]
        groups[certificate, action] += taken
    return [(c, Action(a), sorted(serials)) for (c, a), serials in groups.items()]


def _named(text: str) -> list[str]:
    first, _, last = text.partition("-")
    return list(serials_between(first, last or first, 1000))


def built(
    settings: Settings, signer: KeyFileSigner, number: str, order: tuple[str, Action, list[str]]
) -> bytes:
    certificate, action, serials = order
    void = action is Action.VOID
    message = Message(
        number=number, guid=str(uuid.uuid4()).upper(), sender=settings.sender, action=action,
        certificate=certificate, certificate_type="B", exporter=EXPORTER, agent=AGENT, stock_owner=AGENT,
        reason_code="01" if void else None, reason_text=None, made_at=datetime.now(UTC),
        lines=[MessageLine(g, s, "B") for g, s in enumerate(serials, start=1)],
    )  # fmt: skip
    return signed_message(message, signer, UNVERIFIED)


async def sent(
    db: sqlite3.Connection, settings: Settings, orders: list[tuple[str, Action, list[str]]]
) -> None:
    """Sign and send everything, fetching receipts meanwhile, until each message has one."""
    signer = KeyFileSigner(settings.key_folder, settings.sender)
    waiting: asyncio.Queue[bytes] = asyncio.Queue(maxsize=64)
    headers = {"Authorization": f"Bearer {settings.gateway_token}"}
    numbers = [uuid.uuid4().hex.upper() for _ in orders]
    with db:
        db.executemany("INSERT INTO message VALUES (?, ?, ?)",
                       [(n, c, a.value) for n, (c, a, _) in zip(numbers, orders, strict=True)])  # fmt: skip
        db.executemany("UPDATE form SET state = 'submitted', number = ? WHERE serial = ?",
                       [(n, s) for n, (_, _, serials) in zip(numbers, orders, strict=True) for s in serials])  # fmt: skip

    async def send(session: aiohttp.ClientSession) -> None:
        while True:
            body = await waiting.get()
            async with session.post(f"{settings.gateway_url}/messages", data=body,
                                    headers={"Content-Type": "application/xml"}) as answer:  # fmt: skip
                await answer.read()
                if answer.status != 200:
                    raise SystemExit(f"floor: {answer.status}")
            waiting.task_done()

    async def receipts(session: aiohttp.ClientSession) -> None:
        cursor, seen = "", 0
        while seen < len(orders):
            url = f"{settings.gateway_url}/receipts?limit=500&after={cursor}"
            async with session.get(url) as answer:
                page: dict[str, Any] = await answer.json()
            cursor, seen = page["next"], seen + len(page["receipts"])
            states = [
                ("verified" if r.action is Action.VERIFY else "voided", line.serial)
                for r in (parse_receipt(one["xml"].encode()) for one in page["receipts"])
                for line in r.forms if line.code == "0000"
            ]  # fmt: skip
            with db:
                db.executemany("UPDATE form SET state = ? WHERE serial = ?", states)
            if len(page["receipts"]) < 500:
                await asyncio.sleep(0.5)

    connector = aiohttp.TCPConnector(limit=settings.send_concurrency + 1)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        senders = [asyncio.create_task(send(session)) for _ in range(settings.send_concurrency)]
        fetching = asyncio.create_task(receipts(session))
        for number, order in zip(numbers, orders, strict=True):
            await waiting.put(built(settings, signer, number, order))
        await waiting.join()
        for sender in senders:
            sender.cancel()
        await fetching


def reported(db: sqlite3.Connection, path: Path) -> int:
    """The result sheet; gives how many forms are done."""
    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as book:
        page = book.add_worksheet()
        rows = db.execute(
            "SELECT m.certificate, m.action, f.serial, f.state FROM form f JOIN message m USING (number) ORDER BY 1, 3"
        )
        count = -1
        for count, row in enumerate(rows):
            page.write_row(count, 0, row)
    found = db.execute("SELECT COUNT(*) FROM form WHERE state IN ('verified', 'voided')").fetchone()
    return int(found[0])


def main() -> None:
    """Run it; prints how many messages and forms as JSON."""
    sheet, home, rows = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    settings = load_settings()
    db = sqlite3.connect(home / "floor.db")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    with db:
        orders = planned(db, sheet, rows)
    asyncio.run(sent(db, settings, orders))
    done = reported(db, home / "floor-result.xlsx")
    sys.stdout.write(json.dumps({"messages": len(orders), "forms": done}))


def prepare(home: Path, rows: int) -> None:
    """The stock, imported before as ours is."""
    with sqlite3.connect(home / "floor.db") as db:
        db.executescript(SCHEMA)
        db.executemany("INSERT INTO form VALUES (?, 'issued', NULL)",
                       ((s,) for r in stock_of(rows) for s in serials_between(r.first_serial, r.last_serial, 1 << 20)))  # fmt: skip


if __name__ == "__main__":
    quiet()
    main()

"""What one writes first: a Celery task for each row, ORM get and commit, sign, one POST.

The worker is `celery -A bench.naive worker`; `python -m bench.naive <sheet> <home>` imports the
sheet, sends one task for each row, waits, and books receipts one by one. One message a row.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from celery import Celery
from python_calamine import CalamineWorkbook
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bench.data import AGENT, EXPORTER, stock_of
from config.settings import load_settings
from customs.gateway import Message, MessageLine
from customs.profile.bcm1_xml import parse_receipt, signed_message
from customs.signing.keyfile import KeyFileSigner
from customs.signing.xmldsig import PROFILES
from models.rules.serials import serials_between
from models.rules.states import Action

app = Celery("naive", broker=os.environ.get("BROKER_URL", ""))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


class Base(DeclarativeBase):
    """Two tables are enough."""


class Form(Base):
    """A form and its state."""

    __tablename__ = "form"
    serial: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    row: Mapped[int | None]


class Row(Base):
    """A row of the sheet."""

    __tablename__ = "row"
    id: Mapped[int] = mapped_column(primary_key=True)
    certificate: Mapped[str]
    action: Mapped[str]
    serials: Mapped[str]
    state: Mapped[str]
    number: Mapped[str | None] = mapped_column(index=True)


@cache
def signer() -> KeyFileSigner:
    """The key, loaded once in each process."""
    settings = load_settings()
    return KeyFileSigner(settings.key_folder, settings.sender)


@cache
def engine_in(home: Path) -> Engine:
    """One engine in each process."""
    engine = create_engine(f"sqlite:///{home / 'naive.db'}", connect_args={"timeout": 60})
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    Base.metadata.create_all(engine)
    return engine


def session_in(home: Path) -> Session:
    """The database."""
    return Session(engine_in(home))


@app.task(name="handle")
def handle(home: str, row_id: int) -> None:
    """Sign one row's message and send it."""
    settings = load_settings()
    with session_in(Path(home)) as session:
        row = session.get_one(Row, row_id)
        row.number = uuid.uuid4().hex.upper()
        row.state = "sending"
        session.commit()
        message = Message(
            number=row.number, guid=str(uuid.uuid4()).upper(), sender=settings.sender,
            action=Action(row.action), certificate=row.certificate, certificate_type="B",
            exporter=EXPORTER, agent=AGENT, stock_owner=AGENT,
            reason_code="01" if row.action == Action.VOID else None, reason_text=None,
            made_at=datetime.now(UTC),
            lines=[MessageLine(g, s, "B") for g, s in enumerate(row.serials.split(), start=1)],
        )  # fmt: skip
        body = signed_message(message, signer(), PROFILES["rsa-sha256"])
        call(f"{settings.gateway_url}/messages", settings.gateway_token, body)
        row.state = "submitted"
        for serial in row.serials.split():
            session.get_one(Form, serial).state = "submitted"
        session.commit()


def call(url: str, token: str, body: bytes | None = None) -> bytes:
    """One request, one connection."""
    asked = urllib.request.Request(url, body, {"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return bytes(answer.read())


def imported(session: Session, sheet: Path) -> list[int]:
    """One row at a time."""
    ids = []
    cells: Any
    for number, cells in enumerate(
        CalamineWorkbook.from_path(str(sheet)).get_sheet_by_index(0).iter_rows()
    ):
        if number == 0:
            continue
        if cells[2]:
            first, _, last = str(cells[2]).partition("-")
            serials = serials_between(first, last or first, 1000)
        else:
            free = (
                select(Form.serial)
                .where(Form.state == "issued", Form.serial >= "219")
                .order_by(Form.serial)
            )
            serials = list(session.scalars(free.limit(int(cells[3]))))
        for serial in serials:
            form = session.get_one(Form, serial)
            form.state, form.row = "reserved", number
        action = Action.VOID if cells[1] == "作废" else Action.VERIFY
        session.add(Row(id=number, certificate=str(cells[0]), action=action.value,
                        serials=" ".join(serials), state="new", number=None))  # fmt: skip
        session.commit()
        ids.append(number)
    return ids


def booked(session: Session, rows: int) -> None:
    """Receipts, until every row has one."""
    settings = load_settings()
    cursor, seen = "", 0
    while seen < rows:
        url = f"{settings.gateway_url}/receipts?limit=500&after={cursor}"
        page = json.loads(call(url, settings.gateway_token))
        for one in page["receipts"]:
            receipt = parse_receipt(one["xml"].encode())
            row = session.scalars(select(Row).where(Row.number == receipt.number)).one()
            row.state = "done"
            for line in receipt.forms:
                form = session.get_one(Form, line.serial)
                form.state = "verified" if receipt.action is Action.VERIFY else "voided"
            session.commit()
        cursor, seen = page["next"], seen + len(page["receipts"])
        if not page["receipts"]:
            time.sleep(0.5)


def main() -> None:
    """Run it; prints how many messages and forms as JSON."""
    sheet, home = Path(sys.argv[1]), Path(sys.argv[2])
    with session_in(home) as session:
        ids = imported(session, sheet)
        for row_id in ids:
            handle.delay(str(home), row_id)
        booked(session, len(ids))
        done = session.scalar(
            select(func.count()).select_from(Form).where(Form.state.in_(["verified", "voided"]))
        )
    sys.stdout.write(json.dumps({"messages": len(ids), "forms": done}))


def prepare(home: Path, rows: int) -> None:
    """The stock."""
    with session_in(home) as session:
        serials = (
            s
            for r in stock_of(rows)
            for s in serials_between(r.first_serial, r.last_serial, 1 << 20)
        )
        session.add_all(Form(serial=s, state="issued", row=None) for s in serials)
        session.commit()


if __name__ == "__main__":
    main()

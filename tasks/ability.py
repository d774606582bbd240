"""Can an order be carried out to its end right now, and if not, what must who do? The one answer of all faces.

Doctor, `/readyz`, `/metrics`, `--wait` and the banner of the console ask here (rule 9 of how-it-works.md). Each
hindrance is an error with its code, its text, the next step, and the exit code of a command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.settings import Settings
from models.reads.cards import not_in_use, seen_cards, trouble_of
from models.reads.deployment import Identity, require_identity
from models.reads.line import Line, line_of
from models.reads.pulses import pulses
from models.rules.card_errors import CARD_ERRORS, CardExpired
from models.rules.errors import (
    BlankformsError,
    BrokerFull,
    BrokerReadOnly,
    BrokerRefused,
    BrokerUnreachable,
    ClockApart,
    DatabaseRestored,
    DatabaseUnreachable,
    DatabaseUnwritable,
    DiskFull,
    JournalUnwritable,
    LineClosed,
    ProcessQuiet,
)
from models.rules.language import t
from models.rules.states import LineReason, LineState
from models.tables.card import Card
from models.tables.database import Database
from models.tables.schema import require_schema
from models.writes.pulses import note_pulse
from tasks.app import require_broker
from tasks.journal import Journal
from tasks.pulse import PROCESSES, SENDER, noted, surroundings

QUIET: Final = timedelta(seconds=60)
"""A process of which nothing was seen for so long is missed: it is rung for with each sweep, and no ring's
work takes longer than 20 seconds."""

CLOCK_TOLERANCE: Final = timedelta(seconds=30)
"""More than any two machines with NTP are apart."""

PROBE: Final = "probe"
"""Who writes to the database only to see that it can be written."""


class Area(StrEnum):
    """Where something hinders."""

    DATABASE = "database"
    BROKER = "broker"
    PROCESSES = "processes"
    CARD = "card"
    LINE = "line"
    JOURNAL = "journal"
    CLOCK = "time"


@dataclass(frozen=True, slots=True)
class Hindrance:
    """One thing that keeps orders from being carried out."""

    area: Area
    error: BlankformsError
    about: str = ""
    """Of a card its label."""

    @property
    def code(self) -> str:
        """Language-neutral."""
        return self.error.code

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {"area": self.area.value, "code": self.code, "text": str(self.error)}


CODES: Final = (
    *(DatabaseUnreachable.code, DatabaseUnwritable.code, DatabaseRestored.code),
    *("schema_missing", "schema_older", "schema_newer"),
    *("another_sender", "another_customs", "deployment_unconfirmed"),
    *(BrokerUnreachable.code, BrokerReadOnly.code, BrokerFull.code, BrokerRefused.code),
    *(ProcessQuiet.code, DiskFull.code, ClockApart.code),
    *CARD_ERRORS,
    *(reason.value for reason in LineReason),
)
"""Every code a hindrance may have."""


def hindrances(
    settings: Settings, database: Database, now: datetime | None = None
) -> list[Hindrance]:
    """Everything that keeps an order from being carried out now; empty: it can be.

    Writes a row to the database and a key to the broker, to see that both can be written. Nothing is
    raised: a part that cannot be looked at is a hindrance itself.
    """
    now = now or datetime.now(UTC)
    found: list[Hindrance] = []
    try:
        require_schema(database, upgrade_now=False)
        with database.read() as session:
            require_identity(session, Identity(settings.sender, settings.customs))
            found += _by_the_tables(session, settings, now)
        with database.write() as session:
            note_pulse(session, PROBE, now)
    except BlankformsError as error:
        found.append(Hindrance(Area.DATABASE, error))
    try:
        require_broker()
    except BlankformsError as error:
        found.append(Hindrance(Area.BROKER, error))
    here = surroundings(settings)
    if here is not None and here.code not in {h.code for h in found}:
        found.append(Hindrance(Area.JOURNAL, here))
    order = list(Area)
    return sorted(found, key=lambda h: order.index(h.area))


def _by_the_tables(session: Session, settings: Settings, now: datetime) -> Iterator[Hindrance]:
    try:
        restored = Journal(settings.journal_file).behind(session)  # before anything else is read
    except OSError as error:
        yield Hindrance(Area.JOURNAL, JournalUnwritable(detail=str(error)))
        restored = False
    seen = pulses(session)
    quiet = [p for p in PROCESSES if p not in seen or now - seen[p].at > QUIET]
    if quiet:
        yield Hindrance(Area.PROCESSES, ProcessQuiet(names=", ".join(quiet)))
    yield from _cards(session, now)
    line = line_of(session, now)
    if restored:
        yield Hindrance(Area.JOURNAL, DatabaseRestored())
    if line.state is not LineState.OPEN and not (restored and line.reason is LineReason.RESTORED):
        yield Hindrance(Area.LINE, line_closed(line, settings))
    sender = seen.get(SENDER)
    if sender is not None and sender.code and sender.code != (line.reason or ""):
        yield Hindrance(Area.JOURNAL, noted(sender.code, sender.detail))
    apart = _clocks_apart(session, now, [p.at for p in seen.values()])
    if apart > CLOCK_TOLERANCE:
        yield Hindrance(Area.CLOCK, ClockApart(detail=f"{round(apart.total_seconds())} s"))


def _cards(session: Session, now: datetime) -> Iterator[Hindrance]:
    forgotten = set(session.scalars(select(Card.label).where(not_in_use(now))))
    for card in seen_cards(session):
        if card.label in forgotten:
            continue
        trouble = trouble_of(card)
        if trouble is None and card.not_after is not None and card.not_after <= now:
            trouble = CardExpired(detail=f"{card.not_after:%Y-%m-%d}")
        if trouble is not None:
            yield Hindrance(Area.CARD, trouble, card.label)


_REMEDIES: Final = {
    LineReason.TOKEN: (
        "更正 CUSTOMS_TOKEN 后 blankforms line open",
        'correct CUSTOMS_TOKEN, then "blankforms line open"',
    ),
    LineReason.CARD: ("排除签名卡问题后 blankforms line open", 'mend the card, then "blankforms line open"'),
    LineReason.PAUSED: ("恢复: blankforms line resume", 'to go on: "blankforms line resume"'),
    LineReason.JOURNAL: (
        "检查数据目录的磁盘和权限，恢复后自动继续",
        "look at disk and rights of the data folder; it goes on by itself",
    ),
    LineReason.JOURNAL_MISSING: (
        "找回该文件；确实找不回的先对账，再 blankforms journal accept",
        'bring the file back; else reconcile, then "blankforms journal accept"',
    ),
    LineReason.BUSY: ("到时自动恢复", "goes on by itself then"),
}  # fmt: skip


def line_closed(line: Line, settings: Settings) -> LineClosed:
    """Why messages do not leave, and what to do."""
    said = line.said(settings.zone)
    if line.reason in _REMEDIES:
        said += t("；", "; ") + t(*_REMEDIES[line.reason])
    return LineClosed(line.reason.value if line.reason else "line_closed", said=said)


def _clocks_apart(session: Session, now: datetime, noted_at: Sequence[datetime]) -> timedelta:
    """How far this clock is from the database's, or behind what others noted."""
    ahead = max((at - now for at in noted_at), default=timedelta(0))
    if session.get_bind().dialect.name != "postgresql":
        return ahead
    theirs = session.scalar(select(func.clock_timestamp()))
    return max(ahead, abs(theirs - now)) if theirs else ahead

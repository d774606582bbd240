"""The history of forms, proved: every chain examined, and compared with anchors kept elsewhere.

An anchor is a file of one night: for every few forms a digest of their last hashes as of one event, and
the hash of the anchor before it. Whoever rewrites a history without a flaw still disagrees with the
anchors, of which others have copies (the run keeps the hash, the notification carries it).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from models.rules.chain import EventFacts, Standing, StoredEvent, Tamper, examine_chain, standing
from models.tables.forms import Form, FormEvent
from models.tables.reconciliation import Run
from models.writes.leases import this_host
from tasks.context import Context

FORMS_TOGETHER: Final = 20
"""Forms under one digest of an anchor: small enough to say where, large enough for small files."""

EVENTS_TOGETHER: Final = 10_000
_MARK: Final = "blankforms-anchor 1"
_DIGEST_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw: what was done, to which event of which form, in words that need no language."""

    tamper: Tamper
    serial: str
    form_type: str
    number: int | None = None
    event_id: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """An anchor as read: digests by the first form of each group."""

    day: str
    last_event: int
    previous: str
    digests: dict[int, str]
    sha256: str
    path: Path


@dataclass(slots=True)
class Verified:
    """What was looked at, for the person who asked."""

    forms: int = 0
    events: int = 0
    anchors: int = 0


# -- verifying ----------------------------------------------------------------------------------


def verify(context: Context, counted: Verified, *, every_anchor: bool) -> Iterator[Finding]:
    """Examine every chain, then the newest anchor (or every one); gives what is wrong.

    Nothing is changed. Memory: the history of one form, and one anchor.
    """
    with context.database.read() as session:
        for form, events in _histories(session):
            counted.forms += 1
            counted.events += len(events)
            flaws = examine_chain(events, form.event_count, form.chain)
            for flaw in flaws:
                yield Finding(flaw.tamper, form.serial, form.form_type, flaw.number, flaw.event_id)
            if not flaws:
                yield from _as_its_history_left_it(form, [e.facts for e in events])
    paths = anchor_files(context.settings.anchors)
    yield from _missing_files(context, paths)
    for path in paths if every_anchor else paths[-1:]:
        counted.anchors += 1
        yield from _against(context, path)


def _as_its_history_left_it(form: Any, events: Sequence[EventFacts]) -> Iterator[Finding]:
    left = standing(events)
    is_now = Standing(form.state.value, form.used_for, form.hold is not None)
    for name in ("state", "certificate", "held"):
        was, now = getattr(left, name), getattr(is_now, name)
        if was != now:
            detail = f"{name}: {now}, history: {was}"
            yield Finding(Tamper.FORM, form.serial, form.form_type, detail=detail)


def _histories(session: Session) -> Iterator[tuple[Any, list[StoredEvent]]]:
    """Every form with its events, in the order of ids; forms without any too."""
    rows = session.execute(
        select(
            Form.id.label("form"),
            Form.serial,
            Form.form_type,
            Form.event_count,
            Form.chain,
            Form.state,
            Form.certificate.label("used_for"),
            Form.hold,
            *FormEvent.__table__.c,
        )
        .outerjoin(FormEvent, FormEvent.form_id == Form.id)
        .order_by(Form.id, FormEvent.id)
        .execution_options(yield_per=EVENTS_TOGETHER)
    )
    for _, of_form in groupby(rows, key=lambda r: r.form):
        group = list(of_form)
        first = group[0]
        events = [_stored(r) for r in group if r.id is not None]
        yield first, events


def _stored(row: Any) -> StoredEvent:
    facts = EventFacts(
        row.form_type,
        row.serial,
        row.number,
        row.from_state,
        row.to_state,
        row.at,
        row.cause,
        row.certificate,
        row.batch_id,
        row.submission_id,
        row.inbox_id,
        row.reason,
    )
    return StoredEvent(row.id, facts, row.hash)


def _missing_files(context: Context, paths: Iterable[Path]) -> Iterator[Finding]:
    """Anchors that a run left in this folder and that are gone, or that are not what they were."""
    there = {p.stem: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
    here = f"{this_host()} {context.settings.anchors}"[:300]
    with context.database.read() as session:
        remembered = session.execute(
            select(Run.business_date, Run.anchor, Run.anchor_place)
            .where(Run.anchor.is_not(None))
            .order_by(Run.business_date)
        ).all()
    for day, sha256, place in remembered:
        name = day.isoformat()
        if name in there and there[name] != sha256:
            yield Finding(Tamper.ANCHOR_FILE, "", "", detail=f"{name}.txt changed")
        elif name not in there and place == here:
            yield Finding(Tamper.ANCHOR_FILE, "", "", detail=f"{name}.txt missing")
    for earlier, later in pairwise(paths):
        anchor = read_anchor(later)
        if anchor and anchor.previous not in {"-", there[earlier.stem]}:
            yield Finding(
                Tamper.ANCHOR_FILE, "", "", detail=f"{earlier.name} is not before {later.name}"
            )


def _against(context: Context, path: Path) -> Iterator[Finding]:
    anchor = read_anchor(path)
    if anchor is None:
        yield Finding(Tamper.ANCHOR_FILE, "", "", detail=f"{path.name} unreadable")
        return
    seen: set[int] = set()
    with context.database.read() as session:
        for first, digest, _ in _digests(session, anchor.last_event):
            seen.add(first)
            if anchor.digests.get(first) != digest:
                yield _disagreement(session, anchor, first)
        for first in sorted(anchor.digests.keys() - seen):
            yield _disagreement(session, anchor, first)


def _disagreement(session: Session, anchor: Anchor, first: int) -> Finding:
    serials = session.scalars(
        select(Form.serial)
        .where(Form.id.between(first, first + FORMS_TOGETHER - 1))
        .order_by(Form.id)
    ).all()
    shown = f"{serials[0]}..{serials[-1]}" if serials else f"form {first}.."
    return Finding(Tamper.ANCHOR, shown, "", detail=anchor.path.name)


# -- anchors ------------------------------------------------------------------------------------


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def take_anchor(context: Context, day: date) -> str:
    """Write the anchor of a night; gives its SHA-256. Taken again for the same night, it replaces it."""
    folder = context.settings.anchors
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{day.isoformat()}.txt"
    earlier = [p for p in anchor_files(folder) if p.stem < path.stem]
    previous = hashlib.sha256(earlier[-1].read_bytes()).hexdigest() if earlier else "-"
    last_event = _last_event(context)
    part = path.with_suffix(".part")
    sha256 = hashlib.sha256()
    with (
        open(part, "wb", opener=_private) as file,
        context.database.read() as session,
    ):

        def line(words: str) -> None:
            written = words.encode() + b"\n"
            sha256.update(written)
            file.write(written)

        line(_MARK)
        line(f"date {day.isoformat()}")
        line(f"event {last_event}")
        line(f"previous {previous}")
        for first, digest, forms in _digests(session, last_event):
            line(f"{first} {forms} {digest}")
    part.replace(path)
    return sha256.hexdigest()


def _last_event(context: Context) -> int:
    """The newest event of which no earlier one is still under way.

    PostgreSQL gives ids before it commits: for a moment nobody may write events, so that none below the
    mark comes later. SQLite has one writer at a time.
    """
    with context.database.write() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("LOCK TABLE form_event IN SHARE MODE"))
        return session.scalar(select(func.max(FormEvent.id))) or 0


def _digests(session: Session, last_event: int) -> Iterator[tuple[int, str, int]]:
    """(first form id of a group, digest of its forms' last hashes, how many), as of an event."""
    rows = session.connection().execute(
        select(FormEvent.form_id, FormEvent.hash)
        .where(FormEvent.id <= last_event)
        .order_by(FormEvent.form_id, FormEvent.id),
        execution_options={"yield_per": EVENTS_TOGETHER},
    )
    first, heads = 1 - FORMS_TOGETHER, dict[int, str]()
    for form_id, head in rows:
        if form_id >= first + FORMS_TOGETHER:
            if heads:
                yield first, _digest(heads), len(heads)
            first, heads = (form_id - 1) // FORMS_TOGETHER * FORMS_TOGETHER + 1, {}
        heads[form_id] = head
    if heads:
        yield first, _digest(heads), len(heads)


def _digest(heads: dict[int, str]) -> str:
    said = "\n".join([f"{form_id} {head}" for form_id, head in heads.items()])
    return hashlib.sha256(said.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def anchor_files(folder: Path) -> list[Path]:
    """The anchors of a folder, oldest first."""
    return sorted(folder.glob("[0-9]*.txt"))


def read_anchor(path: Path) -> Anchor | None:
    """An anchor; None when it is none."""
    content = path.read_bytes()
    try:
        lines = content.decode().splitlines()
        head = dict(line.split(" ", 1) for line in lines[1:4])
        if lines[0] != _MARK:
            return None
        digests = {}
        for line in lines[4:]:
            first, _, digest = line.split(" ")
            digests[int(first)] = digest
        return Anchor(
            head["date"],
            int(head["event"]),
            head["previous"],
            digests,
            hashlib.sha256(content).hexdigest(),
            path,
        )
    except (UnicodeDecodeError, ValueError, IndexError, KeyError):
        return None

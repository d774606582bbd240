"""The chain of a form's events: each hash is over the event and the hash before it. Pure.

An event that is edited, removed, inserted or put elsewhere no longer fits its number or the hash
before it. What a chain alone cannot show (rewritten from somewhere to its end, the form's own
memory of it included) is found against the anchors kept outside the database (`tasks.night.audit`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from json.encoder import encode_basestring as _quoted
from typing import Final

from models.rules.causes import HELD_BEFORE_0008, Cause

GENESIS: Final = ""
"""The hash before a form's first event."""


@dataclass(frozen=True, slots=True)
class EventFacts:
    """Everything that an event says, as it is hashed. `number` counts the form's events from 1."""

    form_type: str
    serial: str
    number: int
    from_state: str | None
    to_state: str
    at: datetime
    cause: str
    certificate: str | None = None
    batch_id: int | None = None
    submission_id: int | None = None
    inbox_id: int | None = None
    reason: str | None = None


def event_hash(before: str, event: EventFacts) -> str:
    """SHA-256 (hex) of an event that follows the event with the hash `before`."""
    return hashlib.sha256(event_text(before, event).encode()).hexdigest()


def event_text(before: str, event: EventFacts) -> str:
    """What is hashed: a JSON list, without spaces, of the hash before and what the event says in order.

    Written here and not by `json.dumps`, which takes longer than all else about an event; the bytes are the
    same (`tests/models/rules/test_chain.py`).
    """
    at = event.at.astimezone(UTC).isoformat(timespec="microseconds")
    return (
        f"[{_quoted(before)},{_quoted(event.form_type)},{_quoted(event.serial)},{event.number},"
        f'{_or_null(event.from_state)},{_quoted(event.to_state)},"{at}",{_quoted(event.cause)},'
        f"{_or_null(event.certificate)},{_id(event.batch_id)},{_id(event.submission_id)},"
        f"{_id(event.inbox_id)},{_or_null(event.reason)}]"
    )


def _or_null(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def _id(number: int | None) -> str:
    return "null" if number is None else str(number)


class Tamper(StrEnum):
    """What was done to a history."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT = "cut"
    """The end is missing: the form remembers later events."""
    ANCHOR = "anchor"
    """Without a flaw in itself, but an anchor remembers something else: cut or rewritten whole."""
    ANCHOR_FILE = "anchor_file"
    """The anchor itself is missing or was changed."""
    FORM = "form"
    """The form is not as its history left it: its state, certificate or hold."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it lies in the table."""

    id: int
    facts: EventFacts
    hash: str


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong with the history of a form: the number of the event, its id when it exists."""

    tamper: Tamper
    number: int
    event_id: int | None = None


def examine_chain(events: Sequence[StoredEvent], event_count: int, chain: str) -> list[Flaw]:
    """What is wrong with the history of one form; nothing when it is whole.

    `events` come in the order of their ids; `event_count` and `chain` are the number and hash of
    the last one as the form remembers them.
    """
    before = GENESIS
    for number, event in enumerate(events, start=1):
        if event.facts.number != number or event_hash(before, event.facts) != event.hash:
            break
        before = event.hash
    else:
        if (len(events), before) == (event_count, chain):
            return []
    return list(_flaws(events, event_count, chain))


def _flaws(events: Sequence[StoredEvent], event_count: int, chain: str) -> Iterator[Flaw]:
    by_number: dict[int, list[StoredEvent]] = defaultdict(list)
    for event in events:
        by_number[event.facts.number].append(event)
    genuine = {n: _genuine(n, same, by_number, chain) for n, same in by_number.items()}
    highest = 0
    for event in events:
        number = event.facts.number
        if event is not genuine[number] or number > event_count:
            yield Flaw(Tamper.INSERTED, number, event.id)
            continue
        if number < highest:
            yield Flaw(Tamper.REORDERED, number, event.id)
        highest = max(highest, number)
        before = genuine.get(number - 1)
        known = GENESIS if number == 1 else before.hash if before else None
        last = number == event_count
        if (known is not None and event_hash(known, event.facts) != event.hash) or (
            last and event.hash != chain
        ):
            yield Flaw(Tamper.EDITED, number, event.id)
    for number in range(1, event_count + 1):
        if number not in by_number:
            yield Flaw(Tamper.CUT if number > highest else Tamper.REMOVED, number)


def _genuine(
    number: int, same: Sequence[StoredEvent], by_number: dict[int, list[StoredEvent]], chain: str
) -> StoredEvent:
    """Of events with the same number, the one that its successor, or the form, remembers."""
    if len(same) == 1:
        return same[0]
    for event in same:
        following = by_number.get(number + 1, [])
        if event.hash == chain or any(event_hash(event.hash, f.facts) == f.hash for f in following):
            return event
    return same[0]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a form stands: what its row says, or what its history comes to."""

    state: str
    certificate: str | None
    held: bool


def standing(events: Sequence[EventFacts]) -> Standing:
    """What a history comes to; the events are in their order."""
    state, certificate, held = "", None, False
    for event in events:
        moved = event.from_state != event.to_state
        if moved and event.from_state == _ISSUED:
            certificate = event.certificate
        if moved and event.to_state == _ISSUED:
            certificate = None
            held = held or event.cause == Cause.RECEIPT_HOLDS
            held |= event.cause == Cause.RECEIPT and (event.reason or "")[:4] in HELD_BEFORE_0008
        if not moved:
            held = event.cause != Cause.RELEASE
        state = event.to_state
    return Standing(state, certificate, held)


_ISSUED: Final = "issued"

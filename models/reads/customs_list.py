"""Our book against customs' list, window by window of serials: a merge in flat memory.

What customs is expected to list of our forms is made in the database, in customs' own words; two lines
that are alike cost one comparison. Only what differs is looked at closely.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol

from sqlalchemy import String, case, func, literal, or_, select
from sqlalchemy.orm import Session

from models.rules.differences import (
    FINAL_THERE,
    DifferenceClass,
    classify,
)
from models.rules.serials import successor
from models.rules.states import FormState
from models.rules.verdicts import CustomsState
from models.tables.base import Serial
from models.tables.bulk import CHUNK, chunks, rows_table
from models.tables.forms import Form, FormEvent, Stock

Line = str
"""`serial|form type|FormState code|certificate`, the certificate only of a final form: one text, because
nothing is compared as fast."""

Key = tuple[str, str]
"""serial, form type."""

_USED_FOR: Final = func.coalesce(Form.certificate, "")
_EXPECTED: Final = (
    Form.serial
    + "|"
    + Form.form_type
    + case(
        (Form.state == FormState.VERIFIED, literal(f"|{CustomsState.VERIFIED}|") + _USED_FOR),
        (Form.state == FormState.VOIDED, literal(f"|{CustomsState.VOIDED}|") + _USED_FOR),
        else_=f"|{CustomsState.ISSUED}|",
    )
)


class Listed(Protocol):
    """A form as customs lists it (`customs.gateway.CustomsForm`)."""

    @property
    def serial(self) -> str: ...
    @property
    def form_type(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def certificate(self) -> str | None: ...
    @property
    def issued_on(self) -> date | None: ...
    @property
    def updated_at(self) -> str | None: ...


def listed_lines(listed: Iterable[Listed]) -> list[Line]:
    """Customs' list as compared."""
    return [
        f"{f.serial}|{f.form_type}|{f.state}|"
        f"{(f.certificate or '') if f.state in FINAL_THERE else ''}"
        for f in listed
    ]


@dataclass(frozen=True, slots=True)
class Ours:
    """A form of ours that customs lists otherwise, or not at all."""

    id: int
    serial: str
    form_type: str
    owner: str
    state: FormState
    certificate: str | None
    lost: bool
    moved_at: datetime


@dataclass(slots=True)
class Found:
    """A difference of one form, or of consecutive ones that are all alike."""

    kind: DifferenceClass
    form_type: str
    first_serial: str
    last_serial: str
    form_count: int
    state: FormState | None
    certificate: str | None
    customs_state: str | None
    customs_certificate: str | None
    issued_on: date | None
    since: datetime | None

    def alike(self, other: Found) -> bool:
        """Whether `other` is the same thing about the next serial."""
        mine, its = self._said(), other._said()
        return mine == its and successor(self.last_serial) == other.first_serial

    def _said(self) -> tuple[object, ...]:
        return (
            self.kind,
            self.form_type,
            self.state,
            self.certificate,
            self.customs_state,
            self.customs_certificate,
            self.issued_on,
        )


START: Final[Key] = ("", "")


def expected_lines(session: Session, holder: str, after: Key, upto: Key | None) -> list[Line]:
    """What customs should list of a holder's forms with `after` < (serial, type) <= `upto` (None: to the end)."""
    stocks = session.scalars(select(Stock.id).where(Stock.owner == holder)).all()
    query = select(func.aggregate_strings(_EXPECTED, "\n")).where(
        Form.stock_id.in_(stocks),
        Form.serial >= after[0],
        or_(Form.serial > after[0], Form.form_type > after[1]),
    )
    if upto is not None:
        query = query.where(
            Form.serial <= upto[0], or_(Form.serial < upto[0], Form.form_type <= upto[1])
        )
    together = session.scalar(query)  # one text of many lines costs a fifth of many rows
    return together.split("\n") if together else []


def differing(ours: Iterable[Line], theirs: Iterable[Line]) -> set[Key]:
    """The forms of which the two say something else, or only one says anything."""
    different = (line.split("|", 2) for line in set(ours) ^ set(theirs))
    return {(serial, form_type) for serial, form_type, _ in different}


def our_forms(session: Session, keys: Collection[Key]) -> dict[Key, Ours]:
    """These forms as we have them, whoever holds them, and when each moved last."""
    moved = (
        select(FormEvent.at)
        .where(FormEvent.form_id == Form.id)
        .order_by(FormEvent.id.desc())
        .limit(1)
        .correlate(Form)
        .scalar_subquery()
    )
    found: dict[Key, Ours] = {}
    for chunk in chunks(sorted(keys), CHUNK):
        given = rows_table(session, {"serial": Serial, "form_type": String()}, chunk)
        for row in session.execute(
            select(
                Form.id,
                Form.serial,
                Form.form_type,
                Stock.owner,
                Form.state,
                Form.certificate,
                Form.lost_at.is_not(None),
                moved,
            )
            .join(given, (given.c.serial == Form.serial) & (given.c.form_type == Form.form_type))
            .join(Stock, Stock.id == Form.stock_id)
        ):
            ours = Ours(*row)
            found[ours.serial, ours.form_type] = ours
    return found


@dataclass(slots=True)
class Judgement:
    """What became of the forms that differ: differences, and what is none."""

    found: list[Found]
    moving: int = 0
    past: list[Listed] = field(default_factory=list)
    """Forms that we never had and that are final at customs: their certificates are used."""


def judge(
    holder: str,
    keys: Collection[Key],
    ours: Mapping[Key, Ours],
    theirs: Mapping[Key, Listed],
    settled_before: datetime,
) -> Judgement:
    """Class the forms that differ; consecutive ones that are alike become one difference.

    A form that either book moved after `settled_before` is still in motion: the next night sees it. One
    that another holder has here is looked at when that holder is.
    """
    judgement = Judgement([])
    for key in sorted(keys, key=lambda k: (k[1], k[0])):
        mine, its = ours.get(key), theirs.get(key)
        if mine is not None and mine.owner != holder:
            continue
        if mine is not None and _in_motion(mine, its, settled_before):
            judgement.moving += 1
            continue
        kind = classify(
            mine.state if mine else None,
            mine.certificate if mine else None,
            its.state if its else None,
            its.certificate if its else None,
            lost=mine is not None and mine.lost,
        )
        if kind is None:
            if mine is None and its is not None and its.state in FINAL_THERE:
                judgement.past.append(its)
            continue
        _add(judgement.found, _found(kind, key, mine, its))
    return judgement


def _in_motion(mine: Ours, its: Listed | None, settled_before: datetime) -> bool:
    """Either book has changed it too lately: the other one may not have heard of it yet."""
    if mine.moved_at > settled_before:
        return True
    if its is None or its.updated_at is None:
        return False
    try:
        return datetime.fromisoformat(its.updated_at) > settled_before
    except (ValueError, TypeError):  # no time of the contract: it says nothing
        return False


def _found(kind: DifferenceClass, key: Key, mine: Ours | None, listed: Listed | None) -> Found:
    serial, form_type = key
    return Found(
        kind,
        form_type,
        serial,
        serial,
        1,
        mine.state if mine else None,
        mine.certificate if mine else None,
        listed.state if listed else None,
        listed.certificate if listed else None,
        listed.issued_on if listed else None,
        mine.moved_at if mine else None,
    )


def _add(found: list[Found], new: Found) -> None:
    last = found[-1] if found else None
    if last is None or not last.alike(new):
        found.append(new)
        return
    last.last_serial = new.last_serial
    last.form_count += 1
    if new.since is not None and (last.since is None or new.since < last.since):
        last.since = new.since

"""Forms that people ask for (guide 二), page by page, however many there are.

Every page is answered from an index: forms of a serial or a certificate by theirs; forms that were used, by
state and handling, from `UsedForm`; everything else block by block, and only blocks that have such forms. What
is rare within a block is looked for among so many forms, and then the page is a short one with its cursor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from typing import Any, Final

from sqlalchemy import func, select, tuple_, union_all
from sqlalchemy.orm import Session

from models.reads.sight import Sight
from models.reads.tallies import amounts_of
from models.rules.errors import BadArgument
from models.rules.standings import Standing, state_of
from models.rules.states import USED_STATES, FormState
from models.rules.tallies import standing_key
from models.tables.bulk import CHUNK
from models.tables.certificates import Certificate
from models.tables.forms import Block, Form, Stock, UsedForm

LOOKED_THROUGH: Final = 10_000
"""Forms of blocks in which not all are wanted that one page looks through: a few milliseconds."""

_BLOCKS_TOGETHER: Final = 500


@dataclass(frozen=True, slots=True)
class FormFilter:
    """The guide's five filters (S-61) and ours; none given means the guide's default set (S-60)."""

    serial: str | None = None
    form_type: str | None = None
    certificate: str | None = None
    states: tuple[FormState, ...] = ()
    issued_from: date | None = None
    issued_to: date | None = None
    owner: str | None = None
    handling: str | None = None
    sight: Sight | None = None
    """What whoever asks may see."""

    @property
    def by_block(self) -> bool:
        """Whether it says something that all forms of a block have in common."""
        return any((self.form_type, self.issued_from, self.issued_to, self.owner, self.sight))


@dataclass(frozen=True, slots=True)
class FormPage:
    """Some forms, and where the next page begins; "" when this is the last."""

    forms: Sequence[dict[str, Any]]
    next: str


def list_forms(session: Session, wanted: FormFilter, limit: int, after: str = "") -> FormPage:
    """Forms in the order of their serials, those of a block together, at most `limit`.

    A page may be short, even empty, and still not be the last. Raises `BadArgument` for a cursor that is none.
    """
    if wanted == FormFilter(sight=wanted.sight):
        wanted = replace(wanted, states=USED_STATES, handling="self")
    if wanted.serial is not None or wanted.certificate is not None:
        return _named(session, wanted, limit, after)
    if wanted.states and set(wanted.states) <= set(USED_STATES) and not wanted.by_block:
        return _used(session, wanted, limit, after)
    return _block_by_block(session, wanted, limit, after)


def free_serials(
    session: Session, owner: str, form_type: str, count: int, sight: Sight | None = None
) -> list[str]:
    """The lowest available serials of a stock (S-43), at most `count`; those that are held are left out."""
    wanted = FormFilter(form_type=form_type, states=(FormState.ISSUED,), owner=owner, sight=sight)
    free: list[str] = []
    after = ""
    while len(free) < count:
        page = list_forms(session, wanted, CHUNK, after)
        free += [form["serial"] for form in page.forms if form["hold"] is None]
        after = page.next
        if not after:
            break
    return free[:count]


def _cursor(after: str, parts: int) -> list[str]:
    found = after.split(":")
    if len(found) != parts:
        raise BadArgument(detail=f"--after {after}")
    return found


def _number(text: str, after: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):  # noqa: PLR2004 - a 64-bit number
        raise BadArgument(detail=f"--after {after}")
    return int(text)


def _named(session: Session, wanted: FormFilter, limit: int, after: str) -> FormPage:
    query = _filtered(_shown(), wanted).order_by(Form.serial, Form.form_type).limit(limit)
    if after:
        query = query.where(tuple_(Form.serial, Form.form_type) > tuple(_cursor(after, 2)))
    forms = list(_rows(session, query))
    full = len(forms) == limit
    return FormPage(forms, f"{forms[-1]['serial']}:{forms[-1]['type']}" if full else "")


def _used(session: Session, wanted: FormFilter, limit: int, after: str) -> FormPage:
    """One walk along the index for each state and handling, merged."""
    u = UsedForm
    handlings = {"self": (True,), "agent": (False,)}.get(wanted.handling or "", (True, False))
    arms = []
    for state, self_handled in product(wanted.states, handlings):
        arm = select(u.serial, u.form_id).where(u.self_handled == self_handled, u.state == state)
        if after:
            serial, form_id = _cursor(after, 2)
            arm = arm.where(tuple_(u.serial, u.form_id) > (serial, _number(form_id, after)))
        arms.append(select(arm.order_by(u.serial, u.form_id).limit(limit).subquery()))
    together = union_all(*arms).subquery()
    first = select(together).order_by(together.c.serial, together.c.form_id).limit(limit).subquery()
    query = _shown().join(first, first.c.form_id == Form.id).order_by(Form.serial, Form.id)
    found = session.execute(query.add_columns(Form.id)).all()
    full = len(found) == limit
    return FormPage(
        [_as_shown(row) for row in found], f"{found[-1].serial}:{found[-1].id}" if full else ""
    )


def _block_by_block(session: Session, wanted: FormFilter, limit: int, after: str) -> FormPage:
    states = wanted.states or tuple(FormState)
    standings = [s for s in Standing if state_of(s) in states]
    forms: list[dict[str, Any]] = []
    left = LOOKED_THROUGH
    begin, serial = ("", 0), ""
    if after:
        first, block_id, serial = _cursor(after, 3)
        begin = (first, _number(block_id, after))
    for block, count in _blocks(session, wanted, standings, begin):
        here = "" if (block.first_serial, block.id) != begin else serial
        of_block = _filtered(_shown(), wanted).where(Form.block_id == block.id)
        all_of_it = count == block.form_count and wanted.handling is None and wanted.sight is None
        end = None if all_of_it else _far_end(session, block.id, here, left)
        query = of_block.where(Form.serial > here)
        if end is not None:
            query = query.where(Form.serial <= end)
        forms += _rows(session, query.order_by(Form.serial).limit(limit - len(forms)))
        place = f"{block.first_serial}:{block.id}:"
        if len(forms) == limit:
            return FormPage(forms, place + forms[-1]["serial"])
        if end is not None:
            return FormPage(forms, place + end)
        if not all_of_it:
            rest = select(func.count()).where(Form.block_id == block.id, Form.serial > here)
            left -= session.scalar(rest) or 0  # fewer than were left: something remains
    return FormPage(forms, "")


def _far_end(session: Session, block_id: int, after: str, count: int) -> str | None:
    """The serial so many forms behind `after` in a block; None when the block has fewer."""
    return session.scalar(
        select(Form.serial)
        .where(Form.block_id == block_id, Form.serial > after)
        .order_by(Form.serial)
        .offset(count - 1)
        .limit(1)
    )


def _blocks(
    session: Session, wanted: FormFilter, standings: Sequence[Standing], begin: tuple[str, int]
) -> Iterator[tuple[Any, int]]:
    """The blocks from one on that have forms which stand so, with how many."""
    query = (
        select(Block.id, Block.stock_id, Block.first_serial, Block.last_serial, Block.form_count)
        .join(Stock, Stock.id == Block.stock_id)
        .order_by(Block.first_serial, Block.id)
        .limit(_BLOCKS_TOGETHER)
    )
    if wanted.form_type is not None:
        query = query.where(Stock.form_type == wanted.form_type)
    if wanted.owner is not None:
        query = query.where(Stock.owner == wanted.owner)
    if wanted.sight is not None:
        query = query.where(Stock.owner.in_(wanted.sight.owners))
    if wanted.issued_from is not None:
        query = query.where(Block.issued_on >= wanted.issued_from)
    if wanted.issued_to is not None:
        query = query.where(Block.issued_on <= wanted.issued_to)
    place = tuple_(Block.first_serial, Block.id)
    some = session.execute(query.where(place >= begin)).all()
    while some:
        keys = {
            b.id: [standing_key(b.stock_id, b.id, standing) for standing in standings] for b in some
        }
        counts = amounts_of(session, [key for of_one in keys.values() for key in of_one])
        for block in some:
            count = sum(counts.get(key, 0) for key in keys[block.id])
            if count:
                yield block, count
        last = (some[-1].first_serial, some[-1].id)
        some = session.execute(query.where(place > last)).all()


def _shown() -> Any:
    return (
        select(
            Form.serial,
            Form.form_type,
            Form.state,
            Form.certificate,
            Form.hold,
            Stock.owner,
            Block.issued_on,
        )
        .join(Stock, Stock.id == Form.stock_id)
        .join(Block, Block.id == Form.block_id)
    )


def _filtered(query: Any, wanted: FormFilter) -> Any:
    if wanted.serial is not None:
        query = query.where(Form.serial == wanted.serial)
    if wanted.form_type is not None:
        query = query.where(Form.form_type == wanted.form_type)
    if wanted.certificate is not None:
        query = query.where(Form.certificate == wanted.certificate)
    if wanted.states:
        query = query.where(Form.state.in_(wanted.states))
    if wanted.issued_from is not None:
        query = query.where(Block.issued_on >= wanted.issued_from)
    if wanted.issued_to is not None:
        query = query.where(Block.issued_on <= wanted.issued_to)
    if wanted.owner is not None:
        query = query.where(Stock.owner == wanted.owner)
    if wanted.sight is not None:
        query = query.where(wanted.sight.forms)
    if wanted.handling is not None:
        self_handled = Certificate.exporter == Certificate.agent
        query = query.join(Certificate, Certificate.number == Form.certificate)
        query = query.where(self_handled if wanted.handling == "self" else ~self_handled)
    return query


def _rows(session: Session, query: Any) -> Iterator[dict[str, Any]]:
    return (_as_shown(row) for row in session.execute(query.execution_options(yield_per=CHUNK)))


def _as_shown(row: Any) -> dict[str, Any]:
    return {
        "serial": row.serial,
        "type": row.form_type,
        "state": row.state.value,
        "certificate": row.certificate,
        "owner": row.owner,
        "issued_on": row.issued_on.isoformat() if row.issued_on else None,
        "hold": row.hold,
    }

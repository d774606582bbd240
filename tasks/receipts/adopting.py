"""Stage 5c, adopt: what customs' own list says of a form, where no receipt says it.

A form is adopted only when it is listed in the state we want, for the certificate we sent; whatever
else is listed is left to a person. A second run finds the item decided and does nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from config.names import Task
from customs.gateway import CustomsForm
from models.reads.customs_list import Key
from models.reads.deployment import require_identity
from models.rules.causes import DiscrepancyKind, OwnCode, of_customs
from models.rules.errors import AnotherDeployment, GatewayUnreachable, ListRefused
from models.rules.retries import wait_after
from models.rules.states import AT_CUSTOMS, FormState, ItemState
from models.rules.verdicts import WANTED_STATE, CustomsState, Verdict
from models.tables.batches import Item
from models.tables.bulk import ids_table
from models.tables.discrepancies import Discrepancy
from models.tables.forms import Form, Stock
from models.tables.inbox import MAY_BE_ASKED, ReceiptLine
from models.tables.submissions import Submission
from models.writes.batches import report_anew
from models.writes.holds import lock_stocks_of, release_forms
from tasks.app import app
from tasks.context import Context, current
from tasks.lists import form_pages
from tasks.receipts.decisions import (
    CONTRADICTED_HOLD,
    DecidedItem,
    Outcome,
    Sent,
    discrepancy,
    load_sent,
    write_decisions,
)

log = structlog.get_logger(__name__)

ASKED_TOGETHER: Final = 500
"""Lines that one walk through a holder's list may settle."""

WALK: Final = timedelta(minutes=15)
"""How long a line is left to whoever reads the list for it: a list of millions takes minutes."""

_ADOPTED: Final = "已按海关清单采纳"
_STATE_DIFFERS: Final = "空白证单状态不符"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A line of a receipt that customs' list has to settle."""

    id: int
    item_id: int
    form_id: int
    serial: str
    form_type: str
    owner: str
    ask_count: int
    verdict: str
    code: str
    """Of customs, for the receipt that left it open."""

    @property
    def form(self) -> Key:
        """Where it stands in the list."""
        return (self.serial, self.form_type)


def adopt(context: Context) -> int:
    """Let customs' list settle what receipts leave open; gives how many lines were settled.

    A form that customs says is where we want it: adopted if for our certificate (contract section 3). A contradiction:
    the form that is final with us stays so, another is adopted or released, by what the list says. A
    holder whose list is not given waits, longer each time; the others go on.
    """
    with context.database.write() as session:
        require_identity(session, context.identity)
        lines = _claim_lines(session, context.now())
    finished: set[int] = set()
    settled = 0
    for owner in sorted({line.owner for line in lines}):
        of_owner = [line for line in lines if line.owner == owner]
        try:
            listed = _listed(context, owner, {line.form for line in of_owner})
        except GatewayUnreachable as error:
            log.warning("adopt_failed", holder=owner, detail=str(error.values.get("detail")))
            with context.database.write() as session:
                _ask_again(session, of_owner, context.now())
            continue
        with context.database.write() as session:
            finished |= _Settlement(session, context, of_owner).settle(listed)
        settled += len(of_owner)
    for batch_id in sorted(finished):
        context.ring(Task.REPORT, batch_id)
    return settled


def _claim_lines(session: Session, now: datetime) -> list[_Asked]:
    """The lines that are due, each left to this process for as long as a list may take."""
    found = session.execute(
        select(
            ReceiptLine.id,
            ReceiptLine.item_id,
            Form.id,
            Form.serial,
            Form.form_type,
            Stock.owner,
            ReceiptLine.ask_count + 1,
            ReceiptLine.verdict,
            ReceiptLine.rep_code,
        )
        .join(Form, Form.id == ReceiptLine.form_id)
        .join(Stock, Stock.id == Form.stock_id)
        .where(MAY_BE_ASKED, ReceiptLine.ask_at <= now)
        .order_by(ReceiptLine.ask_at, ReceiptLine.id)
        .limit(ASKED_TOGETHER)
    ).all()
    lines = [_Asked(*row) for row in found]
    given = ids_table(session, [line.id for line in lines])
    session.execute(
        update(ReceiptLine)
        .where(ReceiptLine.id.in_(select(given.c.id)))
        .values(ask_at=now + WALK, ask_count=ReceiptLine.ask_count + 1)
    )
    return lines


def _ask_again(session: Session, lines: Sequence[_Asked], now: datetime) -> None:
    """Customs has not answered: after a while, longer each time."""
    by_wait: dict[timedelta, list[int]] = defaultdict(list)
    for line in lines:
        by_wait[wait_after(line.ask_count)].append(line.id)
    for wait, ids in by_wait.items():
        given = ids_table(session, ids)
        session.execute(
            update(ReceiptLine)
            .where(ReceiptLine.id.in_(select(given.c.id)))
            .values(ask_at=now + wait)
        )


def _listed(context: Context, holder: str, forms: AbstractSet[Key]) -> dict[Key, CustomsForm]:
    """These forms as customs lists them; one that is not listed is left out.

    Cursors are customs' own, so its list is read from the beginning, up to the last of them.
    """
    found: dict[Key, CustomsForm] = {}
    last = max(forms)
    for page in form_pages(context, holder):
        found |= {
            (f.serial, f.form_type): f for f in page.forms if (f.serial, f.form_type) in forms
        }
        if unclear := forms & {a.form for a in page.aside}:
            raise ListRefused(detail=f"/forms {holder}: {sorted(unclear)}")
        if page.forms and (page.forms[-1].serial, page.forms[-1].form_type) >= last:
            break
    return found


@dataclass(frozen=True, slots=True)
class ListedFinal:
    """A form of a held item as customs' list has it: verified or voided, for ever."""

    number: str
    serial: str
    state: str
    certificate: str | None


def adopt_listed(context: Context, listed: Sequence[ListedFinal]) -> set[ListedFinal]:
    """Decide items whose forms customs lists as we want them; gives those adopted.

    For what lags behind: the receipt is not to be had, and customs' list says the same. A form that is
    listed otherwise, or was decided meanwhile, is left as it is.
    """
    adopted: set[ListedFinal] = set()
    if not listed:
        return adopted
    with context.database.write() as session:
        messages = load_sent(session, {one.number for one in listed})
        for one in listed:
            sent = messages.get(one.number)
            item = sent.items.get(one.serial) if sent else None
            if sent is None or item is None or item.state is not ItemState.UNDER_WAY:
                continue
            if sent.state not in AT_CUSTOMS or one.state != WANTED_STATE[item.action]:
                continue
            if one.certificate != sent.certificate:
                continue
            item.state, item.changed, sent.touched = ItemState.DECIDED, True, True
            item.rep_code, item.rep_text, item.outside = OwnCode.ADOPTED.value, _ADOPTED, True
            adopted.add(one)
        finished = write_decisions(session, context, messages, Outcome())
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    return adopted


class _Settlement:
    """Lines of one holder, settled together by what customs lists, in one transaction."""

    def __init__(self, session: Session, context: Context, lines: Sequence[_Asked]) -> None:
        self._session, self._context, self._lines = session, context, lines
        given = ids_table(session, [line.item_id for line in lines])
        self._numbers = dict(
            session.execute(
                select(Item.id, Submission.number)
                .join(given, given.c.id == Item.id)
                .join(Submission, Submission.id == Item.submission_id)
            ).all()
        )
        self._sent = load_sent(session, set(self._numbers.values()))
        form_ids = [line.form_id for line in lines]
        lock_stocks_of(session, form_ids)
        forms = ids_table(session, form_ids)
        self._states = dict(
            session.execute(select(Form.id, Form.state).join(forms, forms.c.id == Form.id)).all()
        )
        self._outcome = Outcome()
        self._agreed: list[int] = []
        """Forms about which customs' list has ended the contradiction."""
        self._unlisted: list[int] = []
        self._reopened: set[int] = set()

    def settle(self, listed: Mapping[Key, CustomsForm]) -> set[int]:
        """Settle all; gives the batches to report anew."""
        for line in self._lines:
            sent = self._sent.get(self._numbers.get(line.item_id, ""))
            item = sent.items.get(line.serial) if sent else None
            if sent is not None and item is not None and item.id == line.item_id:
                self._one(line, sent, item, listed.get(line.form))
        session = self._session
        asked = ids_table(session, [line.id for line in self._lines])
        session.execute(
            update(ReceiptLine).where(ReceiptLine.id.in_(select(asked.c.id))).values(ask_at=None)
        )
        self._end_contradictions()
        self._leave_to_a_person()
        finished = set(write_decisions(session, self._context, self._sent, self._outcome))
        report_anew(session, self._reopened)
        return finished | self._reopened

    def _one(self, line: _Asked, sent: Sent, item: DecidedItem, listed: CustomsForm | None) -> None:
        ours = listed is not None and (listed.certificate, listed.state) == (
            sent.certificate,
            WANTED_STATE[item.action],
        )
        if item.state is ItemState.UNDER_WAY:
            if listed is None:
                self._unlisted.append(item.id)
                self._raise(line, item, "not in customs' list")
            else:
                self._decide(line, sent, item, listed, adopted=ours)
        elif line.verdict != Verdict.CONTRADICTION:
            return  # a receipt decided it while customs was asked
        elif item.state is ItemState.DECIDED:
            if ours:
                self._agreed.append(item.form_id)
        elif ours and self._states[item.form_id] is FormState.ISSUED:
            self._adopt_after_all(sent, item)
        elif listed is not None and listed.state in _UNUSED_THERE:
            self._agreed.append(item.form_id)
        # else: on hold, and a person's matter

    def _raise(self, line: _Asked, item: DecidedItem, what: str) -> None:
        kind, text = of_customs(line.code), f"{line.code}, {what}"
        self._outcome.discrepancies.append(discrepancy(self._context, kind, None, item, text))

    def _decide(
        self,
        line: _Asked,
        sent: Sent,
        item: DecidedItem,
        listed: CustomsForm,
        *,
        adopted: bool,
    ) -> None:
        """The form is where we want it, for our certificate, or the order is refused."""
        item.state = ItemState.DECIDED if adopted else ItemState.REFUSED
        item.rep_code, item.rep_text = line.code, _ADOPTED if adopted else _STATE_DIFFERS
        item.hold, item.outside, item.changed, sent.touched = not adopted, adopted, True, True
        if not adopted:
            self._raise(line, item, f"customs: {listed}")

    def _adopt_after_all(self, sent: Sent, item: DecidedItem) -> None:
        """Customs did what we had given up."""
        self._agreed.append(item.form_id)
        item.state, item.rep_code, item.rep_text = (
            ItemState.DECIDED,
            OwnCode.ADOPTED.value,
            _ADOPTED,
        )
        item.given_back, item.outside, item.changed, sent.touched = True, True, True, True
        self._reopened.add(sent.batch_id)

    def _end_contradictions(self) -> None:
        """The holds for a contradiction end, and no others; what they raised is closed."""
        session, now = self._session, self._context.now()
        given = select(ids_table(session, self._agreed).c.id)
        held = select(Form.id).where(Form.id.in_(given), Form.hold == CONTRADICTED_HOLD)
        release_forms(session, session.scalars(held).all(), now, "海关清单已确认")
        session.execute(
            update(Discrepancy)
            .where(
                Discrepancy.form_id.in_(given),
                Discrepancy.kind == DiscrepancyKind.CONTRADICTION.value,
                Discrepancy.closed_at.is_(None),
            )
            .values(closed_at=now, closed_by="customs", closed_reason="list")
        )

    def _leave_to_a_person(self) -> None:
        """Customs says the forms are done and does not list them: nothing is concluded."""
        given = select(ids_table(self._session, self._unlisted).c.id)
        self._session.execute(
            update(ReceiptLine)
            .where(ReceiptLine.item_id.in_(given), ReceiptLine.open)
            .values(verdict=Verdict.UNKNOWN.value)
        )


_UNUSED_THERE: Final = frozenset({CustomsState.NOT_ISSUED, CustomsState.ISSUED})


@app.task(name=Task.ADOPT.value)
def adopt_task() -> None:
    """Customs says a form is where we want it already."""
    try:
        adopt(current())
    except AnotherDeployment as refusal:
        log.warning("adopt_waits", code=refusal.code, detail=str(refusal))

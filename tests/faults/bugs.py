"""Bugs that the campaign must catch: each takes one of the product's guards away, in a trial's children."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select, text

from config.crash import Point, crash_point
from customs import http
from customs.gateway import InDoubt, NotTaken, SignedMessage
from models import page_planner
from models.plan import AvailableForm
from models.states import ItemState
from models.stock import Form, Stock
from tasks import allocation, asking, inbox, journal, pipeline, receipts, sending


@dataclass(frozen=True)
class Bug:
    """A guard taken away, and the faults under which that must show."""

    plant: Callable[[], None]
    faults: tuple[str, ...]


def _no_index_and_no_lock() -> None:
    confirm = allocation.confirm

    def without(context, batch_id, said):
        with context.database.write() as session:
            session.execute(text("DROP INDEX IF EXISTS ux_item_held_form"))
        confirm(context, batch_id, said)

    allocation.confirm = without
    allocation._lock_stocks = lambda session, batch_id: None
    moved = allocation.move_forms

    def anything(session, moves, *rest):
        moved(session, moves, *rest)
        return {m.form_id for m in moves}

    allocation.move_forms = anything


def _intent_after_send() -> None:
    original = sending._claim

    def claim(context, limit):
        claimed = original(context, limit)
        with context.database.write() as session:
            for one in claimed:
                session.execute(
                    text("UPDATE submission SET state = 'signed' WHERE id = :i"), {"i": one.id}
                )
        crash_point(Point.INTENT_COMMITTED)
        return claimed

    sending._claim = claim


def _new_number_on_a_resend() -> None:
    claim = sending._claim

    def renumbered(context, limit):
        made = []
        for one in claim(context, limit):
            if one.send_count > 1:
                with context.database.write() as session:
                    number = uuid.uuid4().hex.upper()
                    session.execute(
                        text("UPDATE submission SET number = :n, payload = NULL, signed_at = NULL,"
                             " payload_sha256 = NULL, state = 'prepared' WHERE id = :i"),
                        {"n": number, "i": one.id},
                    )  # fmt: skip
            else:
                made.append(one)
        return made

    sending._claim = renumbered


def _resend_without_asking() -> None:
    http.InDoubt = NotTaken


def _nobody_asks_about_lost_sendings() -> None:
    pipeline.AT_ALL = tuple(
        s for s in pipeline.AT_ALL if s.since is not pipeline.Submission.lease_until
    )


def _receipts_may_overwrite_final_states() -> None:
    receipts._strange = lambda receipt, sent: "" if sent else "unmatched"
    original = receipts._judge

    def judge(context, inbox_id, receipt, sent, outcome):
        for item in sent.items.values() if sent else ():
            if item.state is not ItemState.HELD:
                item.state = ItemState.HELD
        original(context, inbox_id, receipt, sent, outcome)

    receipts._judge = judge


def _serials_are_computed() -> None:
    def available(session, batch_id, owner, form_type):
        for form in session.execute(
            select(Form.id, Form.serial)
            .join(Stock, Stock.id == Form.stock_id)
            .where(Stock.owner == owner, Form.form_type == form_type)
            .order_by(Form.serial.desc())
        ).all():
            yield AvailableForm(form.id, form.serial)

    page_planner._available_forms = available


def _bytes_rebuilt_on_a_resend() -> None:
    claim = sending._claim

    def rebuilt(context, limit):
        return [
            dataclasses.replace(
                one,
                message=SignedMessage(
                    one.message.number, one.message.payload + b"\n", one.message.sha256
                ),
            )
            if one.send_count > 1
            else one
            for one in claim(context, limit)
        ]

    sending._claim = rebuilt


def _no_inbox_uniqueness() -> None:
    original = inbox.receipt_arrival

    def arrival(receipt_id, xml, source):
        made = original(receipt_id, xml, source)
        return dataclasses.replace(made, key=f"{made.key[:280]}:{uuid.uuid4().hex}")

    inbox.receipt_arrival = arrival


def _transport_retries() -> None:
    original = http.HttpGateway._send

    async def twice(self, message, start_before):
        outcome = await original(self, message, start_before)
        if isinstance(outcome, InDoubt):
            return await original(self, message, start_before)
        return outcome

    http.HttpGateway._send = twice


def _an_early_not_found_is_believed() -> None:
    original = asking._claim_doubts

    def believed(context, certificate):
        return [
            dataclasses.replace(d, conclusive_at=d.asked_at) for d in original(context, certificate)
        ]

    asking._claim_doubts = believed


def _a_restored_database_is_not_noticed() -> None:
    journal.Journal.behind = lambda self, session: False


BUGS = {
    "no unique index on live items, no lock": Bug(_no_index_and_no_lock, ("contend",)),
    "intent after send": Bug(_intent_after_send, ("crash:request_written", "crash:answer_read")),
    "new number on a resend": Bug(_new_number_on_a_resend, ("gateway:error_before",)),
    "resend without asking": Bug(_resend_without_asking, ("gateway:lost_and_silent",)),
    "no sweep of lost sendings": Bug(
        _nobody_asks_about_lost_sendings, ("crash:intent_committed", "crash:request_written")
    ),
    "a receipt may overwrite a final state": Bug(
        _receipts_may_overwrite_final_states, ("gateway:receipt_contradictory",)
    ),
    "max(serial) instead of what is free": Bug(_serials_are_computed, ("calm",)),
    "bytes rebuilt on a resend": Bug(_bytes_rebuilt_on_a_resend, ("gateway:error_before",)),
    "no inbox uniqueness": Bug(_no_inbox_uniqueness, ("gateway:receipt_twice",)),
    "transport retries on": Bug(_transport_retries, ("gateway:answer_lost", "gateway:error_after")),
    "a restored database is not noticed": Bug(_a_restored_database_is_not_noticed, ("restored",)),
    "an early not-found is believed": Bug(_an_early_not_found_is_believed, ("gateway:very_late",)),
}

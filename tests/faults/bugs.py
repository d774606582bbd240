"""Bugs that the campaign must catch: each takes one of the product's guards away, in a trial's children."""

from __future__ import annotations

import dataclasses
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import ANY

from sqlalchemy import func, insert, select, text

from customs import http, records
from customs.gateway import InDoubt, NotTaken, SignedMessage
from customs.profile import bcm1, bcm1_xml
from customs.signing import certificates
from models.rules.card_errors import CardExpired, CardOfAnother
from models.rules.states import FormState, ItemState
from models.tables.forms import Form
from models.tables.submissions import Attempt, Submission
from models.writes import page_counts
from tasks import journal, pipeline
from tasks.messages import asking, sending
from tasks.orders import intake, reserving
from tasks.receipts import applying, inbox


@dataclass(frozen=True)
class Bug:
    """A guard taken away, the faults under which that must show, and what the referee says then."""

    plant: Callable[[], None]
    faults: tuple[str, ...]
    finding: str
    """A regular expression that one of the findings begins with."""


def _no_index_and_no_lock() -> None:
    """Three guards of which each would do: nothing shows while one is left."""
    receive = intake.receive_sheet

    def without(context, *sheet):
        with context.database.write() as session:
            session.execute(text("DROP INDEX IF EXISTS ux_item_under_way_form"))
        return receive(context, *sheet)

    intake.receive_sheet = without
    reserving._lock_stocks = lambda session, batch_id: None
    moved = reserving.move_forms

    def anything(session, moves, *rest):
        moved(session, moves, *rest)
        return {m.form_id for m in moves}

    reserving.move_forms = anything


def _intent_after_send() -> None:
    """The database does not say that a message is being sent before it has been."""
    claim, record, in_memory = sending._claim, sending._record_sent, {}

    def without_a_trace(context, limit):
        if in_memory:
            return []
        claimed = claim(context, limit)
        in_memory.update({one.id: one for one in claimed})
        with context.database.write() as session:
            for one in claimed:
                where = {"i": one.id, "n": one.send_count}
                session.execute(
                    text(
                        "DELETE FROM attempt WHERE submission_id = :i AND kind = 'send' AND number = :n"
                    ),
                    where,
                )
                session.execute(text("UPDATE submission SET state = 'signed', send_count = send_count - 1,"
                                     " lease_until = NULL WHERE id = :i"), where)  # fmt: skip
        return claimed

    def afterwards(context, ended):
        with context.database.write() as session:
            for one, _ in ended:
                in_memory.pop(one.id)
                where = {"i": one.id, "n": one.send_count, "sha": one.message.sha256}
                session.execute(text("UPDATE submission SET state = 'sending', send_count = :n"
                                     " WHERE id = :i AND state = 'signed'"), where)  # fmt: skip
                session.execute(
                    insert(Attempt).values(
                        submission_id=one.id, kind="send", number=one.send_count,
                        payload_sha256=one.message.sha256, started_at=context.now(),
                        deadline_at=context.now(),
                    )
                )  # fmt: skip
        return record(context, ended)

    sending._claim, sending._record_sent = without_a_trace, afterwards
    journal.Journal.behind = lambda self, session: False  # it would notice


def _new_number_on_a_resend() -> None:
    claim = sending._claim

    def renumbered(context, limit):
        made = []
        for one in claim(context, limit):
            if one.send_count > 1:
                with context.database.write() as session:
                    number = uuid.uuid4().hex.upper()
                    given = {"n": number, "i": one.id}
                    # by moves that exist: it is the number that is to be noticed
                    session.execute(
                        text("UPDATE submission SET state = 'in_doubt' WHERE id = :i"), given
                    )
                    session.execute(
                        text("UPDATE submission SET number = :n, payload = NULL, signed_at = NULL,"
                             " payload_sha256 = NULL, lease_until = NULL, state = 'prepared' WHERE id = :i"),
                        given,
                    )  # fmt: skip
            else:
                made.append(one)
        return made

    sending._claim = renumbered


def _a_second_message_for_the_same_forms() -> None:
    """What comes back as not taken is written anew, beside the first message."""
    claim = sending._claim
    copied = ", ".join(
        c.name for c in Submission.__table__.columns
        if c.name not in {"id", "number", "state", "payload", "payload_sha256", "signed_at", "send_count",
                          "lease_until"}
    )  # fmt: skip

    def doubled(context, limit):
        made = []
        for one in claim(context, limit):
            if one.send_count == 1:
                made.append(one)
                continue
            with context.database.write() as session:
                number = uuid.uuid4().hex.upper()
                where = {"n": number, "i": one.id}
                session.execute(text(f"INSERT INTO submission ({copied}, number, state, send_count)"
                                     f" SELECT {copied}, :n, 'prepared', 0 FROM submission WHERE id = :i"), where)  # fmt: skip
                session.execute(text("UPDATE item SET submission_id ="
                                     " (SELECT id FROM submission WHERE number = :n)"
                                     " WHERE submission_id = :i"), where)  # fmt: skip
                session.execute(text("DELETE FROM used_form WHERE form_id IN (SELECT form_id FROM item"
                                     " WHERE submission_id = (SELECT id FROM submission WHERE number = :n))"), where)  # fmt: skip
                session.execute(
                    text("UPDATE form SET state = 'reserved' WHERE state IN ('verify_submitted',"
                         " 'void_submitted') AND id IN (SELECT form_id FROM item WHERE submission_id ="
                         " (SELECT id FROM submission WHERE number = :n))"), where)  # fmt: skip
        return made

    sending._claim = doubled
    http.InDoubt = bcm1.InDoubt = NotTaken


def _resend_without_asking() -> None:
    http.InDoubt = bcm1.InDoubt = NotTaken


def _nobody_asks_about_lost_sendings() -> None:
    pipeline.AT_ALL = tuple(
        s for s in pipeline.AT_ALL if s.since is not pipeline.Submission.lease_until
    )


def _receipts_may_overwrite_final_states() -> None:
    applying._strange = lambda context, receipt, sent: "" if sent else "unmatched"
    original = applying._judge

    def judge(context, inbox_id, receipt, sent, outcome):
        for item in sent.items.values() if sent else ():
            if item.state is not ItemState.UNDER_WAY:
                item.state = ItemState.UNDER_WAY
        original(context, inbox_id, receipt, sent, outcome)

    applying._judge = judge


def _serials_are_computed() -> None:
    """The next serial is the one after the highest that was used."""
    original = page_counts._available_forms

    def available(steps, *stock):
        used = select(func.max(Form.serial)).where(Form.state != FormState.ISSUED)
        with steps.read() as session:
            highest = session.scalar(used) or ""
        return (form for form in original(steps, *stock) if form.serial > highest)

    page_counts._available_forms = available


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

    def arrival(receipt_id, xml, source, callback_id=None):
        made = original(receipt_id, xml, source, callback_id)
        return dataclasses.replace(made, key=f"{made.key[:280]}:{uuid.uuid4().hex}")

    inbox.receipt_arrival = arrival
    # the other guard, of which each would do
    applying._first_of_their_id = lambda session, ids: defaultdict(lambda: ANY)


def _transport_retries() -> None:
    original = http.HttpGateway._send

    async def twice(self, message, start_before, closings):
        outcome = await original(self, message, start_before, closings)
        if isinstance(outcome, InDoubt):
            return await original(self, message, start_before, closings)
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


def _the_end_of_a_certificate_is_not_looked_at() -> None:
    fault = certificates.fault_of

    def without(der, enterprise, now):
        found = fault(der, enterprise, now)
        return None if isinstance(found, CardExpired) else found

    certificates.fault_of = without


def _whose_card_it_is_is_not_looked_at() -> None:
    fault = certificates.fault_of

    def without(der, enterprise, now):
        found = fault(der, enterprise, now)
        return None if isinstance(found, CardOfAnother) else found

    certificates.fault_of = without


def _records_are_not_examined() -> None:
    records._wrong_in_form = records._wrong_in_certificate = lambda record: ""


def _a_receipt_that_disagrees_is_believed() -> None:
    bcm1_xml.result_fits = lambda result, codes: True


def _contradictions_are_not_noticed() -> None:
    applying.contradicts = lambda decision, item, code: False


BUGS = {
    "records of lists are not examined": Bug(
        _records_are_not_examined, ("poisoned lists",), "AssertionError: night ended with"
    ),
    "a receipt that disagrees with itself is believed": Bug(
        _a_receipt_that_disagrees_is_believed,
        ("gateway:receipt_disagrees",),
        "form .* is final here, without effect at customs",
    ),
    "contradictions are not noticed": Bug(
        _contradictions_are_not_noticed,
        ("gateway:receipt_contradictory",),
        "nothing was raised about",
    ),
    "no index, lock or test on live items": Bug(
        _no_index_and_no_lock, ("contend",), "invariant|asked of customs twice"
    ),
    "intent after send": Bug(
        _intent_after_send,
        ("crash:request_written", "crash:answer_read"),
        "sent again although customs had taken it",
    ),
    "new number on a resend": Bug(
        _new_number_on_a_resend,
        ("gateway:error_before",),
        "messages that the database does not know",
    ),
    "a second message for the same forms": Bug(
        _a_second_message_for_the_same_forms, ("gateway:lost_and_silent",), "asked of customs twice"
    ),
    "resend without asking": Bug(
        _resend_without_asking,
        ("gateway:lost_and_silent",),
        "sent again although customs had taken it",
    ),
    "no sweep of lost sendings": Bug(
        _nobody_asks_about_lost_sendings,
        ("crash:intent_committed", "crash:request_written"),
        "did not come to rest",
    ),
    "a receipt may overwrite a final state": Bug(
        _receipts_may_overwrite_final_states,
        ("gateway:receipt_contradictory",),
        r"invariant 7 |form .* at customs, ",
    ),
    "max(serial) instead of what is free": Bug(
        _serials_are_computed, ("contend",), r"\(.B.* ordered, "
    ),
    "bytes rebuilt on a resend": Bug(
        _bytes_rebuilt_on_a_resend, ("gateway:error_before",), "customs has other bytes under"
    ),
    "no inbox uniqueness": Bug(
        _no_inbox_uniqueness, ("gateway:receipt_twice",), r"\d+ receipts were applied twice"
    ),
    "transport retries on": Bug(
        _transport_retries, ("gateway:answer_lost", "gateway:error_after"), "sent again although"
    ),
    "a restored database is not noticed": Bug(
        _a_restored_database_is_not_noticed,
        ("restored",),
        "clerks were told .* not that it was restored",
    ),
    "the end of a certificate is not looked at": Bug(
        _the_end_of_a_certificate_is_not_looked_at,
        ("card expired",),
        r"\d+ messages were signed with a card that is not fit",
    ),
    "whose card it is is not looked at": Bug(
        _whose_card_it_is_is_not_looked_at,
        ("card of another enterprise",),
        r"\d+ messages were signed with a card that is not fit",
    ),
    "an early not-found is believed": Bug(
        _an_early_not_found_is_believed,
        ("gateway:very_late",),
        "sent again although customs had taken it",
    ),
}

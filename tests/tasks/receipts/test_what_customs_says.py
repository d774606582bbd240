"""What customs says is taken with care: records, receipts, contradictions, what comes too late."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import func, select

from customs.gateway import CustomsCertificate, CustomsForm
from customs.profile.bcm1 import Bcm1
from models.reads.invariants import broken_invariants
from models.rules.differences import DifferenceClass
from models.rules.errors import GatewayUnreachable
from models.rules.serials import serials_between
from models.rules.states import FormState, ItemState, RunState, SubmissionState
from models.rules.verdicts import CustomsState, Verdict
from models.tables.batches import Item
from models.tables.certificates import Certificate
from models.tables.discrepancies import Discrepancy
from models.tables.forms import Form
from models.tables.inbox import InboxMessage, ReceiptLine
from models.tables.reconciliation import Difference, Run
from models.tables.submissions import Submission
from tasks.messages import asking, preparing, sending, signing
from tasks.night import reconciliation
from tasks.orders import releasing
from tasks.receipts import adopting, applying, inbox
from tasks.stock import imports
from tests.support.factories import (
    AGENT_HANDLED,
    EXPORTER,
    SAMPLE_RANGES,
    SENDER,
    bring_in,
    confirm,
    issued,
    receipt_xml,
    upload,
)
from tests.support.looking import results

VERIFY = "核销"
ONE, TWO = "211014001", "211014002"
DONE, REFUSED, BY_A_PERSON = ("0000", "2"), ("2104", "1"), ("4001", "1")


class Gateway:
    """The real one, with some of its answers replaced."""

    def __init__(self, real, **answers):
        self._real = real
        self.__dict__.update(answers)

    def __getattr__(self, name):
        return getattr(self._real, name)


def replace_answers(world, **answers):
    world.context.__dict__["gateway"] = Gateway(world.context.gateway, **answers)


def sent(world, serials=ONE, row=None):
    """One message at customs, not decided; gives the batch, its number and customs' own."""
    batch_id = upload(world, [row or (AGENT_HANDLED, VERIFY, serials)], name=f"{serials}.csv")
    confirm(world, batch_id)
    preparing.prepare(world.context, batch_id)
    signing.sign(world.context)
    sending.send(world.context)
    with world.context.database.read() as session:
        message = session.scalars(select(Submission).where(Submission.batch_id == batch_id)).one()
        return batch_id, message.number, message.seq_no or "2" * 18


def told(world, *xmls, name="R"):
    arrivals = [
        inbox.receipt_arrival(f"{name}{n}", xml, "poll") for n, xml in enumerate(xmls, start=1)
    ]
    with world.context.database.write() as session:
        inbox.store(session, arrivals, world.clock())
    while applying.apply(world.context):
        pass


def form(world, serial):
    with world.context.database.read() as session:
        return session.scalars(
            select(Form).where(Form.serial == serial, Form.form_type == "B")
        ).one()


def raised(world, kind):
    """(detail, closed or not) of what was raised."""
    with world.context.database.read() as session:
        found = session.scalars(
            select(Discrepancy).where(Discrepancy.kind == kind).order_by(Discrepancy.id)
        )
        return [(d.detail, d.closed_at is not None) for d in found]


def inbox_states(world):
    with world.context.database.read() as session:
        return [m.state for m in session.scalars(select(InboxMessage).order_by(InboxMessage.id))]


def sound(world):
    with world.context.database.read() as session:
        assert broken_invariants(session) == {}


# -- records of lists ---------------------------------------------------------------------------

GOOD = CustomsCertificate("B201026902331999", "B", EXPORTER, SENDER, None, 2, "approved")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"number": "B" * 40}, "certNo"),
        ({"number": None}, "certNo"),
        ({"type": None}, "certType"),
        ({"type": "A"}, "certType"),
        ({"agent": None}, "aplRegNo"),
        ({"exporter": "X" * 19}, "ciqRegNo"),
        ({"approved_on": "yesterday"}, "approvedOn"),
        ({"pages": "2页"}, "pages"),
        ({"pages": True}, "pages"),
        ({"pages": 2**70}, "pages"),
        ({"status": None}, "status"),
        ({"status": "revoked because of something long"}, "status"),
    ],
)
def test_a_bad_certificate_is_set_aside_and_the_others_are_used(world, change, field):
    bring_in(world)
    bad = CustomsCertificate(
        **(
            {f: getattr(GOOD, f) for f in GOOD.__dataclass_fields__}
            | {"number": "B201026902331998"}
            | change
        )
    )
    replace_answers(world, certificates=lambda *_: ([bad, GOOD], None))
    for _ in range(2):
        imports.sync_certificates(world.context, [SENDER])
    with world.context.database.read() as session:
        assert session.get(Certificate, GOOD.number) is not None
        assert session.get(Certificate, "B201026902331998") is None
    ((detail, closed),) = raised(world, "customs_list")
    assert f"{SENDER}: {field}" in detail
    assert not closed


def test_a_bad_certificate_does_not_stop_the_night(world):
    bring_in(world)
    bad = CustomsCertificate("B201026902331998", "B", EXPORTER, None, None, 2, None)
    replace_answers(world, certificates=lambda *_: ([bad], None))
    assert night(world) is RunState.FINISHED
    assert len(raised(world, "customs_list")) >= 1


def night(world):
    run = reconciliation.open_run(world.context)
    state = None
    for _ in range(50):
        state = reconciliation.reconcile(world.context, run)
        if state is RunState.FINISHED:
            break
    return state


def listed_as_ours(world, holder):
    """Customs' list of a holder as it is, through the real gateway."""
    return list(world.context.gateway.forms(holder, "", 5000)[0])


@pytest.mark.parametrize(
    "bad", [{"state": 1}, {"state": None}, {"state": "9"}, {"certificate": 7}, {"updated_at": 5}]
)
def test_of_a_bad_form_nothing_is_concluded(world, bad):
    """200 forms with an integer state were ignored in silence; now they are told, and not held as unknown."""
    bring_in(world)
    real = world.context.gateway
    wrong = {f"2110140{n:02d}" for n in range(1, 41)}

    def forms(holder, after, limit):
        listed, following = real.forms(holder, after, limit)
        return [
            CustomsForm(**({f: getattr(x, f) for f in x.__dataclass_fields__} | bad))
            if x.serial in wrong else x
            for x in listed
        ], following  # fmt: skip

    replace_answers(world, forms=forms)
    world.clock.forward(hours=2)
    assert night(world) is RunState.FINISHED
    with world.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Difference)) == 0
    ((detail, _),) = raised(world, "customs_list")
    assert "211014001" in detail
    assert "(40)" in detail


@pytest.mark.parametrize("at", [0, 3, -1])
def test_where_a_serial_cannot_be_read_no_form_counts_as_missing(world, at):
    bring_in(world)
    real = world.context.gateway

    def forms(holder, after, limit):
        """Pages of four, so that the bad record stands at their beginning, within, and at their end."""
        listed, following = real.forms(holder, after, 4)
        if holder == SENDER and len(listed) == 4 and not after:
            place = range(4)[at]
            listed = [
                *listed[:place],
                CustomsForm(None, "B", CustomsState.ISSUED, None, None),
                *listed[place + 1 :],
            ]
        return listed, following

    replace_answers(world, forms=forms)
    world.clock.forward(hours=2)
    assert night(world) is RunState.FINISHED
    with world.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Difference)) == 0


def test_pages_may_end_between_two_types_of_one_serial_and_cursors_are_opaque(world):
    """The list is ascending by serial and type, and its cursor says nothing to us (contract section 2)."""
    bring_in(world, ranges=(*SAMPLE_RANGES, issued(SENDER, "A", "211014001", 40)))
    real = world.context.gateway
    replace_answers(world, forms=lambda h, a, _limit: real.forms(h, a, 3))
    world.clock.forward(hours=2)
    assert night(world) is RunState.FINISHED
    with world.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Difference)) == 0


def test_a_list_of_many_pages_is_compared_to_its_end(world):
    """Fourteen pages of one holder; five go together, so that the night goes on twice from where it was."""
    bring_in(world)
    used = {f"2110140{n:02d}" for n in (1, 3, 4, 17, 18, 29, 40)}
    gone = {f"2110140{n:02d}" for n in (9, 15, 20, 39)}
    ledger = world.customs.simulated.ledger
    for serial in used:
        ledger.settle_by_hand(serial, "B", "2", AGENT_HANDLED)
    with ledger.transaction() as db:
        db.executemany("DELETE FROM form WHERE serial = ?", [(serial,) for serial in gone])
    real = world.context.gateway
    replace_answers(world, forms=lambda h, a, _limit: real.forms(h, a, 3))
    world.clock.forward(hours=2)
    assert night(world) is RunState.FINISHED
    with world.context.database.read() as session:
        found = session.scalars(select(Difference)).all()
        run = session.scalars(select(Run)).one()
    by_class = {
        kind: {
            s
            for d in found
            if d.kind is kind
            for s in serials_between(d.first_serial, d.last_serial)
        }
        for kind in DifferenceClass
    }
    assert {kind: serials for kind, serials in by_class.items() if serials} == {
        DifferenceClass.OUTSIDE: used,
        DifferenceClass.UNKNOWN_AT_CUSTOMS: gone,
    }
    assert sum(d.form_count for d in found) == len(used) + len(gone)
    assert (run.ours, run.listed) == (61, 61 - len(gone))


@pytest.mark.parametrize("path", ["forms", "certificates"])
def test_an_endless_list_ends_with_something_said_and_the_other_holders_go_on(world, path):
    bring_in(world)
    real = getattr(world.context.gateway, path)
    asked = []

    def endless(holder, after, limit):
        asked.append(holder)
        assert len(asked) < 200
        return ([], "x") if holder == SENDER else real(holder, after, limit)

    replace_answers(world, **{path: endless})
    world.clock.forward(hours=2)
    assert night(world) is RunState.FINISHED
    assert EXPORTER in asked
    assert any(SENDER in detail for detail, _ in raised(world, "customs_list"))


# -- receipts agree with themselves and their message -------------------------------------------


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ({"receiver": EXPORTER}, "addressed"),
        ({"seq_no": "9" * 18}, "SeqNo"),
        ({"certificate": "B201026902331601"}, "certificate"),
        ({"action": "Z"}, "operation"),
        ({"result": "1", "lines": [(ONE, "2104", "1"), (TWO, *DONE)]}, "ManageResult"),
        ({"result": "2", "lines": [(ONE, *DONE), (TWO, *REFUSED)]}, "ManageResult"),
        ({"result": "4", "lines": [(ONE, *BY_A_PERSON), (TWO, *DONE)]}, "ManageResult"),
        ({"first": 2}, "GNo"),
        ({"lines": [(TWO, *DONE), (ONE, *DONE)]}, "GNo"),
        ({"lines": [("211014009", *DONE)]}, "not sent"),
        ({"lines": [(ONE, "0000", "1")]}, "FormState"),
        ({"lines": [(ONE, *DONE), (TWO, "0000", "3")]}, "FormState"),
        ({"result": "7"}, "unreadable"),
    ],
)
def test_a_receipt_that_disagrees_is_quarantined_whole_and_raised(world, odd, says):
    bring_in(world)
    _, number, seq_no = sent(world, f"{ONE}-{TWO}")
    values = {"seq_no": seq_no, "lines": [(ONE, *DONE), (TWO, *DONE)]} | odd
    told(world, receipt_xml("R1", number, values.pop("seq_no"), values.pop("lines"), **values))
    nothing_came_of_it(world, says)
    assert {form(world, s).state for s in (ONE, TWO)} == {FormState.VERIFY_SUBMITTED}


def nothing_came_of_it(world, says):
    """The one receipt is set aside and raised, and not one line of it is believed."""
    assert inbox_states(world) == ["quarantined"]
    ((detail, closed),) = raised(world, "receipt")
    assert says in detail
    assert not closed
    with world.context.database.read() as session:
        assert session.scalars(select(ReceiptLine.id)).all() == []
        assert set(session.scalars(select(Item.state))) == {ItemState.UNDER_WAY}
        assert session.scalars(select(Submission.decided_at)).all() == [None]
    sound(world)


def test_of_a_serial_that_a_receipt_names_twice_neither_line_is_believed(world):
    """Each of them is right by itself, in its place and its state; together they say yes and no."""
    bring_in(world)
    _, number, seq_no = sent(world, f"{ONE}-{TWO}")
    both = receipt_xml("R1", number, seq_no, [(ONE, *DONE), (ONE, *REFUSED)])
    told(world, both.replace(b"<GNo>2</GNo>", b"<GNo>1</GNo>"))
    nothing_came_of_it(world, "twice")
    assert form(world, ONE).state is FormState.VERIFY_SUBMITTED


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_receipt_of_a_message_that_never_left_is_not_believed(world, is_signed):
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, ONE)])
    confirm(world, batch_id)
    preparing.prepare(world.context, batch_id)
    if is_signed:
        signing.sign(world.context)
    with world.context.database.read() as session:
        number = session.scalars(select(Submission.number)).one()
    told(world, receipt_xml("R1", number, "2" * 18, [(ONE, *DONE)]))
    nothing_came_of_it(world, "not awaited")
    assert form(world, ONE).state is FormState.RESERVED


def test_a_receipt_without_an_envelope_is_none(world):
    bring_in(world)
    _, number, seq_no = sent(world)
    whole = receipt_xml("R1", number, seq_no, [(ONE, *DONE)])
    before, _, rest = whole.partition(b"<EnvelopInfo>")
    told(world, before + rest.partition(b"</EnvelopInfo>")[2])
    assert inbox_states(world) == ["quarantined"]


def test_the_same_receipt_id_with_other_content_is_an_alarm_whatever_it_says(world):
    bring_in(world)
    _, number, seq_no = sent(world, f"{ONE}-{TWO}")
    first = receipt_xml("R1", number, seq_no, [(ONE, *DONE)])
    other = receipt_xml("R1", number, seq_no, [(ONE, *DONE), (TWO, *DONE)])
    with world.context.database.write() as session:
        arrivals = [inbox.receipt_arrival("R1", xml, "poll") for xml in (first, other)]
        inbox.store(session, arrivals, world.clock())
    applying.apply(world.context)
    assert inbox_states(world) == ["applied", "quarantined"]
    assert form(world, TWO).state is FormState.VERIFY_SUBMITTED
    assert len(raised(world, "receipt")) == 1


def test_another_body_under_a_known_callback_id_is_kept_and_raised(world):
    one = b'{"type": "receipt.created", "data": {"receiptId": "R1", "xml": "<a/>"}}'
    other = b'{"type": "something", "data": {}}'
    with world.context.database.write() as session:
        for body in (one, one, other):
            inbox.store(session, [inbox.callback_arrival(Bcm1(), "msg_1", body)], world.clock())
    assert len(inbox_states(world)) == 2
    assert [closed for _, closed in raised(world, "callback")] == [False]


def test_another_body_under_the_id_of_a_callback_is_noticed_though_a_poll_was_first(world):
    receipt = {"receiptId": "R1", "xml": "<a/>"}
    one = json.dumps({"type": "receipt.created", "data": receipt}).encode()
    with world.context.database.write() as session:
        inbox.store(session, [inbox.receipt_arrival("R1", b"<a/>", "poll")], world.clock())
        for body in (one, one, b'{"type": "something", "data": {}}'):
            inbox.store(session, [inbox.callback_arrival(Bcm1(), "msg_1", body)], world.clock())
    assert len(inbox_states(world)) == 2
    assert [closed for _, closed in raised(world, "callback")] == [False]


def test_another_body_under_the_id_of_the_first_callback_is_noticed_though_a_second_was_the_same(
    world,
):
    receipt = {"receiptId": "R1", "xml": "<a/>"}
    one = json.dumps({"type": "receipt.created", "data": receipt}).encode()
    other = b'{"type": "something", "data": {}}'
    with world.context.database.write() as session:
        for name, body in (("msg_1", one), ("msg_2", one), ("msg_1", other)):
            inbox.store(session, [inbox.callback_arrival(Bcm1(), name, body)], world.clock())
    assert [detail for detail, _ in raised(world, "callback")] == ["webhook-id msg_1"]


@pytest.mark.parametrize("key", [("ZZZZZZZZ", "C"), ("000000", "A")])
def test_a_bad_record_at_the_end_of_a_page_is_not_even_believed_where_it_stands(world, key):
    """Far behind its page it made all that follows "unknown at customs", which a repair then holds."""
    bring_in(world)
    real = world.context.gateway

    def forms(holder, after, limit):
        listed, following = real.forms(holder, after, 4)
        if following is not None and not after:
            listed = [*listed, CustomsForm(*key, 1, None, None)]
        return listed, following

    replace_answers(world, forms=forms)
    world.clock.forward(hours=2)
    assert night(world) is RunState.FINISHED
    with world.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Difference)) == 0


# -- contradictions, and what comes too late ----------------------------------------------------


def test_a_good_line_is_not_lost_with_a_contradicting_one(world):
    bring_in(world)
    batch_id, number, seq_no = sent(world, f"{ONE}-{TWO}")
    told(world, receipt_xml("R1", number, seq_no, [(ONE, *DONE)]))
    told(world, b"", receipt_xml("R2", number, seq_no, [(ONE, "2106", "1"), (TWO, *DONE)]))
    assert form(world, ONE).state is FormState.VERIFIED
    assert form(world, TWO).state is FormState.VERIFIED
    assert [closed for _, closed in raised(world, "contradiction")] == [False]
    replace_answers(world, forms=lambda *_: ([listed(ONE, "2")], None))
    adopting.adopt(world.context)
    assert [closed for _, closed in raised(world, "contradiction")] == [True], "the list agrees"
    assert results(world, batch_id)[0].serial_list == [ONE, TWO]
    sound(world)


def listed(serial, state, certificate=AGENT_HANDLED):
    return CustomsForm(
        serial, "B", CustomsState(state), certificate if state in "23" else None, None
    )


@pytest.mark.parametrize(
    ("there", "state", "held", "closed"),
    [
        (listed(ONE, "2"), FormState.VERIFIED, False, True),
        (listed(ONE, "1"), FormState.ISSUED, False, True),
        (listed(ONE, "2", "B201026902331601"), FormState.ISSUED, True, False),
        (None, FormState.ISSUED, True, False),
    ],
)
def test_a_success_after_a_refusal_holds_the_form_until_customs_list_decides(
    world, there, state, held, closed
):
    bring_in(world)
    batch_id, number, seq_no = sent(world)
    told(world, receipt_xml("R1", number, seq_no, [(ONE, *REFUSED)]))
    assert form(world, ONE).hold is None
    told(world, b"", receipt_xml("R2", number, seq_no, [(ONE, *DONE)]))
    assert form(world, ONE).hold is not None
    taken = upload(world, [(AGENT_HANDLED, VERIFY, "", 1)], name="next.csv")
    assert ONE not in results(world, taken)[0].serial_list, "no page count takes it meanwhile"
    replace_answers(world, forms=lambda *_: ([there] if there else [], None))
    assert adopting.adopt(world.context) == 1
    now = form(world, ONE)
    assert (now.state, now.hold is not None) == (state, held)
    assert [c for _, c in raised(world, "contradiction")] == [closed]
    if state is FormState.VERIFIED:
        assert now.outside
        with world.context.database.read() as session:
            assert (
                session.scalar(select(Item.state).where(Item.batch_id == batch_id))
                is ItemState.DECIDED
            )
    assert adopting.adopt(world.context) == 0
    sound(world)


def test_a_late_receipt_of_a_cancelled_message_keeps_its_form_from_page_counts(world):
    bring_in(world)
    world.customs.play({"fault": "late", "seconds": 100000})
    batch_id, number, seq_no = sent(world)
    world.clock.forward(seconds=2000)
    asking.ask(world.context)
    releasing.cancel(world.context, batch_id)
    assert form(world, ONE).state is FormState.ISSUED
    told(world, receipt_xml("R1", number, seq_no, [(ONE, *DONE)]))
    assert form(world, ONE).hold is not None
    replace_answers(world, forms=lambda *_: ([listed(ONE, "2")], None))
    adopting.adopt(world.context)
    now = form(world, ONE)
    assert (now.state, now.certificate, now.outside) == (FormState.VERIFIED, AGENT_HANDLED, True)
    assert results(world, batch_id)[0].used_serials == ONE
    sound(world)


def test_a_late_4001_of_a_cancelled_message_holds_its_form_until_customs_has_decided(world):
    bring_in(world)
    world.customs.play({"fault": "late", "seconds": 100000})
    batch_id, number, seq_no = sent(world)
    world.clock.forward(seconds=2000)
    asking.ask(world.context)
    releasing.cancel(world.context, batch_id)
    told(world, receipt_xml("R1", number, seq_no, [(ONE, *BY_A_PERSON)]))
    assert adopting.adopt(world.context) == 0, "customs' list says nothing before it has decided"
    assert form(world, ONE).hold is not None
    told(world, b"", receipt_xml("R2", number, seq_no, [(ONE, *DONE)]))
    replace_answers(world, forms=lambda *_: ([listed(ONE, "2")], None))
    assert adopting.adopt(world.context) == 1
    assert form(world, ONE).state is FormState.VERIFIED
    sound(world)


def test_a_4001_after_the_decision_changes_nothing(world):
    bring_in(world)
    _, number, seq_no = sent(world)
    told(world, receipt_xml("R1", number, seq_no, [(ONE, *DONE)]))
    told(world, b"", receipt_xml("R2", number, seq_no, [(ONE, *BY_A_PERSON)]))
    assert form(world, ONE).state is FormState.VERIFIED
    assert raised(world, "contradiction") == []
    sound(world)


def test_what_an_unknown_code_raised_is_closed_by_the_final_one(world):
    bring_in(world)
    _, number, seq_no = sent(world)
    told(world, receipt_xml("R1", number, seq_no, [(ONE, "7777", "1")], result="2"))
    assert [closed for _, closed in raised(world, "customs_7777")] == [False]
    told(world, b"", receipt_xml("R2", number, seq_no, [(ONE, *DONE)]))
    assert [closed for _, closed in raised(world, "customs_7777")] == [True]


@pytest.mark.parametrize(("line", "text"), [(DONE, "准予核销"), (REFUSED, "证书已撤销")])
def test_customs_own_words_are_kept_with_the_form_that_they_are_about(world, line, text):
    bring_in(world)
    batch_id, number, seq_no = sent(world, f"{ONE}-{TWO}")
    said = receipt_xml("R1", number, seq_no, [(ONE, *line), (TWO, *line)])
    one, _, other = said.partition(b"<RepMsg>x</RepMsg>")
    told(world, one + f"<RepMsg>{text}</RepMsg>".encode() + other)
    with world.context.database.read() as session:
        kept = session.execute(select(Item.rep_code, Item.rep_text).order_by(Item.serial)).all()
        lines = session.scalars(select(ReceiptLine.rep_text).order_by(ReceiptLine.id)).all()
    assert kept == [(line[0], text), (line[0], "x")]
    assert lines == [text, "x"]
    told_to_the_clerk = [p.message for p in results(world, batch_id)[0].problems]
    if line is REFUSED:
        assert any(f"{text} ({ONE})" in message for message in told_to_the_clerk)
    else:
        assert told_to_the_clerk == []


# -- adopting -----------------------------------------------------------------------------------


@pytest.fixture
def both_asked(world):
    """Forms of two holders, of which customs says that they are used already: its lists have to settle both."""
    bring_in(world)
    of_exporter = sent(world, "211013201", (AGENT_HANDLED, VERIFY, "211013201", "", "出口商"))
    of_agent = sent(world, ONE)
    for n, (serial, (_, number, seq_no)) in enumerate(
        (("211013201", of_exporter), (ONE, of_agent)), start=1
    ):
        xml = receipt_xml(f"R{n}", number, seq_no, [(serial, "2102", "2")], result="2")
        with world.context.database.write() as session:
            inbox.store(session, [inbox.receipt_arrival(f"R{n}", xml, "poll")], world.clock())
    applying.apply(world.context)


def test_one_holder_that_customs_does_not_show_stops_no_other(world, both_asked):
    def forms(holder, after, limit):
        if holder == EXPORTER:
            raise GatewayUnreachable(detail="/forms: HTTP 403")
        return [listed(ONE, "2")], None

    replace_answers(world, forms=forms)
    assert adopting.adopt(world.context) == 1
    assert form(world, ONE).state is FormState.VERIFIED
    assert form(world, ONE).outside, "final by adoption, and says so"
    assert form(world, "211013201").state is FormState.VERIFY_SUBMITTED
    assert adopting.adopt(world.context) == 0, "not asked again at once"
    with world.context.database.read() as session:
        waits = session.scalars(select(ReceiptLine.ask_at).where(ReceiptLine.ask_at.is_not(None)))
        assert all(at > world.clock() for at in waits)
    sound(world)


def test_only_the_form_that_customs_does_not_list_is_left_to_a_person(world, both_asked):
    shown = {EXPORTER: None, SENDER: []}

    def forms(holder, after, limit):
        if shown[holder] is None:
            raise GatewayUnreachable(detail="/forms: HTTP 403")
        return shown[holder], None

    replace_answers(world, forms=forms)
    assert adopting.adopt(world.context) == 1
    with world.context.database.read() as session:
        query = select(Form.serial, ReceiptLine.verdict).join(
            ReceiptLine, ReceiptLine.form_id == Form.id
        )
        assert dict(session.execute(query).all()) == {
            "211013201": Verdict.ASK,
            ONE: Verdict.UNKNOWN,
        }
    shown.update({EXPORTER: [listed("211013201", "2")], SENDER: [listed(ONE, "2")]})
    world.clock.forward(hours=1)
    assert adopting.adopt(world.context) == 1
    assert form(world, "211013201").state is FormState.VERIFIED
    assert form(world, ONE).state is FormState.VERIFY_SUBMITTED
    sound(world)


def test_a_form_far_down_the_list_is_found(world):
    """Longer serials may sort between a serial and the one before it."""
    bring_in(world, ranges=(*SAMPLE_RANGES, issued(SENDER, "B", "2110140010", 60)))
    _, number, seq_no = sent(world, TWO)
    told(world, receipt_xml("R1", number, seq_no, [(TWO, "2102", "2")], result="2"))
    world.customs.simulated.ledger.settle_by_hand(TWO, "B", "2", AGENT_HANDLED)
    assert adopting.adopt(world.context) == 1
    assert form(world, TWO).state is FormState.VERIFIED


def as_listed(number, **other):
    """A form of a message as customs' list has it: verified for our certificate, or otherwise."""
    said = {"number": number, "serial": ONE, "state": "2", "certificate": AGENT_HANDLED}
    return adopting.ListedFinal(**(said | other))


@pytest.mark.parametrize(
    ("other", "adopted"),
    [
        ({}, True),
        ({"state": "1"}, False),
        ({"state": "3"}, False),
        ({"certificate": "B201026902331601"}, False),
        ({"certificate": None}, False),
        ({"serial": "211014009"}, False),
        ({"number": "A" * 32}, False),
    ],
)
def test_what_lags_is_adopted_only_as_it_was_sent(world, other, adopted):
    bring_in(world)
    _, number, _ = sent(world, f"{ONE}-{TWO}")
    said = as_listed(**({"number": number} | other))
    assert adopting.adopt_listed(world.context, [said]) == ({said} if adopted else set())
    one, two = form(world, ONE), form(world, TWO)
    assert two.state is FormState.VERIFY_SUBMITTED
    if adopted:
        assert (one.state, one.certificate, one.outside) == (
            FormState.VERIFIED,
            AGENT_HANDLED,
            True,
        )
    else:
        assert (one.state, one.outside) == (FormState.VERIFY_SUBMITTED, False)
    sound(world)


@pytest.mark.parametrize("line", [REFUSED, DONE])
def test_what_was_decided_meanwhile_is_not_adopted_though_its_message_is_still_at_customs(
    world, line
):
    bring_in(world)
    _, number, seq_no = sent(world, f"{ONE}-{TWO}")
    told(world, receipt_xml("R1", number, seq_no, [(ONE, *line)]))
    before = form(world, ONE).state
    assert adopting.adopt_listed(world.context, [as_listed(number)]) == set()
    now = form(world, ONE)
    assert (now.state, now.outside) == (before, False)
    with world.context.database.read() as session:
        assert session.scalars(select(Item.rep_code).where(Item.serial == ONE)).one() == line[0]
    sound(world)


def test_what_waits_to_be_sent_again_is_not_adopted(world):
    """Customs has said that it has no such message, so what it lists is another one's work."""
    bring_in(world)
    world.customs.play({"fault": "error_before", "times": 1})
    _, number, _ = sent(world)
    world.clock.forward(hours=1)
    asking.ask(world.context)
    assert adopting.adopt_listed(world.context, [as_listed(number)]) == set()
    assert (form(world, ONE).state, form(world, ONE).outside) == (FormState.RESERVED, False)
    with world.context.database.read() as session:
        assert session.scalars(select(Submission.state)).all() == [SubmissionState.SIGNED]
    sound(world)


def test_a_form_verified_at_the_portal_while_our_order_was_under_way_is_final_by_adoption(world):
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, ONE)])
    confirm(world, batch_id)
    world.customs.simulated.ledger.settle_by_hand(ONE, "B", "2", AGENT_HANDLED)
    world.drain()
    assert (form(world, ONE).state, form(world, ONE).outside) == (FormState.VERIFIED, True)
    world.assert_sound()

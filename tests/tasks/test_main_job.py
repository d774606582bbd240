"""The main job, from a sheet to decided forms, on SQLite and PostgreSQL, customs over HTTP."""

from __future__ import annotations

import re

import pytest
from lxml import etree
from sqlalchemy import select, text

from config.names import Task
from models.reads.batches import batch_counts
from models.reads.invariants import broken_invariants
from models.rules.errors import (
    BatchNotOpen,
    FileSubmittedBefore,
    NothingToSubmit,
    PlanMoved,
    RowsRefused,
)
from models.rules.states import (
    BatchState,
    FormState,
    InboxState,
    PagesMode,
    RowOutcome,
    SubmissionState,
)
from models.tables.batches import Batch
from models.tables.discrepancies import Discrepancy
from models.tables.forms import Form, FormEvent
from models.tables.inbox import InboxMessage
from models.tables.submissions import Attempt, Submission
from tasks.messages import asking, preparing, sending, signing
from tasks.orders import intake, planning, releasing, reserving
from tasks.receipts import adopting, applying, inbox
from tests.conftest import DATA
from tests.support.factories import (
    AGENT_HANDLED,
    EXPORTER,
    SAMPLE_CERTIFICATES,
    SELF_HANDLED,
    SENDER,
    WITHOUT_PAGES,
    agent_certificate,
    bring_in,
    certificate_number,
    confirm,
    issued,
    sheet,
    upload,
)
from tests.support.looking import codes, results

VERIFY, VOID = "核销", "作废"
PUT_OFF = ((AGENT_HANDLED, "211014002"), (SELF_HANDLED, "211013011"))
"""Two orders: a certificate and its serial."""


def form(world, serial):
    with world.context.database.read() as session:
        return session.scalars(select(Form).where(Form.serial == serial)).one()


def submissions(world):
    with world.context.database.read() as session:
        return list(session.scalars(select(Submission).order_by(Submission.id)))


def kinds_of_attempts(world):
    with world.context.database.read() as session:
        return [kind.value for kind in session.scalars(select(Attempt.kind).order_by(Attempt.id))]


def batch(world, batch_id):
    with world.context.database.read() as session:
        return session.get_one(Batch, batch_id)


@pytest.mark.parametrize("name", ["核销导入.xlsx", "核销导入.gb18030.csv"])
def test_the_shared_sample_ends_with_six_verified_and_one_voided(world, name):
    bring_in(world)
    content = (DATA / "samples" / name).read_bytes()
    batch_id = intake.receive_sheet(world.context, content, name, PagesMode.ADDITIONAL)
    planning.check(world.context, batch_id)
    assert batch(world, batch_id).row_count == 7
    assert codes(world, batch_id) == {
        2: [],
        3: [],
        4: [],
        5: ["serial_unknown"],
        6: ["certificate_unknown"],
        7: ["serial_digits_lost"],
        8: ["duplicate_in_file"],
    }
    assert results(world, batch_id)[6].problems[0].message == "流水号 211013209 已出现在第 2 行"
    confirm(world, batch_id)
    world.drain()
    assert world.customs.effects() == {
        "211013209": "V",
        "211013210": "V",
        "211013211": "Z",
        "211013011": "V",
        "211013013": "V",
        "211013014": "V",
        "211013015": "V",
    }
    assert batch(world, batch_id).state is BatchState.FINISHED
    world.assert_sound()


class TestPageCounts:
    def test_take_the_lowest_available_and_skip_gaps(self, world):
        bring_in(world)
        batch_id = upload(world, [(SELF_HANDLED, VERIFY, "", 4)])
        assert list(results(world, batch_id)[0].serial_list) == [
            "211013011",
            "211013013",
            "211013014",
            "211013015",
        ]

    def test_draw_from_the_agents_stock_unless_the_exporters_is_asked_for(self, world):
        bring_in(world)
        rows = [(AGENT_HANDLED, VERIFY, "", 1), (AGENT_HANDLED, VERIFY, "", 1, "出口商")]
        batch_id = upload(world, rows)
        assert [list(r.serial_list) for r in results(world, batch_id)] == [
            ["211014001"],
            ["211013201"],
        ]

    def test_are_never_part_filled(self, world):
        bring_in(world, certificates=WITHOUT_PAGES)
        batch_id = upload(world, [(SELF_HANDLED, VERIFY, "", 6)])
        (row,) = results(world, batch_id)
        assert row.problems[0].message == "库存不足: 需要 6 张，可用 5 张"
        assert list(row.serial_list) == []

    def test_of_one_certificate_are_all_met_or_none(self, world):
        bring_in(world, certificates=WITHOUT_PAGES)
        batch_id = upload(
            world, [(SELF_HANDLED, VERIFY, "", 3, "", "", "a"), (SELF_HANDLED, VERIFY, "", 3)]
        )
        assert codes(world, batch_id) == {2: ["stock_short"], 3: ["stock_short"]}

    def test_of_one_certificate_are_met_from_all_its_stocks_or_none(self, world):
        bring_in(world, certificates=WITHOUT_PAGES)
        rows = [(AGENT_HANDLED, VERIFY, "", 2, "出口商"), (AGENT_HANDLED, VERIFY, "", 41)]
        batch_id = upload(world, rows)
        assert codes(world, batch_id) == {2: ["stock_short"], 3: ["stock_short"]}
        assert all(not r.serial_list for r in results(world, batch_id))

    def test_top_up_in_two_rows_goes_on_from_the_first(self, world):
        bring_in(world)
        rows = [(AGENT_HANDLED, VERIFY, "", 2), (AGENT_HANDLED, VERIFY, "", 3)]
        batch_id = upload(world, rows, mode=PagesMode.TOP_UP)
        assert [len(r.serial_list) for r in results(world, batch_id)] == [2, 1]

    def test_top_up_counts_the_serials_that_the_sheet_names(self, world):
        bring_in(world)
        rows = [(AGENT_HANDLED, VERIFY, "211014001-211014004"), (AGENT_HANDLED, VERIFY, "", 6)]
        batch_id = upload(world, rows, mode=PagesMode.TOP_UP)
        assert [len(r.serial_list) for r in results(world, batch_id)] == [4, 2]

    def test_leave_serials_that_the_sheet_names_to_those_rows(self, world):
        bring_in(world)
        rows = [(AGENT_HANDLED, VERIFY, "", 2), (AGENT_HANDLED, VERIFY, "211014001", "")]
        batch_id = upload(world, rows)
        assert list(results(world, batch_id)[0].serial_list) == ["211014002", "211014003"]

    def test_top_up_counts_what_the_certificate_has(self, world):
        bring_in(world)
        first = upload(world, [(AGENT_HANDLED, VERIFY, "", 3)])
        confirm(world, first)
        world.drain()
        batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 5)], mode=PagesMode.TOP_UP)
        assert list(results(world, batch_id)[0].serial_list) == ["211014004", "211014005"]
        enough = upload(world, [(AGENT_HANDLED, VERIFY, "", 3)], mode=PagesMode.TOP_UP)
        assert codes(world, enough) == {2: ["nothing_to_do"]}

    def test_a_second_batch_goes_on_where_the_first_ended(self, world):
        bring_in(world)
        confirm(world, upload(world, [(AGENT_HANDLED, VERIFY, "", 3)]))
        batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 2, "", "", "b")])
        assert list(results(world, batch_id)[0].serial_list) == ["211014004", "211014005"]
        confirm(world, batch_id)
        world.assert_sound()


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ((SELF_HANDLED, VERIFY, "", 1, "代录入企业"), "stock_source_not_allowed"),
        ((SELF_HANDLED, VERIFY, "211013201"), "type_mismatch"),
        (("B201026902331601", VERIFY, "211014001"), "stock_of_another"),
        ((AGENT_HANDLED, VERIFY, "211013209", "", "代录入企业"), "stock_of_another"),
        (("B201026902331700", VERIFY, "211013209"), "certificate_not_approved"),
        ((AGENT_HANDLED, VOID, "211014001"), "reason_missing"),
        ((AGENT_HANDLED, VOID, "211014001", "", "", "手滑"), "reason_unknown"),
        ((AGENT_HANDLED, VERIFY, "", ""), "nothing_to_do"),
        ((AGENT_HANDLED, VERIFY, "211014001", 3), "serials_and_pages"),
        ((AGENT_HANDLED, "已核销", "211014001"), "action_ambiguous"),
        ((AGENT_HANDLED, "寄出", "211014001"), "action_unknown"),
    ],
)
def test_a_row_that_cannot_be_done_says_why(world, row, code):
    bring_in(world)
    batch_id = upload(world, [row])
    assert codes(world, batch_id) == {2: [code]}


def test_a_serial_ordered_twice_differently_is_a_problem_of_both_rows(world):
    bring_in(world)
    rows = [
        (AGENT_HANDLED, VERIFY, "211014001"),
        (AGENT_HANDLED, VOID, "211014001", "", "", "污损"),
    ]
    assert codes(world, upload(world, rows)) == {2: ["duplicate_in_file"], 3: ["duplicate_in_file"]}


def test_one_serial_filled_down_a_column_is_a_problem_of_each_later_row(world):
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "211014001")] * 2000)
    found = results(world, batch_id)
    assert found[0].problems == []
    assert {len(r.problems) for r in found[1:]} == {1}
    assert {p.values["row"] for r in found for p in r.problems} == {2}


def test_checking_reserves_nothing_and_gives_the_same_plan_again(world):
    bring_in(world)
    batch_id = upload(world, [(SELF_HANDLED, VERIFY, "", 4)])
    plan = batch(world, batch_id).plan
    assert planning.check(world.context, batch_id) == plan
    assert form(world, "211013011").state is FormState.ISSUED
    world.assert_sound()


def test_a_plan_that_has_moved_is_refused_and_nothing_is_taken(world):
    bring_in(world)
    batch_id = upload(world, [(SELF_HANDLED, VERIFY, "", 4)])
    plan = batch(world, batch_id).plan
    confirm(world, upload(world, [(SELF_HANDLED, VERIFY, "211013011")]))
    with pytest.raises(PlanMoved):
        confirm(world, batch_id, plan=plan)
    assert batch(world, batch_id).state is BatchState.CHECKED
    assert form(world, "211013013").state is FormState.ISSUED
    world.assert_sound()


def test_all_or_nothing_does_nothing_when_one_row_is_wrong(world):
    bring_in(world)
    rows = [(SELF_HANDLED, VERIFY, "", 1), (SELF_HANDLED, VERIFY, "999999999")]
    batch_id = upload(world, rows)
    with pytest.raises(RowsRefused):
        confirm(world, batch_id, all_or_nothing=True)
    assert form(world, "211013011").state is FormState.ISSUED


def test_a_sheet_without_a_valid_row_is_not_submitted(world):
    bring_in(world)
    with pytest.raises(NothingToSubmit):
        confirm(world, upload(world, [(SELF_HANDLED, VERIFY, "999999999")]))


def test_the_same_content_is_refused_unless_said_again(world):
    bring_in(world)
    rows = [(AGENT_HANDLED, VERIFY, "", 1)]
    first = upload(world, rows, name="a.csv")
    confirm(world, first)
    second = upload(world, rows, name="b.csv")
    with pytest.raises(FileSubmittedBefore) as refused:
        confirm(world, second)
    assert refused.value.values["batch"] == first
    assert codes(world, second) == {2: ["duplicate_order"]}
    planning.check(world.context, second, planning.Lift(again="客户要求再核销"))
    confirm(world, second, again=True)
    world.drain()
    assert len(world.customs.effects()) == 2


def test_of_two_confirmations_of_one_batch_one_wins(world):
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 1)])
    confirm(world, batch_id)
    with pytest.raises(BatchNotOpen):
        confirm(world, batch_id)


def test_more_than_a_hundred_serials_go_in_several_messages(world):
    ranges = [issued(SENDER, "B", "211014001", 250)]
    bring_in(world, ranges, WITHOUT_PAGES)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "211014001+250")])
    confirm(world, batch_id)
    world.drain()
    assert sorted(s.form_count for s in submissions(world)) == [50, 100, 100]
    assert len(world.customs.effects()) == 250
    world.assert_sound()


class TestCancel:
    def test_takes_back_what_has_not_left(self, world):
        bring_in(world)
        batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 3)])
        confirm(world, batch_id)
        preparing.prepare(world.context, batch_id)
        signing.sign(world.context)
        assert releasing.cancel(world.context, batch_id).released == 3
        world.drain()
        assert world.customs.messages() == []
        assert batch(world, batch_id).state is BatchState.CANCELLED
        assert results(world, batch_id)[0].outcome is RowOutcome.NOT_PROCESSED
        world.assert_sound()

    def test_what_was_on_its_way_and_did_not_arrive_is_not_sent_again(self, world):
        bring_in(world)
        batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 1)])
        confirm(world, batch_id)
        preparing.prepare(world.context, batch_id)
        signing.sign(world.context)
        world.customs.play({"fault": "error_before", "times": 1})
        sending.send(world.context)
        assert releasing.cancel(world.context, batch_id).at_customs == 1
        for _ in range(3):
            world.clock.forward(seconds=400)
            world.drain()
        assert world.customs.messages() == []
        assert form(world, "211014001").state is FormState.ISSUED
        assert [p.code for p in results(world, batch_id)[0].problems] == ["cancelled"]
        world.assert_sound()

    def test_leaves_what_is_at_customs_and_its_serials_can_be_used_after(self, world):
        bring_in(world)
        batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 1)])
        confirm(world, batch_id)
        preparing.prepare(world.context, batch_id)
        signing.sign(world.context)
        sending.send(world.context)
        done = releasing.cancel(world.context, batch_id)
        assert (done.released, done.at_customs) == (0, 1)
        world.drain()
        assert batch(world, batch_id).state is BatchState.FINISHED
        assert world.customs.effects() == {"211014001": "V"}
        world.assert_sound()

    def test_a_cancelled_file_that_never_left_may_be_submitted_again(self, world):
        bring_in(world)
        rows = [(AGENT_HANDLED, VERIFY, "", 1)]
        first = upload(world, rows)
        confirm(world, first)
        releasing.cancel(world.context, first)
        confirm(world, upload(world, rows))
        world.drain()
        assert world.customs.effects() == {"211014001": "V"}


def test_a_reservation_that_is_never_sent_is_released_in_time(world):
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 2)])
    confirm(world, batch_id)
    world.clock.forward(hours=25)
    releasing.expire(world.context, batch_id)
    assert form(world, "211014001").state is FormState.ISSUED
    assert [p.code for p in results(world, batch_id)[0].problems] == ["reservation_expired"]
    again = upload(world, [(AGENT_HANDLED, VERIFY, "", 1, "", "", "x")])
    assert list(results(world, again)[0].serial_list) == ["211014001"]
    world.assert_sound()


class TestSending:
    @pytest.fixture
    def order(self, world):
        bring_in(world)
        batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 1)])
        confirm(world, batch_id)
        preparing.prepare(world.context, batch_id)
        signing.sign(world.context)
        return batch_id

    def test_what_was_claimed_and_never_begun_has_not_failed(self, world, order):
        for _ in range(5):
            (claimed,) = sending._claim(world.context, 10)
            world.context.gateway.start_send("t", claimed.message, start_before=0.0)
            ((_, outcome),) = world.context.gateway.completed(1)
            sending._record_sent(world.context, [(claimed, outcome)])
            assert sending.send(world.context) == 0
            world.clock.forward(seconds=2)
        assert sending.send(world.context) == 1
        assert submissions(world)[0].state is SubmissionState.TAKEN
        world.assert_sound()

    @pytest.mark.parametrize("fault", ["answer_lost", "error_after", "truncated", "wrong_number"])
    def test_a_lost_answer_is_asked_about_and_never_sent_again(self, world, order, fault):
        world.customs.play({"fault": fault, "times": 1})
        sending.send(world.context)
        assert submissions(world)[0].state is SubmissionState.IN_DOUBT
        world.clock.forward(seconds=5)
        world.drain()
        assert submissions(world)[0].send_count == 1
        assert world.customs.effects() == {"211014001": "V"}
        world.assert_sound()

    def test_an_answer_that_drips_is_in_doubt_at_the_deadline(self, world, order):
        world.customs.play({"fault": "drip", "times": 1})
        sending.send(world.context)
        assert submissions(world)[0].state is SubmissionState.IN_DOUBT
        world.clock.forward(seconds=5)
        world.drain()
        assert submissions(world)[0].send_count == 1
        world.assert_sound()

    def test_an_error_before_taking_is_resent_only_after_the_settle_time(self, world, order):
        world.customs.play({"fault": "error_before", "times": 1})
        sending.send(world.context)
        world.clock.forward(seconds=10)
        asking.ask(world.context)
        assert submissions(world)[0].state is SubmissionState.IN_DOUBT
        world.clock.forward(seconds=300)
        asking.ask(world.context)
        assert submissions(world)[0].state is SubmissionState.SIGNED
        assert form(world, "211014001").state is FormState.RESERVED
        world.drain()
        assert submissions(world)[0].send_count == 2
        assert len({bytes(m) for m in world.customs.messages()}) == 1
        world.assert_sound()

    def test_a_message_that_shows_late_is_adopted(self, world, order):
        world.customs.play({"fault": "late", "times": 1, "seconds": 0.3})
        sending.send(world.context)
        world.clock.forward(seconds=5)
        asking.ask(world.context)
        while not world.customs.simulated.find(submissions(world)[0].number):
            pass
        world.clock.forward(seconds=60)
        world.drain()
        assert submissions(world)[0].send_count == 1
        assert world.customs.effects() == {"211014001": "V"}
        world.assert_sound()

    @pytest.mark.parametrize("fault", ["too_many", "busy"])
    def test_retry_after_closes_the_line_for_so_long(self, world, order, fault):
        world.customs.play({"fault": fault, "times": 1, "seconds": 30})
        sending.send(world.context)
        assert submissions(world)[0].state is SubmissionState.SIGNED
        world.clock.forward(seconds=20)
        assert sending.send(world.context) == 0
        world.clock.forward(seconds=15)
        world.drain()
        assert submissions(world)[0].send_count == 2
        world.assert_sound()

    @pytest.mark.parametrize(("action", "effect"), [(VERIFY, "V"), (VOID, "Z")])
    def test_what_customs_puts_off_waits_reserved_and_stops_those_behind_it(
        self, world, order, action, effect
    ):
        world.drain()
        reason = "01" if action == VOID else ""
        rows = [(n, action, s, "", "", reason, f"order {n}") for n, s in PUT_OFF]
        second = upload(world, rows)
        confirm(world, second)
        preparing.prepare(world.context, second)
        signing.sign(world.context)
        world.customs.play({"fault": "too_many", "times": 2, "seconds": 30})
        sending.send(world.context)
        assert [m.state for m in submissions(world)[1:]] == [SubmissionState.SIGNED] * 2
        assert {form(world, s).state for _, s in PUT_OFF} == {FormState.RESERVED}
        assert sending.send(world.context) == 0
        for _ in PUT_OFF:  # the second may have been put off by itself only after the first's wait
            world.clock.forward(seconds=35)
            world.drain()
        assert {world.customs.effects()[s] for _, s in PUT_OFF} == {effect}
        world.assert_sound()

    def test_a_refused_message_gives_its_forms_back_with_the_reason(self, world, order):
        world.customs.play({"fault": "refuse_message", "times": 1, "code": "2301", "text": "卡"})
        world.drain()
        assert form(world, "211014001").state is FormState.ISSUED
        assert codes(world, order) == {2: ["refused_by_customs"]}
        assert batch(world, order).state is BatchState.FINISHED
        world.assert_sound()

    def test_a_card_that_customs_does_not_accept_stops_the_sending(self, world, order):
        world.customs.play({"fault": "refuse_message", "times": 1, "code": "1002", "text": "卡"})
        world.drain()
        confirm(world, upload(world, [(AGENT_HANDLED, VERIFY, "", 1, "", "", "next")]))
        preparing.prepare(world.context, order + 1)
        signing.sign(world.context)
        assert sending.send(world.context) == 0
        world.clock.forward(minutes=11)
        world.drain()
        assert len(world.customs.effects()) == 1
        world.assert_sound()

    def test_a_gateway_that_is_away_costs_nothing(self, world, order):
        down = world.context.gateway
        down._url = "http://127.0.0.1:9"
        sending.send(world.context)
        assert submissions(world)[0].state is SubmissionState.SIGNED
        down._url = world.customs.url
        world.clock.forward(seconds=60)
        world.drain()
        assert world.customs.effects() == {"211014001": "V"}
        world.assert_sound()

    def test_a_sender_that_died_after_the_intent_leaves_a_doubt_that_is_asked(self, world, order):
        assert len(sending._claim(world.context, 10)) == 1  # and the process ends here
        assert form(world, "211014001").state is FormState.VERIFY_SUBMITTED
        world.assert_sound()
        world.clock.forward(seconds=61)
        asking.ask(world.context)
        assert submissions(world)[0].state is SubmissionState.IN_DOUBT
        world.clock.forward(seconds=400)
        world.drain()
        assert submissions(world)[0].send_count == 2
        assert world.customs.effects() == {"211014001": "V"}
        world.assert_sound()

    def test_an_answer_that_comes_after_the_lease_changes_nothing(self, world, order):
        from customs.gateway import Refused

        (claimed,) = sending._claim(world.context, 10)
        world.clock.forward(seconds=61)
        asking.ask(world.context)
        sending._record_sent(world.context, [(claimed, Refused("0002", "late"))])
        assert submissions(world)[0].state is SubmissionState.IN_DOUBT
        with world.context.database.read() as session:
            attempt = session.scalars(select(Attempt).where(Attempt.kind == "send")).one()
        assert attempt.outcome == "refused"
        world.assert_sound()

    def test_a_message_that_is_being_sent_is_not_asked_about_before_its_lease_is_over(
        self, world, order
    ):
        assert len(sending._claim(world.context, 10)) == 1
        world.clock.forward(seconds=40)  # of 60
        assert asking.ask(world.context) == 0
        assert asking.ask(world.context, AGENT_HANDLED) == 0, "nor when a person asks"
        assert submissions(world)[0].state is SubmissionState.SENDING
        assert kinds_of_attempts(world) == ["send"]
        world.clock.forward(seconds=20)
        assert asking.ask(world.context) == 1
        assert kinds_of_attempts(world) == ["send", "ask"]

    def has_other_bytes(self, world):
        """Customs has something else under the number of our message."""
        with world.customs.simulated.ledger.transaction() as db:
            db.execute(
                "INSERT INTO message (number, sender, sha256, seq_no, body, taken_at, visible_at,"
                " decide_at, decided) VALUES (?, ?, ?, ?, ?, 0, 0, 0, 1)",
                (submissions(world)[0].number, SENDER, "0" * 64, "2" * 18, b""),
            )

    def test_other_bytes_under_our_number_are_parked(self, world, order):
        self.has_other_bytes(world)
        sending.send(world.context)
        assert submissions(world)[0].state is SubmissionState.PARKED
        assert form(world, "211014001").state is FormState.VERIFY_SUBMITTED

    @pytest.mark.parametrize("now", ["still other bytes", "nothing", "no answer"])
    def test_what_is_parked_stays_so_until_customs_says_that_it_has_ours(self, world, order, now):
        self.has_other_bytes(world)
        sending.send(world.context)
        world.clock.forward(hours=1)  # "not found" would be conclusive
        assert asking.ask(world.context) == 0, "nobody asks of itself"
        if now == "nothing":
            with world.customs.simulated.ledger.transaction() as db:
                db.execute("DELETE FROM message")
        if now == "no answer":
            world.context.gateway._url = "http://127.0.0.1:9"
        assert asking.ask(world.context, AGENT_HANDLED) == 1
        parked = submissions(world)[0]
        assert (parked.state, parked.send_count) == (SubmissionState.PARKED, 1)
        assert form(world, "211014001").state is FormState.VERIFY_SUBMITTED
        assert sending.send(world.context) == 0
        with world.context.database.read() as session:
            assert broken_invariants(session) == {}

    def test_what_is_parked_goes_on_when_customs_has_our_bytes_after_all(self, world, order):
        self.has_other_bytes(world)
        sending.send(world.context)
        with world.customs.simulated.ledger.transaction() as db:
            db.execute("UPDATE message SET sha256 = ?", (submissions(world)[0].payload_sha256,))
        assert asking.ask(world.context, AGENT_HANDLED) == 1
        taken = submissions(world)[0]
        assert (taken.state, taken.seq_no) == (SubmissionState.TAKEN, "2" * 18)

    def test_what_is_parked_is_decided_when_customs_lists_its_form_as_wanted(self, world, order):
        self.has_other_bytes(world)
        sending.send(world.context)
        number = submissions(world)[0].number
        said = adopting.ListedFinal(number, "211014001", "2", AGENT_HANDLED)
        assert adopting.adopt_listed(world.context, [said]) == {said}
        assert submissions(world)[0].state is SubmissionState.DECIDED
        assert form(world, "211014001").state is FormState.VERIFIED


class TestReceipts:
    def order(self, world, *serials):
        bring_in(world)
        batch_id = upload(world, [(AGENT_HANDLED, VERIFY, s) for s in serials or ["211014001"]])
        confirm(world, batch_id)
        preparing.prepare(world.context, batch_id)
        signing.sign(world.context)
        sending.send(world.context)
        return batch_id

    @pytest.mark.parametrize("fault", ["receipt_twice", "receipt_late", "person_first"])
    def test_twice_late_or_provisional_receipts_end_the_same(self, world, fault):
        self.order(world)
        world.customs.play({"fault": fault, "times": 1, "seconds": 0.05})
        while form(world, "211014001").state is not FormState.VERIFIED:
            world.drain()
        world.assert_sound()

    def test_a_contradiction_never_changes_a_final_state(self, world):
        self.order(world)
        world.customs.play({"fault": "receipt_contradictory", "times": 1})
        world.drain()
        assert form(world, "211014001").state is FormState.VERIFIED
        with world.context.database.read() as session:
            states = sorted(session.scalars(select(InboxMessage.state)))
            raised = session.scalars(select(Discrepancy).where(Discrepancy.kind == "contradiction"))
            assert [d.closed_reason for d in raised] == ["list"], "customs' list agrees with us"
        assert states == ["applied", "applied"]
        world.assert_sound()

    @pytest.mark.parametrize(
        ("code", "held"), [("2101", True), ("2103", True), ("2104", False), ("2106", False)]
    )
    def test_a_refused_form_goes_back_and_is_held_when_it_is_at_fault(self, world, code, held):
        batch_id = self.order(world)
        world.customs.play({"fault": "refuse_form", "times": 1, "code": code})
        world.drain()
        refused = form(world, "211014001")
        assert refused.state is FormState.ISSUED
        assert (refused.hold is not None) is held
        assert codes(world, batch_id) == {2: ["refused_by_customs"]}
        following = upload(world, [(AGENT_HANDLED, VERIFY, "", 1)])
        assert ("211014001" in results(world, following)[0].serial_list) is not held
        world.assert_sound()

    def test_an_unknown_code_is_never_success(self, world):
        self.order(world)
        world.customs.play({"fault": "refuse_form", "times": 1, "code": "7777"})
        world.drain()
        assert form(world, "211014001").state is FormState.VERIFY_SUBMITTED
        world.assert_sound()

    def test_a_form_verified_by_hand_for_this_certificate_is_adopted(self, world):
        self.order(world)
        with world.customs.simulated.ledger.transaction() as db:
            db.execute(
                "UPDATE form SET state = '2', certificate = ? WHERE serial = '211014001'",
                (AGENT_HANDLED,),
            )
        world.drain()
        assert form(world, "211014001").state is FormState.VERIFIED

    def test_one_verified_for_another_certificate_is_held_for_a_person(self, world):
        self.order(world)
        with world.customs.simulated.ledger.transaction() as db:
            db.execute(
                "UPDATE form SET state = '2', certificate = 'B201026902339999'"
                " WHERE serial = '211014001'"
            )
        world.drain()
        refused = form(world, "211014001")
        assert (refused.state, refused.hold) == (FormState.ISSUED, "customs 2107")

    def test_a_strangers_receipt_is_quarantined(self, world):
        self.order(world)
        world.drain()
        row = world.customs.simulated.ledger.read("SELECT * FROM receipt")[0]
        number = submissions(world)[0].number
        strange = row["xml"].replace(number, "STRANGER1").replace(row["receipt_id"], "R9")
        with world.context.database.write() as session:
            arrival = inbox.receipt_arrival("R9", strange.encode(), "poll")
            inbox.store(session, [arrival], world.clock())
        applying.apply(world.context)
        with world.context.database.read() as session:
            quarantined = session.scalars(
                select(InboxMessage).where(InboxMessage.state == "quarantined")
            ).one()
        assert quarantined.reason == "unmatched"

    @pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
    def test_a_receipt_of_no_possible_time_keeps_no_other_one_back(self, world, day):
        self.order(world, "211014001", "211014002")
        ledger = world.customs.simulated.ledger
        world.customs.simulated.decide_due()
        with ledger.transaction() as db:
            first = db.execute("SELECT id, xml FROM receipt ORDER BY id").fetchone()
            bad = re.sub("<ManageTime>[-0-9]+", f"<ManageTime>{day}", first["xml"])
            db.execute(
                "INSERT INTO receipt (id, receipt_id, message_id, xml, offered_at)"
                " SELECT id - 100, receipt_id, message_id, ?, 0 FROM receipt WHERE id = ?",
                (bad, first["id"]),
            )
        world.drain()
        assert form(world, "211014001").state is FormState.VERIFIED
        world.assert_sound()

    def refuse_the_oldest(self, world):
        """PostgreSQL accepts nothing that the oldest receipt says."""
        with world.context.database.write() as session:
            session.execute(text(
                "CREATE FUNCTION out_of_range() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF NEW.inbox_id = (SELECT min(id) FROM inbox) THEN"
                " RAISE EXCEPTION 'out of range' USING ERRCODE = '22003'; END IF; RETURN NEW; END $$"
            ))  # fmt: skip
            session.execute(text(
                "CREATE TRIGGER refusing BEFORE INSERT ON receipt_line FOR EACH ROW"
                " EXECUTE FUNCTION out_of_range()"
            ))  # fmt: skip

    def test_a_receipt_that_the_database_does_not_accept_is_quarantined_alone(self, world):
        if world.context.database.engine.dialect.name != "postgresql":
            pytest.skip("SQLite accepts any value")
        self.order(world, "211014001")
        self.refuse_the_oldest(world)
        world.customs.simulated.decide_due()
        inbox.poll(world.context)
        strange = inbox.receipt_arrival("R9", b"no receipt", "poll")
        with world.context.database.write() as session:
            inbox.store(session, [strange], world.clock())
        while applying.apply(world.context):
            pass
        with world.context.database.read() as session:
            reasons = session.scalars(select(InboxMessage.reason).order_by(InboxMessage.id)).all()
        assert [reason.split(":")[0] for reason in reasons] == ["not accepted", "unreadable"]

    def test_of_two_workers_none_quarantines_the_receipt_after_the_bad_one(
        self, world, monkeypatch
    ):
        if world.context.database.engine.dialect.name != "postgresql":
            pytest.skip("SQLite accepts any value")
        bring_in(world, certificates=[*SAMPLE_CERTIFICATES, *map(agent_certificate, (1, 2))])
        rows = [(certificate_number("B", n), VERIFY, "", 1) for n in (1, 2)]
        confirm(world, upload(world, rows))
        self.refuse_the_oldest(world)
        really = applying._apply

        def after_another(context, only=None, not_accepted=""):
            if not_accepted:
                assert really(context, only, not_accepted) == 1  # the other worker's
            return really(context, only, not_accepted)

        monkeypatch.setattr(applying, "_apply", after_another)
        world.drain()
        with world.context.database.read() as session:
            states = session.scalars(select(InboxMessage.state).order_by(InboxMessage.id)).all()
        assert states == [InboxState.QUARANTINED, InboxState.APPLIED]

    def test_a_receipt_overtakes_the_answer(self, world):
        bring_in(world)
        batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 1)])
        confirm(world, batch_id)
        preparing.prepare(world.context, batch_id)
        signing.sign(world.context)
        (claimed,) = sending._claim(world.context, 10)
        world.context.gateway.start_send("t", claimed.message, float("inf"))
        outcomes = world.context.gateway.completed(1)
        world.customs.simulated.decide_due()
        inbox.poll(world.context)
        applying.apply(world.context)
        assert submissions(world)[0].state is SubmissionState.DECIDED
        sending._record_sent(world.context, [(claimed, outcomes[0][1])])
        assert submissions(world)[0].state is SubmissionState.DECIDED
        world.assert_sound()


def test_answers_of_a_run_that_broke_off_are_never_taken_for_later_ones(world):
    bring_in(world)
    confirm(world, upload(world, [(AGENT_HANDLED, VERIFY, "", 1)]))
    gateway = world.context.gateway
    from customs.gateway import SignedMessage

    gateway.start_send(("send", 1, 99), SignedMessage("X", b"x", "0" * 64), float("-inf"))
    world.drain()
    assert len(world.customs.effects()) == 1
    world.assert_sound()


@pytest.mark.parametrize(
    ("written", "said"), [("污损", {"02"}), ("其他:水渍 <2> 张", {"09", "水渍 <2> 张"})]
)
def test_the_reason_for_a_void_reaches_customs_as_the_clerk_wrote_it(world, written, said):
    bring_in(world)
    confirm(world, upload(world, [(AGENT_HANDLED, VOID, "211014001", "", "", written)]))
    world.drain()
    assert world.customs.effects() == {"211014001": "Z"}
    (sent,) = world.customs.messages()
    (head,) = etree.fromstring(sent).iterfind(".//{*}BlankCertHead")
    assert {e.text for e in head if etree.QName(e).localname.startswith("Reason")} == said


def test_forms_go_in_one_message_only_when_all_that_it_says_is_true_of_each(world):
    bring_in(world)
    orders = [
        (VERIFY, "211014001", "", ""),
        (VERIFY, "211013201", "出口商", ""),
        (VERIFY, "211014002", "", ""),
        (VOID, "211014003", "", "污损"),
        (VOID, "211014004", "", "其他:水渍"),
        (VOID, "211014005", "", "其他:折角"),
        (VOID, "211014006", "", "其他:水渍"),
    ]
    rows = [(AGENT_HANDLED, action, s, "", source, why) for action, s, source, why in orders]
    confirm(world, upload(world, rows))
    world.drain()
    said = set()
    for sent in world.customs.messages():
        message = etree.fromstring(sent)
        values = [
            message.findtext(f".//{{*}}{name}")
            for name in ("OperType", "StockOwner", "ReasonCode", "Reason", "PageQty")
        ]
        said.add((*values, *(e.text for e in message.iterfind(".//{*}SerialNo"))))
    assert said == {
        ("V", SENDER, None, None, "2", "211014001", "211014002"),
        ("V", EXPORTER, None, None, "1", "211013201"),
        ("Z", SENDER, "02", None, "1", "211014003"),
        ("Z", SENDER, "09", "水渍", "2", "211014004", "211014006"),
        ("Z", SENDER, "09", "折角", "1", "211014005"),
    }
    assert len(world.customs.effects()) == len(orders)
    world.assert_sound()


def test_each_step_rings_for_the_one_that_follows(world):
    """The bells of the normal path: without them all would still be done, a sweep later each."""
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 2)])

    def rung(step):
        world.rings.clear()
        step()
        return set(world.rings)

    assert rung(lambda: confirm(world, batch_id)) == {(Task.PREPARE, (batch_id,))}
    assert rung(lambda: preparing.prepare(world.context, batch_id)) == {
        (Task.SIGN, ()),
        (Task.PREPARE, (batch_id,)),
    }
    assert rung(lambda: preparing.prepare(world.context, batch_id)) == set()
    assert rung(lambda: signing.sign(world.context)) == {(Task.SEND, ())}
    assert rung(lambda: signing.sign(world.context)) == set()
    assert rung(lambda: sending.send(world.context)) == {(Task.SEND, ())}
    assert rung(lambda: sending.send(world.context)) == set()
    world.customs.simulated.decide_due()
    assert (Task.APPLY, ()) in rung(lambda: inbox.poll(world.context))
    assert rung(lambda: applying.apply(world.context)) == {(Task.REPORT, (batch_id,))}
    assert rung(lambda: applying.apply(world.context)) == set()


def test_every_ring_five_times_does_no_harm(world):
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 5), (SELF_HANDLED, VERIFY, "", 2)])
    confirm(world, batch_id)
    for step in (
        lambda: reserving.reserve(world.context, batch_id),
        lambda: preparing.prepare(world.context, batch_id),
        lambda: signing.sign(world.context),
        lambda: sending.send(world.context),
        world.customs.simulated.decide_due,
        lambda: inbox.poll(world.context),
        lambda: applying.apply(world.context),
    ):
        for _ in range(5):
            step()
    assert len(world.customs.effects()) == 7
    assert batch(world, batch_id).state is BatchState.FINISHED
    world.assert_sound()


def test_the_history_of_a_form_tells_every_move_with_its_cause(world):
    bring_in(world)
    confirm(world, upload(world, [(AGENT_HANDLED, VERIFY, "211014001")]))
    world.drain()
    with world.context.database.read() as session:
        events = session.execute(
            select(FormEvent.to_state, FormEvent.cause)
            .join(Form, Form.id == FormEvent.form_id)
            .where(Form.serial == "211014001")
            .order_by(FormEvent.id)
        ).all()
    assert [tuple(e) for e in events] == [
        ("issued", "issue:sheet"),
        ("reserved", "reserve"),
        ("verify_submitted", "send"),
        ("verified", "receipt"),
    ]


def test_two_hundred_certificates_go_through_in_one_batch(world):
    certificates = [agent_certificate(n) for n in range(1, 201)]
    bring_in(world, [issued(SENDER, "B", "211014001", 500)], certificates)
    rows = [(certificate_number("B", n), VERIFY, "", 1 + n % 3) for n in range(1, 201)]
    batch_id = upload(world, rows)
    confirm(world, batch_id)
    world.drain()
    with world.context.database.read() as session:
        counts = batch_counts(session, batch_id)
    assert counts.forms == {FormState.VERIFIED: sum(1 + n % 3 for n in range(1, 201))}
    world.assert_sound()


def test_reading_the_same_file_again_gives_the_same_batch(world):
    bring_in(world)
    content = sheet([(AGENT_HANDLED, VERIFY, "", 1)])
    first = intake.receive_sheet(world.context, content, "a.csv", PagesMode.ADDITIONAL)
    planning.check(world.context, first)
    assert intake.receive_sheet(world.context, content, "b.csv", PagesMode.ADDITIONAL) == first

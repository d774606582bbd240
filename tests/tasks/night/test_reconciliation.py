"""The night: every class found and none invented, the repair does the default action, once."""

from __future__ import annotations

from collections import defaultdict

import pytest
from sqlalchemy import select

from models.rules.calendar import business_date
from models.rules.differences import DifferenceClass
from models.rules.errors import PersonNeeded, ReasonNeeded, SecondPersonNeeded
from models.rules.people import Role, Scope
from models.rules.serials import serials_between
from models.rules.states import BatchState, FormState, RepairState
from models.tables.batches import Batch
from models.tables.discrepancies import Discrepancy
from models.tables.forms import FormEvent
from models.tables.reconciliation import Repair, Run
from tasks.messages import preparing, sending, signing
from tasks.night import reconciliation, repairing
from tasks.night.repair_actions import Order
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload
from tests.support.nights import FIRST, SECOND, differences, form, night
from tests.support.persons import by_key, turn_on
from tests.support.planted_night import BY_HAND, EXPECTED, PRINTED, plant


def serials_by_class(found):
    by_class = defaultdict(set)
    for d in found:
        named = serials_between(d.first_serial, d.last_serial) if d.first_serial else []
        by_class[d.kind] |= set(named)
    return dict(by_class)


def test_a_night_with_every_class_finds_exactly_what_was_planted(world):
    planted_on = business_date(world.clock())
    plant(world)
    found = differences(world, night(world))
    assert serials_by_class(found) == EXPECTED
    by_class = {d.kind: d for d in found}
    assert by_class[DifferenceClass.NEW_STOCK].form_count == 10
    assert by_class[DifferenceClass.PRINTED_NOT_VERIFIED].certificate == PRINTED
    assert by_class[DifferenceClass.PRINTED_NOT_VERIFIED].age_days == 3
    days = (business_date(world.clock()) - planted_on).days  # two in the hour before midnight
    assert by_class[DifferenceClass.LAGGING].age_days == days
    assert len([d for d in found if d.kind is DifferenceClass.UNMATCHED_RECEIPT]) == 1


def test_a_report_counts_the_differences_of_its_own_night(world):
    plant(world)
    for days in (0, 1):
        world.clock.forward(days=days)
        run_id = night(world)
        expected = defaultdict(lambda: {"differences": 0, "forms": 0, "oldest_days": None})
        for d in differences(world, run_id):
            of_kind = expected[d.kind.value]
            of_kind["differences"] += 1
            of_kind["forms"] += d.form_count
            if d.age_days is not None:
                of_kind["oldest_days"] = max(d.age_days, of_kind["oldest_days"] or 0)
        with world.context.database.read() as session:
            assert session.get_one(Run, run_id).counts == expected


def test_what_lags_is_ended_by_its_receipt_when_there_is_one(world):
    """What customs' list alone says would be final outside us."""
    bring_in(world)
    batch_id = upload(world, [[AGENT_HANDLED, "核销", "211014001"]])
    confirm(world, batch_id)
    preparing.prepare(world.context, batch_id)
    signing.sign(world.context)
    sending.send(world.context)
    world.customs.simulated.decide_due()
    world.clock.forward(hours=2)
    run_id = night(world)
    kinds = [DifferenceClass.LAGGING]
    done = repairing.repair(world.context, run_id, kinds, FIRST)
    assert done == {DifferenceClass.LAGGING: {RepairState.SETTLED: 1}}
    decided = form(world, "211014001")
    assert (decided.state, decided.outside) == (FormState.VERIFIED, False)
    world.assert_sound()


def test_the_repair_does_the_default_actions_and_the_invariants_hold(world):
    plant(world)
    run_id = night(world)
    before = [(d.kind, d.first_serial, d.customs_state) for d in differences(world, run_id)]
    done = repairing.repair(world.context, run_id, [], FIRST)
    assert done[DifferenceClass.CONTRADICTION] == {RepairState.PROPOSED: 1}
    assert form(world, "211014001").state is FormState.VERIFIED
    by_hand = form(world, "211014030")
    assert (by_hand.state, by_hand.certificate, by_hand.outside) == (
        FormState.VERIFIED,
        BY_HAND,
        True,
    )
    assert form(world, "211014031").state is FormState.VOIDED
    assert form(world, "211014039").hold
    assert form(world, "211014045").state is FormState.ISSUED
    assert form(world, "211014004").state is FormState.ISSUED
    assert form(world, "211014002").hold is None
    with world.context.database.read() as session:
        batch = session.scalars(select(Batch).order_by(Batch.id.desc())).first()
        assert (batch.state, batch.row_count) == (BatchState.CHECKED, 1)
        assert (
            session.scalars(select(Discrepancy).where(Discrepancy.kind == "unaccounted"))
            .one()
            .serial
            == "211013012"
        )
    world.assert_sound()
    after = [(d.kind, d.first_serial, d.customs_state) for d in differences(world, run_id)]
    assert after == before  # the report is frozen


def test_a_contradiction_is_held_when_two_different_persons_want_it(world):
    plant(world)
    run_id = night(world)
    kinds = [DifferenceClass.CONTRADICTION]
    with pytest.raises(ReasonNeeded):
        repairing.repair(world.context, run_id, kinds, Order("张三"))
    repairing.repair(world.context, run_id, kinds, FIRST)
    with pytest.raises(SecondPersonNeeded):
        repairing.repair(world.context, run_id, kinds, Order("张三", approve=True))
    assert form(world, "211014002").hold is None
    done = repairing.repair(world.context, run_id, kinds, SECOND)
    assert done == {DifferenceClass.CONTRADICTION: {RepairState.DONE: 1}}
    held = form(world, "211014002")
    assert (held.state, bool(held.hold)) == (FormState.VERIFIED, True)
    with world.context.database.read() as session:
        event = session.scalars(
            select(FormEvent).where(FormEvent.form_id == held.id).order_by(FormEvent.id.desc())
        ).first()
        assert event.cause == "contradiction"
        assert "张三 + 李四" in event.reason
        repair = session.scalars(select(Repair).where(Repair.approved_by.is_not(None))).one()
        assert (repair.by, repair.approved_by) == ("张三", "李四")
    world.assert_sound()


def test_nobody_approves_a_contradiction_that_nobody_has_proposed(world):
    plant(world)
    run_id = night(world)
    kinds = [DifferenceClass.CONTRADICTION]
    done = repairing.repair(world.context, run_id, kinds, SECOND)
    assert done == {DifferenceClass.CONTRADICTION: {}}
    assert form(world, "211014002").hold is None
    with world.context.database.read() as session:
        assert session.scalars(select(Repair)).all() == []
    repairing.repair(world.context, run_id, kinds, FIRST)
    assert repairing.repair(world.context, run_id, kinds, SECOND) == {
        DifferenceClass.CONTRADICTION: {RepairState.DONE: 1}
    }
    assert form(world, "211014002").hold


def test_once_the_rules_are_on_both_who_repair_a_contradiction_are_known(world):
    plant(world)
    run_id = night(world)
    kinds = [DifferenceClass.CONTRADICTION]
    both = (Role.MAKER, Role.CHECKER)
    scopes = (Scope.SUBMIT, Scope.ENDORSE)
    first, second = (by_key(world, login, *scopes, roles=both) for login in ("zhang", "li"))
    nobody = world.context.actor
    turn_on(world)
    with pytest.raises(PersonNeeded):
        repairing.repair(world.context, run_id, kinds, FIRST)
    world.context.actor = first
    repairing.repair(world.context, run_id, kinds, Order(first.name, "看过"))
    world.context.actor = nobody
    with pytest.raises(PersonNeeded):
        repairing.repair(world.context, run_id, kinds, SECOND)
    world.context.actor = first
    with pytest.raises(SecondPersonNeeded):
        repairing.repair(world.context, run_id, kinds, Order(first.name, approve=True))
    world.context.actor = second
    done = repairing.repair(world.context, run_id, kinds, Order(second.name, approve=True))
    assert done == {DifferenceClass.CONTRADICTION: {RepairState.DONE: 1}}
    world.assert_sound()


def test_a_second_run_of_the_same_date_changes_nothing(world):
    plant(world)
    run_id = night(world)
    repairing.repair(world.context, run_id, [], FIRST)
    with world.context.database.read() as session:
        frozen = session.get_one(Run, run_id)
        before = (frozen.finished_at, frozen.counts)
    assert reconciliation.open_run(world.context) == run_id
    assert reconciliation.reconcile(world.context, run_id) is None
    with world.context.database.read() as session:
        again = session.get_one(Run, run_id)
        assert (again.finished_at, again.counts) == before
        assert len(session.scalars(select(Run)).all()) == 1


def test_the_night_after_the_repair_has_only_what_is_left_to_persons(world):
    plant(world)
    repairing.repair(world.context, night(world), [], FIRST)
    world.clock.forward(days=1)
    left = {d.kind for d in differences(world, night(world))}
    assert left == {
        DifferenceClass.CONTRADICTION,
        DifferenceClass.NO_ANSWER,
        DifferenceClass.UNKNOWN_AT_CUSTOMS,
        DifferenceClass.UNMATCHED_RECEIPT,
        DifferenceClass.PRINTED_NOT_VERIFIED,
        DifferenceClass.UNACCOUNTED,
    }

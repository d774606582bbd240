"""A second pair of eyes: what the rules touch waits, and is carried out exactly as it was endorsed."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from models.reads.endorsements import known_rules, list_endorsements
from models.reads.people import list_acts, list_keys, list_persons
from models.rules.errors import (
    AnotherPersonNeeded,
    BatchBusy,
    BlankformsError,
    DatabaseRestored,
    EndorsementDecided,
    KeyRefused,
    NoSecondPersons,
    NotAllowed,
    PersonNeeded,
    PlanMoved,
)  # fmt: skip
from models.rules.people import Actor, Channel, Deed, Role, Scope
from models.rules.states import BatchState, FormState, PagesMode
from models.rules.two_persons import EndorsementState, OrderFacts, Rule, Rules, touched
from models.tables.batches import Batch
from models.tables.endorsements import Endorsement
from models.tables.forms import Form
from models.writes.people import disable_person, give_roles
from tasks.orders import confirming, intake, planning, releasing, stepwise
from tasks.people import endorsing, grace, keys, persons, rules
from tasks.stock import custody
from tasks.stock.imports import store_certificates
from tests.support.factories import (
    AGENT_HANDLED,
    agent_certificate,
    bring_in,
    confirm,
    sheet,
    upload,
)  # fmt: skip
from tests.support.persons import by_key, person

ROOT = Actor("root", Channel.COMMAND)
VOIDS = [[AGENT_HANDLED, "作废", f"21101400{n}", "", "", "01"] for n in range(1, 4)]
ON = Rules(on=True, voids_per_batch=2)


def facts(**given):
    nothing = OrderFacts(0, 0, frozenset(), again=False, beyond_pages=False)
    return replace(nothing, **given)


@pytest.mark.parametrize(
    ("order", "asked"),
    [
        (facts(), ()),
        (facts(voids=10), ()),
        (facts(voids=11), (Rule.VOIDS_PER_BATCH,)),
        (facts(voids=1, voids_today=49), ()),
        (facts(voids=1, voids_today=50), (Rule.VOIDS_PER_DAY,)),
        (facts(voids=0, voids_today=500), ()),
        (facts(voids=1, reasons=frozenset({"01"})), ()),
        (facts(voids=1, reasons=frozenset({"01", "04"})), (Rule.REASONS,)),
        (facts(again=True), (Rule.AGAIN,)),
        (facts(beyond_pages=True), (Rule.BEYOND_PAGES,)),
    ],
)
def test_what_the_rules_of_a_new_deployment_touch_once_they_are_on(order, asked):
    assert touched(Rules(on=True), order) == asked
    assert touched(Rules(on=False), order) == ()


@pytest.fixture
def office(world):
    """Rules on, a maker and two who may endorse; whoever acts is set by the test."""
    bring_in(world)
    world.maker = by_key(world, "zhang", Scope.SUBMIT, Scope.CANCEL)
    both = (Role.MAKER, Role.CHECKER)
    scopes = (Scope.SUBMIT, Scope.ENDORSE)
    world.checker = by_key(world, "li", *scopes, roles=both)
    world.other = by_key(world, "zhao", *scopes, roles=both)
    world.chief = by_key(world, "chief", Scope.READ, roles=(Role.ADMINISTRATOR,))
    rules.set_rules(world.context, ON)
    world.context.actor = world.maker
    return world


def asked(world, batch_id):
    """The number of the request that waits for this batch."""
    with world.context.database.read() as session:
        return next(e["id"] for e in list_endorsements(session) if e["batch"] == batch_id)


def state(world, batch_id):
    with world.context.database.read() as session:
        return session.get_one(Batch, batch_id).state


def endorsement(world, number):
    with world.context.database.read() as session:
        return session.get_one(Endorsement, number).state


def forms(world):
    with world.context.database.read() as session:
        serials = [row[2] for row in VOIDS]
        return set(session.scalars(select(Form.state).where(Form.serial.in_(serials))))


def waiting(world, rows=VOIDS):
    """A confirmed batch that waits, and its request."""
    batch_id = upload(world, rows)
    assert confirm(world, batch_id) is False
    return batch_id, asked(world, batch_id)


def test_the_wrong_void_is_rejected_then_endorsed_and_taken_back_within_the_grace(office):
    office.context.actor = ROOT
    grace.set_grace(office.context, 10, 30)
    office.context.actor = office.maker
    batch_id, number = waiting(office)
    office.drain()
    assert (state(office, batch_id), forms(office)) == (BatchState.AWAITING, {FormState.ISSUED})
    office.context.actor = office.checker
    endorsing.reject(office.context, number, "看错证书")
    assert state(office, batch_id) is BatchState.CHECKED
    office.context.actor = office.maker
    confirm(office, batch_id)
    again = asked(office, batch_id)
    office.context.actor = office.checker
    endorsing.endorse(office.context, again)
    office.drain()
    assert forms(office) == {FormState.RESERVED}
    office.context.actor = office.maker
    done = releasing.cancel(office.context, batch_id)
    assert (done.released, done.at_customs) == (3, 0)
    office.clock.forward(hours=1)
    office.drain()
    assert office.customs.messages() == []
    assert forms(office) == {FormState.ISSUED}
    office.assert_sound()


def test_what_was_endorsed_is_carried_out(office):
    _, number = waiting(office)
    office.context.actor = office.checker
    endorsing.endorse(office.context, number)
    office.drain()
    assert forms(office) == {FormState.VOIDED}
    assert endorsement(office, number) is EndorsementState.ENDORSED
    office.assert_sound()


def test_a_yes_that_another_is_to_endorse_is_about_the_plan_that_was_shown(office):
    batch_id = upload(office, VOIDS)
    with pytest.raises(PlanMoved):
        confirm(office, batch_id, plan="0" * 16)
    assert state(office, batch_id) is BatchState.CHECKED
    with office.context.database.read() as session:
        shown = session.get_one(Batch, batch_id).plan
    assert confirm(office, batch_id, plan=shown) is False
    assert state(office, batch_id) is BatchState.AWAITING


@pytest.mark.parametrize(
    "changed", [{"expected_plan": "0" * 16}, {"state": BatchState.CHECKED}], ids=str
)
def test_a_plan_that_its_batch_does_not_wait_with_is_not_carried_out(office, changed):
    batch_id, number = waiting(office)
    with office.context.database.write() as session:
        session.execute(update(Batch).where(Batch.id == batch_id).values(changed))
    office.context.actor = office.checker
    with pytest.raises(EndorsementDecided):
        endorsing.endorse(office.context, number)
    assert forms(office) == {FormState.ISSUED}


def test_nothing_is_endorsed_in_a_database_that_was_restored(office):
    batch_id, number = waiting(office)
    office.context.journal.mark_restored(office.clock())
    office.context.actor = office.checker
    with pytest.raises(DatabaseRestored):
        endorsing.endorse(office.context, number)
    assert state(office, batch_id) is BatchState.AWAITING
    assert endorsement(office, number) is EndorsementState.WAITING


def test_an_order_that_no_rule_touches_goes_on_at_once_though_nobody_is_known(office):
    office.context.actor = ROOT
    batch_id = upload(office, VOIDS[:2])
    assert confirm(office, batch_id) is True
    office.drain()
    assert state(office, batch_id) is BatchState.FINISHED


def test_what_a_rule_touches_is_confirmed_by_a_known_person_alone(office):
    office.context.actor = ROOT
    batch_id = upload(office, VOIDS)
    with pytest.raises(PersonNeeded):
        confirm(office, batch_id)
    assert state(office, batch_id) is BatchState.CHECKED


def test_voids_of_a_day_add_up_for_each_person_and_begin_anew_tomorrow(office):
    office.context.actor = ROOT
    with office.context.database.write() as session:
        session.execute(text("DELETE FROM rules_version"))
    rules.set_rules(office.context, Rules(on=True, voids_per_day=2))
    office.context.actor = office.maker
    assert confirm(office, upload(office, VOIDS[:2])) is True
    assert confirm(office, upload(office, VOIDS[2:], name="2.csv")) is False
    office.context.actor = office.other
    other = [[AGENT_HANDLED, "作废", "211014004", "", "", "01"]]
    assert confirm(office, upload(office, other, name="3.csv")) is True
    office.context.actor = office.maker
    office.clock.forward(days=1)
    more = [[AGENT_HANDLED, "作废", "211014005", "", "", "01"]]
    assert confirm(office, upload(office, more, name="4.csv")) is True


def test_voids_that_come_right_behind_the_look_of_the_rules_are_not_carried_out(office):
    unknown = agent_certificate(77)
    rows = [[AGENT_HANDLED, "作废", "211014001", "", "", "01"]]
    rows += [[unknown.number, "作废", f"21101400{n}", "", "", "01"] for n in (2, 3)]
    batch_id = upload(office, rows)
    store_certificates(office.context, [unknown])
    with pytest.raises(PlanMoved):
        confirm(office, batch_id)
    assert confirm(office, batch_id) is False, "three voids, as they are now"


class TestTheSecondPerson:
    @pytest.mark.parametrize("who", ["maker", "account", "an administrator", "no scope"])
    def test_is_never_the_maker_and_always_a_known_checker(self, office, who):
        batch_id, number = waiting(office)
        office.context.actor = ROOT
        office.context.actor = {
            "maker": lambda: replace(office.maker, roles=frozenset(Role), scopes=None),
            "account": lambda: ROOT,
            "an administrator": lambda: by_key(
                office, "chief", Scope.ENDORSE, roles=(Role.ADMINISTRATOR,)
            ),
            "no scope": lambda: by_key(office, "li", Scope.SUBMIT),
        }[who]()
        for deed in (
            lambda: endorsing.endorse(office.context, number),
            lambda: endorsing.reject(office.context, number, "x"),
        ):
            with pytest.raises((AnotherPersonNeeded, NotAllowed)):
                deed()
        assert state(office, batch_id) is BatchState.AWAITING

    def test_who_brought_the_sheet_does_not_endorse_what_another_confirmed(self, office):
        office.context.actor = office.checker
        batch_id = upload(office, VOIDS)
        office.context.actor = office.maker
        confirm(office, batch_id)
        office.context.actor = office.checker
        with pytest.raises(AnotherPersonNeeded):
            endorsing.endorse(office.context, asked(office, batch_id))

    def test_is_another_for_the_database_too(self, office):
        _, number = waiting(office)
        with pytest.raises(IntegrityError), office.context.database.write() as session:
            session.execute(
                text("UPDATE endorsement SET decided_by_id = asked_by_id WHERE id = :i"),
                {"i": number},
            )


def test_a_plan_that_has_moved_is_not_carried_out_and_its_endorsement_is_void(office):
    batch_id, number = waiting(office)
    office.context.actor = ROOT
    taken = upload(office, [[AGENT_HANDLED, "核销", "211014001"]], name="other.csv")
    confirm(office, taken)
    office.context.actor = office.checker
    with pytest.raises(PlanMoved):
        endorsing.endorse(office.context, number)
    assert state(office, batch_id) is BatchState.CHECKED
    assert endorsement(office, number) is EndorsementState.MOVED
    office.drain()
    office.assert_sound()


def test_what_waits_too_long_expires_and_can_be_confirmed_anew(office):
    batch_id, number = waiting(office)
    office.clock.forward(hours=24.1)
    office.drain()
    assert state(office, batch_id) is BatchState.CHECKED
    assert endorsement(office, number) is EndorsementState.EXPIRED
    office.context.actor = office.checker
    with pytest.raises(EndorsementDecided):
        endorsing.endorse(office.context, number)
    office.context.actor = office.maker
    assert confirm(office, batch_id) is False


def test_the_maker_takes_back_what_waits(office):
    batch_id, number = waiting(office)
    releasing.cancel(office.context, batch_id)
    assert endorsement(office, number) is EndorsementState.WITHDRAWN
    assert state(office, batch_id) is BatchState.CANCELLED
    office.assert_sound()


@pytest.mark.parametrize("round_", range(3))
def test_endorse_twice_reject_cancel_and_expire_at_once_have_one_effect(office, round_):
    batch_id, number = waiting(office)
    actors = (office.checker, office.other, office.checker, office.maker, ROOT)
    contexts = [replace(office.context, actor=actor) for actor in actors]
    late = replace(contexts[4], now=lambda: office.clock() + timedelta(hours=25))
    jobs = (
        lambda: endorsing.endorse(contexts[0], number),
        lambda: endorsing.endorse(contexts[1], number),
        lambda: endorsing.reject(contexts[2], number, "x"),
        lambda: releasing.cancel(contexts[3], batch_id),
        lambda: endorsing.expire(late),
    )
    unexpected = []

    def run(job):
        try:
            job()
        except BlankformsError:
            pass
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert unexpected == []
    assert endorsement(office, number) is not EndorsementState.WAITING
    office.drain()
    office.assert_sound()


class TestTheRules:
    def test_are_turned_on_only_with_two_who_may_endorse(self, world):
        person(world, "li", Role.CHECKER)
        with pytest.raises(NoSecondPersons):
            rules.set_rules(world.context, ON)
        person(world, "zhao", Role.CHECKER)
        assert rules.set_rules(world.context, ON) is None

    def test_once_on_change_only_with_a_second_person(self, office):
        office.context.actor = ROOT
        with pytest.raises(PersonNeeded):
            rules.set_rules(office.context, Rules(on=False))
        office.context.actor = office.chief
        number = rules.set_rules(office.context, Rules(on=False))
        with office.context.database.read() as session:
            assert known_rules(session)[1].on
        office.context.actor = office.checker
        endorsing.endorse(office.context, number)
        with office.context.database.read() as session:
            assert not known_rules(session)[1].on
            deeds = [a["deed"] for a in list_acts(session, 100) if a["about"] == "rules"]
        assert deeds == [Deed.ENDORSED, Deed.RULES_ASKED, Deed.RULES_SET]

    def test_stay_on_though_nobody_is_left_who_may_endorse(self, office):
        office.context.actor = ROOT
        with office.context.database.write() as session:
            for login in ("li", "zhao"):
                disable_person(session, login, office.clock())
        office.context.actor = office.maker
        batch_id, _ = waiting(office)
        office.drain()
        assert state(office, batch_id) is BatchState.AWAITING


def by_key_of_administrator(world):
    """An administrator as a page knows them: no key makes rules."""
    key = by_key(replace_actor(world, ROOT), "chief", Scope.READ, roles=(Role.ADMINISTRATOR,))
    return replace(key, channel=Channel.PAGE, scopes=None)


def replace_actor(world, actor):
    world.context.actor = actor
    return world


def test_the_same_once_more_needs_a_second_person(office):
    rows = [[AGENT_HANDLED, "核销", "211014001"]]
    first = upload(office, rows)
    assert confirm(office, first) is True
    office.drain()
    second = upload(office, rows)
    planning.check(office.context, second, planning.Lift(again="重新打印"))
    said = confirming.Confirmation(again=True)
    try:
        goes_on = confirming.confirm(office.context, second, said)
    except BlankformsError as refusal:
        pytest.fail(f"{refusal.code}")
    assert goes_on is False


class TestNobodyGetsAround:
    """Ways past the rules that a reviewer found."""

    def test_a_check_that_is_going_on_or_was_broken_off(self, office, monkeypatch):
        batch_id = upload(office, VOIDS)
        monkeypatch.setattr("tasks.orders.stepwise.AT_ONCE", 1)
        going_on = stepwise.step_by_step(office.context, batch_id, [BatchState.CHECKED])
        with going_on, pytest.raises(BatchBusy):
            confirm(office, batch_id)

        def broken(steps, batch):
            raise KeyboardInterrupt

        really = planning.make_plan
        monkeypatch.setattr(planning, "make_plan", broken)
        with pytest.raises(KeyboardInterrupt):
            planning.check(office.context, batch_id)
        with pytest.raises(BatchBusy):
            confirm(office, batch_id)
        monkeypatch.setattr(planning, "make_plan", really)
        planning.check(office.context, batch_id)
        assert confirm(office, batch_id) is False

    def test_a_check_that_ends_after_the_yes_changes_nothing(self, office, monkeypatch):
        batch_id = upload(office, VOIDS)
        monkeypatch.setattr("tasks.orders.stepwise.AT_ONCE", 1)
        really = planning.make_plan

        def slow(steps, batch):
            plan = really(steps, batch)
            with office.context.database.write() as session:
                session.get_one(Batch, batch_id).state = BatchState.AWAITING
            return plan

        monkeypatch.setattr(planning, "make_plan", slow)
        assert planning.check(office.context, batch_id) is None
        assert state(office, batch_id) is BatchState.AWAITING

    def test_two_batches_confirmed_at_once_on_one_day(self, office):
        office.context.actor = ROOT
        with office.context.database.write() as session:
            session.execute(text("DELETE FROM rules_version"))
        rules.set_rules(office.context, Rules(on=True, voids_per_day=2))
        office.context.actor = office.maker
        batches = [upload(office, VOIDS[:2]), upload(office, VOIDS[2:], name="2.csv")]
        goes_on = {}
        threads = [
            threading.Thread(target=lambda b=b: goes_on.update({b: confirm(office, b)}))
            for b in batches
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(goes_on.values()) == [False, True]

    def test_the_same_person_by_account_and_by_key(self, office):
        office.context.actor = ROOT
        with office.context.database.write() as session:
            session.execute(text("DELETE FROM rules_version"))
        rules.set_rules(office.context, Rules(on=True, voids_per_day=2))
        assert confirm(office, upload(office, VOIDS[:2])) is True
        office.context.actor = office.maker
        assert confirm(office, upload(office, VOIDS[2:], name="2.csv")) is False

    def test_the_same_sheet_read_otherwise(self, office):
        content = sheet([[AGENT_HANDLED, "核销", "", 1]])
        first = intake.receive_sheet(office.context, content, "a.csv", PagesMode.ADDITIONAL)
        planning.check(office.context, first)
        assert confirm(office, first) is True
        office.drain()
        second = intake.receive_sheet(office.context, content, "a.csv", PagesMode.TOP_UP)
        planning.check(office.context, second, planning.Lift("again", "beyond"))
        assert confirm(office, second) is False

    def test_an_endorsement_after_its_hours(self, office):
        _, number = waiting(office)
        office.clock.forward(hours=25)
        office.context.actor = office.checker
        with pytest.raises(EndorsementDecided):
            endorsing.endorse(office.context, number)

    @pytest.mark.parametrize("how", ["disabled", "another role", "key revoked"])
    def test_a_checker_who_is_none_any_more(self, office, how):
        _, number = waiting(office)
        office.context.actor = ROOT
        if how == "disabled":
            with office.context.database.write() as session:
                disable_person(session, "li", office.clock())
        elif how == "another role":
            with office.context.database.write() as session:
                give_roles(session, "li", [Role.MAKER])
        else:
            with office.context.database.read() as session:
                of_li = [k["key"] for k in list_keys(session) if k["owner"] == "li"]
            for key in of_li:
                keys.revoke_key(office.context, key)
        office.context.actor = office.checker
        with pytest.raises((KeyRefused, NotAllowed)):
            endorsing.endorse(office.context, number)

    def test_a_change_of_rules_that_was_asked_before_another_one_held(self, office):
        office.context.actor = by_key_of_administrator(office)
        first = rules.set_rules(office.context, replace(ON, hours=48))
        second = rules.set_rules(office.context, replace(ON, voids_per_batch=0))
        office.context.actor = office.checker
        endorsing.endorse(office.context, second)
        with pytest.raises(EndorsementDecided):
            endorsing.endorse(office.context, first)
        assert endorsement(office, first) is EndorsementState.MOVED
        with office.context.database.read() as session:
            assert known_rules(session)[1] == replace(ON, voids_per_batch=0)


class TestChanges:
    """What else than an order takes two persons, once the rules are on."""

    def persons(self, office):
        with office.context.database.read() as session:
            return {p["login"]: p for p in list_persons(session)}

    CHANGES = {  # noqa: RUF012 - a table
        "a new person": (
            lambda c: persons.add_person(c, "new", "新人", [Role.CHECKER]),
            lambda p: p.get("new", {}).get("roles") == ["checker"],
        ),
        "other roles": (
            lambda c: persons.set_roles(c, "zhang", [Role.CHECKER]),
            lambda p: p["zhang"]["roles"] == ["checker"],
        ),
        "a checker disabled": (
            lambda c: persons.set_disabled(c, "zhao", disabled=True),
            lambda p: p["zhao"]["disabled"],
        ),
    }

    @pytest.mark.parametrize("change", CHANGES)
    def test_of_persons_waits_and_is_made_as_it_was_said(self, office, change):
        do, done = self.CHANGES[change]
        office.context.actor = ROOT
        with pytest.raises(PersonNeeded):
            do(office.context)
        office.context.actor = office.chief
        number = do(office.context)
        assert number is not None
        assert not done(self.persons(office))
        with pytest.raises((NotAllowed, AnotherPersonNeeded)):
            endorsing.endorse(office.context, number)
        office.context.actor = office.checker
        endorsing.endorse(office.context, number)
        assert done(self.persons(office))
        with pytest.raises(EndorsementDecided):
            endorsing.endorse(office.context, number)

    def test_who_may_not_endorse_is_stopped_at_once(self, office):
        office.context.actor = office.chief
        assert persons.set_disabled(office.context, "zhang", disabled=True) is None
        assert self.persons(office)["zhang"]["disabled"]

    def test_a_login_that_was_taken_meanwhile_makes_nothing(self, office):
        office.context.actor = office.chief
        first = persons.add_person(office.context, "new", "甲", [Role.MAKER])
        second = persons.add_person(office.context, "new", "乙", [Role.CHECKER])
        office.context.actor = office.checker
        endorsing.endorse(office.context, first)
        with pytest.raises(EndorsementDecided):
            endorsing.endorse(office.context, second)
        assert self.persons(office)["new"]["name"] == "甲"

    def test_a_lost_form_that_was_found_waits_and_a_held_one_does_not(self, office):
        office.context.actor = ROOT
        custody.lose(office.context, ["211014001"], None, "遗失")
        custody.hold(office.context, ["211014002"], None, "破损")
        maker = by_key(office, "zhang", Scope.STOCK)
        office.context.actor = maker
        assert custody.release(office.context, ["211014002"], None, "可用").changed
        waits = custody.release(office.context, ["211014001"], None, "找到")
        assert (waits.changed, waits.request is not None) == ([], True)
        with office.context.database.read() as session:
            assert session.scalar(select(Form.lost_at).where(Form.serial == "211014001"))
        office.context.actor = office.checker
        endorsing.endorse(office.context, waits.request)
        with office.context.database.read() as session:
            form = session.scalars(select(Form).where(Form.serial == "211014001")).one()
            assert (form.lost_at, form.hold) == (None, None)
        office.assert_sound()

    def test_while_the_rules_are_off_nothing_waits(self, world):
        bring_in(world)
        assert persons.add_person(world.context, "new", "新人", [Role.CHECKER]) is None
        assert persons.set_disabled(world.context, "new", disabled=True) is None

"""The guards of two persons and of repeated calls, each taken away: what the referee looks at must show it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from models.reads.endorsements import list_endorsements
from models.reads.invariants import broken_invariants
from models.rules.people import Role, Scope
from models.rules.two_persons import Rules
from models.tables.people import CallOnce
from models.writes.calls import MadeBefore
from tasks.orders import confirming, intake, reserving
from tasks.people import endorsing, rules
from tests.support.factories import AGENT_HANDLED, bring_in, upload
from tests.support.persons import by_key
from tests.support.programs import program

VOIDS = [[AGENT_HANDLED, "作废", f"21101400{n}", "", "", "01"] for n in range(1, 4)]
PAGES = [[AGENT_HANDLED, "核销", "", 2]]


@pytest.fixture
def office(world):
    bring_in(world)
    both = (Role.MAKER, Role.CHECKER)
    world.maker = by_key(world, "zhang", Scope.SUBMIT, Scope.ENDORSE, roles=both)
    world.checker = by_key(world, "li", Scope.ENDORSE, roles=both)
    rules.set_rules(world.context, Rules(on=True, voids_per_batch=2))
    world.context.actor = world.maker
    return world


def asked_for(world, batch_id):
    confirming.confirm(world.context, batch_id, confirming.Confirmation())
    with world.context.database.read() as session:
        return next(e["id"] for e in list_endorsements(session) if e["batch"] == batch_id)


def broken(world):
    with world.context.database.read() as session:
        return set(broken_invariants(session))


def test_a_maker_who_may_endorse_is_seen(office, monkeypatch):
    """The function and the CHECK: each would do."""
    number = asked_for(office, upload(office, VOIDS))
    monkeypatch.setattr(endorsing, "require_another", lambda makers, checker: None)
    with office.context.database.write() as session:
        if session.get_bind().dialect.name == "sqlite":
            session.execute(text("PRAGMA ignore_check_constraints = ON"))
        else:
            session.execute(
                text("ALTER TABLE endorsement DROP CONSTRAINT ck_endorsement_two_persons")
            )
    assert not any(key.startswith("14a") for key in broken(office))
    endorsing.endorse(office.context, number)
    assert any(key.startswith("14a") for key in broken(office))


def test_a_plan_that_is_not_compared_is_seen(office, monkeypatch):
    """Somebody was quicker; another plan than the endorsed one would be carried out."""
    voids = [[AGENT_HANDLED, "作废", f"21101400{n}", "", "", "01"] for n in range(1, 4)]
    batch_id = upload(office, [*voids, *PAGES])
    number = asked_for(office, batch_id)
    quicker = upload(office, [[AGENT_HANDLED, "核销", "211014004"]], name="other.csv")
    confirming.confirm(office.context, quicker, confirming.Confirmation())
    office.context.actor = office.checker
    monkeypatch.setattr(reserving, "_refusal", lambda session, batch, plan: None)
    endorsing.endorse(office.context, number)
    assert any(key.startswith("14b") for key in broken(office))


def test_a_key_that_is_kept_after_the_batch_is_seen(world, monkeypatch):
    """Kept in a transaction of its own, behind what it stands for: calls that meet order twice."""
    bring_in(world)
    erp = program(world)

    def look(session, once, at):
        known = session.get(CallOnce, (once.person_id, once.key))
        if known is not None:
            raise MadeBefore(known.made, known.made_id)

    late = []
    monkeypatch.setattr(intake, "begin_once", look)
    monkeypatch.setattr(intake, "made_once", lambda session, once, made, i: late.append((once, i)))
    order = {"certificate": AGENT_HANDLED, "action": "verify", "serials": ["211014001"]}
    application = erp.client.application

    def bring(_):
        caller = type(erp)(application.test_client(), erp.key)
        return caller.post("/jobs", json={"orders": [order]}, once="k").json["id"]

    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(bring, range(4)))
    assert len(made) > 1, "the test of sixteen calls under one key would not notice"

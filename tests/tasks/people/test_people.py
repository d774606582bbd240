"""Who does something: persons, keys, what they may, and the log of what was done."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from models.reads.people import flaw_of_acts, list_acts, list_persons
from models.rules.acts import ActFacts, act_hash
from models.rules.errors import BadArgument, KeyRefused, NotAllowed, NotFound
from models.rules.people import RIGHTS, Actor, Channel, Deed, Role, Scope, may
from models.rules.states import FormState
from models.tables.batches import Batch
from models.tables.forms import Form
from models.tables.people import ApiKey
from models.writes.acts import record_act
from tasks.orders import releasing
from tasks.people import keys, persons
from tasks.stock import custody
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload
from tests.support.persons import by_key, person

ORDER = [[AGENT_HANDLED, "核销", "211014001"]]


def acts(world):
    with world.context.database.read() as session:
        return [(a["actor"], a["deed"], a["about"]) for a in reversed(list_acts(session, 100))]


class TestAKey:
    def test_proves_who_acts_and_is_kept_as_a_hash_alone(self, world):
        person(world)
        made = keys.make_key(world.context, "wang", [Scope.READ], "ERP")
        actor = keys.owner_of(world.context, made.key, Channel.API)
        assert (actor.name, actor.proved, actor.scopes) == ("wang 某", True, {Scope.READ})
        secret = made.key.rpartition("_")[2]
        assert secret not in repr(made)
        with world.context.database.read() as session:
            (kept,) = session.scalars(select(ApiKey))
        assert secret not in str(vars(kept))
        assert kept.last_used_at is not None

    @pytest.mark.parametrize("how", ["unknown", "other secret", "revoked", "expired", "disabled"])
    def test_that_is_not_right_is_refused_always_in_the_same_words(self, world, how):
        person(world)
        end = world.clock() + timedelta(days=1)
        made = keys.make_key(world.context, "wang", [Scope.READ], "", end)
        key = made.key
        if how == "unknown":
            key = f"bf_{'0' * 12}_{'A' * 43}"
        if how == "other secret":
            key = f"bf_{made.public}_{'A' * 43}"
        if how == "revoked":
            keys.revoke_key(world.context, made.public)
        if how == "expired":
            world.clock.forward(days=2)
        if how == "disabled":
            persons.set_disabled(world.context, "wang", disabled=True)
        with pytest.raises(KeyRefused) as refused:
            keys.owner_of(world.context, key, Channel.API)
        assert refused.value.values == {}

    def test_is_made_by_its_owner_alone(self, world):
        person(world), person(world, "li")
        wang = by_key(world, "wang")
        world.context.actor = Actor(wang.name, Channel.PAGE, wang.person_id, wang.roles)
        keys.make_key(world.context, "wang", [Scope.READ])
        with pytest.raises(NotAllowed):
            keys.make_key(world.context, "li", [Scope.READ])

    def test_of_another_is_revoked_by_an_administrator_alone(self, world):
        person(world), person(world, "chief", Role.ADMINISTRATOR)
        made = keys.make_key(world.context, "wang", [Scope.READ])
        for login, refused in (("li", True), ("chief", False)):
            if refused:
                person(world, login)
            world.context.actor = by_key(world, login)
            if refused:
                with pytest.raises(NotAllowed):
                    keys.revoke_key(world.context, made.public)
            else:
                keys.revoke_key(world.context, made.public)
                with pytest.raises(NotFound):
                    keys.revoke_key(world.context, made.public)
            world.context.actor = Actor("root", Channel.COMMAND)


@pytest.mark.parametrize("deed", list(Deed))
@pytest.mark.parametrize("role", list(Role))
def test_a_person_may_what_the_table_says_and_by_a_key_only_with_its_scope(deed, role):
    right = RIGHTS[deed]
    person = Actor("a", Channel.PAGE, 1, frozenset({role}))
    assert may(person, deed) == (role in right.roles)
    for scope in Scope:
        key = Actor("a", Channel.API, 1, frozenset({role}), frozenset({scope}))
        assert may(key, deed) == (role in right.roles and scope is right.scope)
        at_the_command = replace(key, channel=Channel.COMMAND)
        opens = right.scope in {None, scope}
        assert may(at_the_command, deed) == (role in right.roles and opens)
    assert may(Actor("root", Channel.COMMAND), deed)
    assert not may(Actor("a", Channel.PAGE, 1), deed)


def test_an_auditor_confirms_nothing_and_the_batch_stays_as_it_was(world):
    bring_in(world)
    person(world, "audit", Role.AUDITOR)
    batch_id = upload(world, ORDER)
    world.context.actor = by_key(world, "audit")
    before = acts(world)
    with pytest.raises(NotAllowed):
        confirm(world, batch_id)
    with pytest.raises(NotAllowed):
        custody.hold(world.context, ["211014001"], None, "x")
    assert acts(world) == before
    with world.context.database.read() as session:
        assert session.get_one(Batch, batch_id).confirmed_at is None
        found = session.scalars(select(Form).where(Form.serial == "211014001")).one()
    assert (found.state, found.hold) == (FormState.ISSUED, None)


def test_every_order_and_act_has_a_name_and_a_door(world):
    bring_in(world)
    person(world)
    world.context.actor = by_key(world, "wang", Scope.SUBMIT, Scope.CANCEL, Scope.STOCK)
    batch_id = upload(world, ORDER)
    confirm(world, batch_id)
    releasing.cancel(world.context, batch_id)
    custody.hold(world.context, ["211014002"], None, "污损")
    with world.context.database.read() as session:
        batch = session.get_one(Batch, batch_id)
    assert (batch.made_by, batch.confirmed_by) == ("wang 某", "wang 某")
    assert (batch.made_via, batch.confirmed_via) == ("command", "command")
    assert batch.made_by_id == batch.confirmed_by_id == world.context.actor.person_id
    assert acts(world)[-3:] == [
        ("wang 某", "order.confirmed", f"batch {batch_id}"),
        ("wang 某", "order.cancelled", f"batch {batch_id}"),
        ("wang 某", "forms.held", "211014002"),
    ]


class TestTheLog:
    @pytest.mark.parametrize(
        ("statement", "from_number"),
        [
            ("UPDATE act SET actor = 'nobody' WHERE number = 2", 2),
            ("UPDATE act SET about = 'x' WHERE number = 3", 3),
            ("DELETE FROM act WHERE number = 2", 2),
            ("UPDATE act SET number = 9 WHERE number = 3", 3),
        ],
    )
    def test_shows_where_it_was_changed(self, world, statement, from_number):
        for login in ("a1", "a2", "a3", "a4"):
            person(world, login)
        with world.context.database.read() as session:
            assert flaw_of_acts(session) is None
        with world.context.database.write() as session:
            session.execute(text(statement))
        with world.context.database.read() as session:
            assert flaw_of_acts(session) == from_number

    def test_is_one_chain_though_two_write_at_once(self, world):
        def write(name):
            for n in range(10):
                with world.context.database.write() as session:
                    actor = Actor(name, Channel.COMMAND)
                    record_act(session, actor, Deed.PAUSED, f"{n}", world.clock())

        threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(acts(world)) == 20
        with world.context.database.read() as session:
            assert flaw_of_acts(session) is None

    def test_hashes_the_same_bytes_for_ever(self):
        at = datetime(2026, 11, 27, 1, 2, 3, tzinfo=UTC)
        act = ActFacts(1, at, "王", "command", None, "person.added", "li", {"b": [1], "a": "名"})
        fixed = "d3a3144ddcb989df378d2627c7434a6fa36c459f1d8e4fa759313b1620c8fac9"
        assert act_hash("", act) == fixed


@pytest.mark.parametrize(
    ("login", "name"),
    [
        ("", "x"),
        ("W", "x"),
        ("Wang", "x"),
        ("w" * 33, "x"),
        ("wang", " "),
        ("wang", "a\nb"),
        ("wang", "x" * 65),
    ],
)
def test_a_login_or_name_that_is_none_is_refused(world, login, name):
    with pytest.raises(BadArgument):
        persons.add_person(world.context, login, name, [Role.MAKER])
    with world.context.database.read() as session:
        assert list(list_persons(session)) == []


def test_a_login_is_given_once(world):
    person(world)
    with pytest.raises(BadArgument):
        person(world)

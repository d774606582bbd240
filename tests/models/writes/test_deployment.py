"""One database, one sender, one customs: another one is refused, by every process, before anything happens."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import delete, select, text, update

from models.reads.deployment import Identity, known_identity
from models.rules.errors import (
    AnotherCustoms,
    AnotherSender,
    BadArgument,
    CustomsFixed,
    DeploymentUnconfirmed,
    MessagesWait,
)
from models.tables.customs_link import CustomsLink
from models.tables.deployment import Deployment
from models.tables.submissions import Submission
from models.writes import deployment
from tasks.messages import asking, preparing, sending, signing
from tasks.opening import require_deployment
from tasks.orders import releasing
from tasks.receipts import inbox
from tests.conftest import settings_for
from tests.support.factories import AGENT_HANDLED, EXPORTER, SENDER, bring_in, confirm, upload

OTHER = Identity(SENDER, "https://customs.example:443")


@pytest.fixture
def order(world):
    bring_in(world)
    batch = upload(world, [(AGENT_HANDLED, "核销", "211014001")])
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    return batch


def changed(world, how, *what):
    with world.context.database.write() as session:
        how(session, *what, world.clock())


@pytest.fixture
def listener():
    """An address that is not the customs of this database; gives what came in there."""
    came = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            came.append(self.path)
            self.send_response(503)
            self.end_headers()

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", came
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_message_of_a_trial_never_reaches_the_real_customs(world, order, listener, tmp_path):
    url, came = listener
    signing.sign(world.context)
    chosen = settings_for(
        tmp_path / "home", CUSTOMS_URL=url, CUSTOMS_TOKEN="t", ENTERPRISE_CODE=SENDER
    )
    with pytest.raises(AnotherCustoms, match="模拟海关") as said:
        require_deployment(world.context.database, chosen)
    assert url in str(said.value)
    world.context.settings = chosen  # a process that was running when the database was exchanged
    for step in (signing.sign, sending.send, asking.ask, inbox.poll):
        with pytest.raises(AnotherCustoms):
            step(world.context)
    assert came == []


def test_an_order_is_never_signed_with_the_card_of_another_enterprise(world, order, tmp_path):
    chosen = settings_for(tmp_path / "home", ENTERPRISE_CODE=EXPORTER)
    with pytest.raises(AnotherSender, match=SENDER):
        require_deployment(world.context.database, chosen)
    world.context.settings = chosen
    with pytest.raises(AnotherSender):
        signing.sign(world.context)
    with world.context.database.read() as session:
        assert session.scalar(select(Submission.payload)) is None


def test_a_message_of_another_sender_is_never_signed(world, order):
    with world.context.database.write() as session:
        session.execute(update(Submission).values(sender=EXPORTER))
    assert signing.sign(world.context) == 0
    with world.context.database.read() as session:
        assert session.scalar(select(Submission.payload)) is None


def test_of_two_processes_that_open_a_new_database_at_once_the_first_ones_settings_hold(world):
    with world.context.database.write() as session:
        session.execute(delete(Deployment))
    if world.context.database.engine.dialect.name == "sqlite":
        return  # one writer at a time
    with world.context.database.write() as first:
        deployment.remember_identity(first, world.context.identity, world.clock())
        late = threading.Thread(target=changed, args=(world, deployment.remember_identity, OTHER))
        late.start()
    late.join(30)
    with world.context.database.read() as session:
        assert known_identity(session) == world.context.identity


def test_what_another_process_wrote_between_the_look_and_the_writing_holds(world, monkeypatch):
    seen_before = [None]  # as it was looked at before the other process committed
    monkeypatch.setattr(deployment, "known_identity", lambda _: seen_before.pop())
    with world.context.database.write() as session:
        deployment.remember_identity(session, OTHER, world.clock())
    assert seen_before == []
    with world.context.database.read() as session:
        assert known_identity(session) == world.context.identity


def test_the_sender_is_fixed_when_the_message_is_prepared(world, order):
    signing.sign(world.context)
    with world.context.database.read() as session:
        made = session.scalars(select(Submission)).one()
    assert made.sender == SENDER
    assert re.search(rb"<sender_id>(.*?)</sender_id>", made.payload)[1].decode() == SENDER


def test_a_database_from_before_with_messages_asks_to_be_confirmed_once(world, order):
    context = world.context
    with context.database.write() as session:
        session.execute(delete(Deployment))
        session.execute(update(Submission).values(sender=None))
    with pytest.raises(DeploymentUnconfirmed) as said:
        require_deployment(context.database, context.settings)
    assert SENDER in str(said.value)
    for _ in range(2):
        changed(world, deployment.confirm_identity, context.identity)
    require_deployment(context.database, context.settings)
    with context.database.read() as session:
        assert session.scalar(select(Submission.sender)) == SENDER
    world.drain()
    assert world.customs.effects() == {"211014001": "V"}
    with pytest.raises(AnotherCustoms):
        changed(world, deployment.confirm_identity, OTHER)


def test_a_database_without_a_message_takes_the_first_settings(world):
    context = world.context
    with context.database.write() as session:
        session.execute(delete(Deployment))
    require_deployment(context.database, context.settings)
    with context.database.read() as session:
        assert known_identity(session) == context.identity


class TestAnotherCustoms:
    def test_may_be_adopted_while_nothing_was_sent(self, world):
        bring_in(world)
        inbox.poll(world.context)
        changed(world, deployment.adopt_customs, OTHER)
        with world.context.database.read() as session:
            assert known_identity(session) == OTHER
            assert session.scalar(select(CustomsLink.cursor)) is None

    def test_not_while_messages_for_the_one_before_could_leave(self, world, order):
        with pytest.raises(MessagesWait):
            changed(world, deployment.adopt_customs, OTHER)
        releasing.cancel(world.context, order)
        changed(world, deployment.adopt_customs, OTHER)

    def test_not_once_a_message_was_sent(self, world, order):
        world.drain()
        with pytest.raises(CustomsFixed):
            changed(world, deployment.adopt_customs, OTHER)

    def test_not_once_a_form_is_final(self, world):
        bring_in(world)
        with world.context.database.write() as session:
            session.execute(text("UPDATE form SET state = 'verified' WHERE serial = '211014001'"))
        with pytest.raises(CustomsFixed, match="BLANKFORMS_HOME"):
            changed(world, deployment.adopt_customs, OTHER)


class TestTheSameCustomsAtAnotherAddress:
    def test_is_recorded_at_any_time(self, world, order):
        with world.context.database.write() as session:
            session.execute(update(Deployment).values(customs=OTHER.customs))
        changed(world, deployment.customs_moved, "https://new.example:443")
        with world.context.database.read() as session:
            assert known_identity(session) == Identity(SENDER, "https://new.example:443")

    def test_the_simulator_is_no_address(self, world):
        with pytest.raises(BadArgument, match="adopt-customs"):
            changed(world, deployment.customs_moved, "https://new.example:443")

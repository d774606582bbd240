"""Callbacks of customs: stored before they are acknowledged, applied later, never a 5xx."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from config.names import Task
from customs.profile.bcm1 import Bcm1
from models.tables.database import Database
from models.tables.inbox import InboxMessage
from net.webhooks import sign
from tasks.messages import preparing, signing
from tests.conftest import settings_for
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload
from webhook.app import BODY_LIMIT, create_app

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW_SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def rings():
    return []


@pytest.fixture
def client(database, tmp_path, rings):
    chosen = settings_for(tmp_path, CALLBACK_SECRETS=f"{SECRET} {NEW_SECRET}")
    app = create_app(chosen, database, lambda task, *ids: rings.append(task), Bcm1())
    return app.test_client()


def call(client, body, message_id="msg_1", secret=SECRET, moment=None, **headers):
    stamp = int(moment if moment is not None else time.time())
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return client.post(
        "/callbacks/customs",
        data=raw,
        headers={
            "webhook-id": message_id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(secret, message_id, stamp, raw),
            **headers,
        },
    )


def told(receipt_id="R1", xml="<x/>"):
    return {"type": "receipt.created", "data": {"receiptId": receipt_id, "xml": xml}}


def inbox(database):
    with database.read() as session:
        return list(session.scalars(select(InboxMessage).order_by(InboxMessage.id)))


def test_a_receipt_is_stored_and_the_bell_rung(client, database, rings):
    assert call(client, told()).status_code == 202
    (message,) = inbox(database)
    assert (message.receipt_id, message.body, message.state) == ("R1", b"<x/>", "received")
    assert rings == [Task.APPLY]


def test_a_repeat_is_acknowledged_and_stored_once(client, database, rings):
    assert [call(client, told()).status_code for _ in range(3)] == [202] * 3
    assert len(inbox(database)) == 1
    assert rings == [Task.APPLY]


def test_either_secret_will_do_while_one_replaces_the_other(client):
    assert call(client, told("R1"), secret=SECRET).status_code == 202
    assert call(client, told("R2"), "msg_2", secret=NEW_SECRET).status_code == 202


def test_other_types_are_kept_and_acknowledged(client, database):
    assert call(client, {"type": "notice.maintenance", "data": 1}).status_code == 202
    assert inbox(database)[0].state == "kept"


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[]", b"null", b'{"type":"receipt.created"}',
             b'{"type":"receipt.created","data":{"receiptId":1,"xml":null}}']
)  # fmt: skip
def test_what_customs_signed_and_cannot_be_read_is_quarantined(client, database, body):
    assert call(client, body).status_code == 202
    assert inbox(database)[0].state == "quarantined"


def test_wrong_stale_or_missing_signatures_are_refused(client, database):
    foreign = "whsec_" + "BBBB" * 8
    assert call(client, told(), secret=foreign).status_code == 401
    assert call(client, told(), moment=time.time() - 301).status_code == 401
    assert call(client, told(), moment=time.time() + 301).status_code == 401
    assert client.post("/callbacks/customs", data=b"{}").status_code == 401
    assert inbox(database) == []


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60),
    ),
    st.binary(max_size=200),
)
def test_no_header_and_no_body_makes_it_fail(client, headers, body):
    answer = client.post("/callbacks/customs", data=body, headers=headers)
    assert answer.status_code == 401


def test_a_body_over_the_limit_is_refused(client):
    assert call(client, b"x" * (BODY_LIMIT + 1)).status_code == 413


def test_what_cannot_be_stored_is_not_acknowledged(tmp_path, rings):
    nowhere = Database("postgresql+psycopg://nobody@127.0.0.1:9/none")
    chosen = settings_for(tmp_path, CALLBACK_SECRETS=SECRET)
    app = create_app(chosen, nowhere, lambda task, *ids: rings.append(task), Bcm1())
    assert call(app.test_client(), told()).status_code == 503
    assert rings == []


def test_health_needs_nothing_and_readiness_needs_database_and_broker(client):
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["able"] is False
    assert answer.json["broker"] == "broker_unreachable"


def test_the_same_receipt_by_callback_and_by_poll_is_one(world, rings):
    bring_in(world)
    confirm(world, upload(world, [(AGENT_HANDLED, "核销", "", 1)]))
    preparing.prepare(world.context, 1)
    signing.sign(world.context)
    from tasks.messages import sending
    from tasks.receipts import inbox as stage

    sending.send(world.context)
    world.customs.simulated.decide_due()
    row = world.customs.simulated.ledger.read("SELECT * FROM receipt")[0]
    chosen = settings_for(world.context.settings.blankforms_home, CALLBACK_SECRETS=SECRET)
    app = create_app(chosen, world.context.database, lambda *_: None, Bcm1())
    assert call(app.test_client(), told(row["receipt_id"], row["xml"])).json["stored"] is True
    assert stage.poll(world.context) == 0
    world.drain()
    assert len(world.customs.effects()) == 1
    world.assert_sound()

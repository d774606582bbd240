"""Those who wait are told: at least once, in order, signed; and nobody is kept waiting by another."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select

from config.names import Task
from models.rules.card_errors import CardExpired, SigningError
from models.rules.states import DeliveryState, NotificationType
from models.tables.notifications import Delivery, Endpoint, Notification
from models.writes.announcements import announce
from models.writes.cards import note_card
from tasks import upkeep
from tasks.notify import delivering, endpoints
from tasks.orders import releasing
from tasks.pipeline import oldest_due
from tests.conftest import settings_for
from tests.support import factories
from tests.support.factories import SENDER, agent_certificate, bring_in, confirm, issued, upload
from tests.support.receiver import receiver

ALL = list(endpoints.SUBSCRIBABLE)


@pytest.fixture
def told(world, tmp_path):
    """A world whose endpoints may be on loopback."""
    world.context.settings = settings_for(
        tmp_path / "home",
        SETTLE_SECONDS="300",
        SEND_DEADLINE_SECONDS="2",
        LEASE_SECONDS="60",
        NOTIFY_NETWORKS="127.0.0.0/8",
        NOTIFICATION_KEY="k" * 40,
    )
    return world


def subscribe(world, made, events=ALL):
    added = endpoints.add(world.context, made.url, events)
    made.secrets = [added.secret]
    return added.endpoint_id


def deliveries(world):
    with world.context.database.read() as session:
        return session.scalars(select(Delivery).order_by(Delivery.id)).all()


def announce_now(world, batch=None, kind=NotificationType.STOCK_LOW):
    with world.context.database.write() as session:
        announce(session, kind, {"batch": batch}, world.clock(), batch)


def test_a_batch_is_told_from_its_check_to_its_end_in_order_and_signed(told):
    bring_in(told)
    told.customs.play({"fault": "refuse_form", "serial": "211014002", "code": "2106"})
    with receiver() as made:
        subscribe(told, made)
        rows = [[factories.AGENT_HANDLED, "核销", "211014001-211014003", "", "代录入企业"]]
        batch = upload(told, rows)
        confirm(told, batch)
        told.drain()
        assert made.types(batch) == ["batch.checked", "form.refused", "batch.finished"]
        assert made.bad == []
        refused, finished = made.got[-2]["data"], made.got[-1]["data"]
    assert refused["forms"] == [
        {"serial": "211014002", "code": "2106", "text": "核销页数与证书页数不符", "hold": False}
    ]
    assert (finished["state"], finished["forms"]["verified"], finished["refused_forms"]) == (
        "finished", 2, 1,
    )  # fmt: skip
    assert {d.state for d in deliveries(told)} == {DeliveryState.DELIVERED}


def test_a_cancelled_batch_is_told_too(told):
    bring_in(told)
    with receiver() as made:
        subscribe(told, made, [NotificationType.BATCH_FINISHED])
        batch = upload(told, [[factories.AGENT_HANDLED, "核销", "211014001"]])
        confirm(told, batch)
        releasing.cancel(told.context, batch)
        delivering.deliver(told.context)
        assert [g["data"]["state"] for g in made.got] == ["cancelled"]


def test_a_second_check_with_the_same_plan_is_not_told_again(told):
    bring_in(told)
    with receiver() as made:
        subscribe(told, made, [NotificationType.BATCH_CHECKED])
        for _ in range(2):
            upload(told, [[factories.AGENT_HANDLED, "核销", "211014001"]])
        delivering.deliver(told.context)
        assert len(made.got) == 1


def test_where_nobody_listens_nothing_is_kept(told):
    bring_in(told)
    confirm(told, upload(told, [[factories.AGENT_HANDLED, "核销", "211014001"]]))
    told.drain()
    announce_now(told)
    with told.context.database.read() as session:
        assert session.scalars(select(Notification)).all() == []


def test_what_is_rolled_back_is_never_told(told):
    with receiver() as made:
        subscribe(told, made)
        with pytest.raises(RuntimeError), told.context.database.write() as session:
            announce(session, NotificationType.STOCK_LOW, {}, told.clock())
            raise RuntimeError
        delivering.deliver(told.context)
        assert made.got == []
        with told.context.database.read() as session:
            assert session.scalars(select(Notification)).all() == []


def test_a_failing_endpoint_is_tried_by_the_schedule_and_then_given_up(told):
    with receiver() as made:
        made.answer = 500
        subscribe(told, made)
        announce_now(told)
        waits = []
        for _ in range(len(delivering.WAITS) + 1):
            before = told.clock()
            assert delivering.deliver(told.context) == 1
            one = deliveries(told)[0]
            if one.next_attempt_at is None:
                break
            waits.append((one.next_attempt_at - before).total_seconds())
            assert delivering.deliver(told.context) == 0  # not before its time
            told.clock.ahead += one.next_attempt_at - told.clock() + timedelta(minutes=6)
        expected = [w.total_seconds() for w in delivering.WAITS]
        assert [0.85 < w / e < 1.3 for w, e in zip(waits, expected, strict=True)] == [True] * 9
        assert (one.state, one.attempt_count, one.last_status) == (DeliveryState.FAILED, 10, 500)
        assert len({g["id"] for g in made.got}) == 1
        assert len(made.got) == 10
        made.answer = 200
        told.clock.forward(minutes=6)
        assert endpoints.redeliver(told.context, [one.id], None) == 1
        delivering.deliver(told.context)
        assert deliveries(told)[0].state is DeliveryState.DELIVERED
        assert made.got[-1]["id"] == made.got[0]["id"]


def test_a_later_notification_of_a_batch_waits_for_the_earlier_one(told):
    with receiver() as made:
        subscribe(told, made)
        made.answer = 503
        announce_now(told, batch=1, kind=NotificationType.BATCH_CHECKED)
        delivering.deliver(told.context)
        made.answer, made.got = 200, []
        announce_now(told, batch=1, kind=NotificationType.BATCH_FINISHED)
        announce_now(told, batch=2, kind=NotificationType.BATCH_FINISHED)
        told.clock.forward(seconds=20)
        delivering.deliver(told.context)
        assert made.types(1) == ["batch.checked", "batch.finished"]
        assert made.types(2) == ["batch.finished"]


def test_one_slow_endpoint_does_not_delay_another(told):
    with receiver() as slow, receiver() as quick:
        slow.delay = 3.0  # longer than the tests' time-out of 1 s
        subscribe(told, slow)
        subscribe(told, quick)
        for _ in range(3):
            announce_now(told)
        began = time.monotonic()
        arrived = []
        quick_take = quick.take

        def take(headers, body):
            arrived.append(time.monotonic() - began)
            quick_take(headers, body)

        quick.take = take
        delivering.deliver(told.context)
        assert len(quick.got) == 3
        assert max(arrived) < 0.9  # while the slow one was still being waited for
        assert [d.state for d in deliveries(told) if d.last_detail] == [DeliveryState.PENDING] * 3


def test_gone_disables_the_endpoint_and_what_waits_is_kept(told):
    with receiver() as made:
        endpoint_id = subscribe(told, made)
        made.answer = 410
        announce_now(told)
        delivering.deliver(told.context)
        with told.context.database.read() as session:
            endpoint = session.get_one(Endpoint, endpoint_id)
            assert (endpoint.active, endpoint.disabled_reason) == (False, "410")
        announce_now(told)  # nobody is subscribed now
        told.clock.forward(days=1)
        assert delivering.deliver(told.context) == 0
        made.answer = 200
        endpoints.set_active(told.context, endpoint_id, active=True)
        delivering.deliver(told.context)
        assert deliveries(told)[0].state is DeliveryState.DELIVERED


def test_a_redirect_is_not_followed(told):
    with receiver() as made, receiver() as other:
        subscribe(told, made)
        made.answer, made.location = 307, other.url
        announce_now(told)
        delivering.deliver(told.context)
        assert (len(made.got), other.got) == (1, [])
        assert deliveries(told)[0].state is DeliveryState.PENDING


def test_while_a_secret_is_rotated_both_sign_and_then_only_the_new_one(told):
    with receiver() as made:
        endpoint_id = subscribe(told, made)
        old = made.secrets[0]
        new = endpoints.rotate(told.context, endpoint_id, timedelta(hours=1)).secret
        assert new != old
        made.secrets = [old, new]
        announce_now(told)
        delivering.deliver(told.context)
        assert made.bad == []
        told.clock.forward(hours=2)
        with told.context.database.read() as session:
            endpoint = session.get_one(Endpoint, endpoint_id)
            told_now = session.scalars(select(Notification)).one()
            letter = delivering._letter(b"k" * 40, endpoint, told_now, told.clock())
        assert letter.secrets == [new]
        assert new not in repr(letter)


def test_no_table_holds_a_secret(told):
    from sqlalchemy import text

    from models.tables.everything import metadata

    with receiver() as made:
        endpoint_id = subscribe(told, made)
        secrets = [made.secrets[0], endpoints.rotate(told.context, endpoint_id).secret]
        announce_now(told)
        delivering.deliver(told.context)
    with told.context.database.read() as session:
        for table in metadata.sorted_tables:
            rows = str(session.execute(text(f"SELECT * FROM {table.name}")).all())
            assert not [s for s in secrets if s.removeprefix("whsec_") in rows], table.name


def test_a_process_with_another_key_signs_nothing(told, tmp_path):
    with receiver() as made:
        subscribe(told, made)
        announce_now(told)
        told.context.settings = settings_for(tmp_path / "home", NOTIFICATION_KEY="other" * 10)
        assert delivering.deliver(told.context) == 0
        assert made.got == []


def test_a_try_that_died_is_made_again(told):
    with receiver() as made:
        subscribe(told, made)
        announce_now(told)
        from collections import Counter

        assert len(delivering._claim(told.context, Counter(), None)) == 1  # and the process dies
        assert delivering.deliver(told.context) == 0
        told.clock.forward(seconds=61)
        assert delivering.deliver(told.context) == 1
        assert made.types() == ["stock.low"]


def test_low_stock_is_told_once_when_it_falls_and_again_after_it_rose(told):
    told.context.settings = told.context.settings.model_copy(update={"low_stock": 3})
    bring_in(told, [issued(SENDER, "B", "211014001", 4)], [agent_certificate(n) for n in (1, 2)])
    with receiver() as made:
        subscribe(told, made, [NotificationType.STOCK_LOW])
        upkeep.count_stock(told.context)
        confirm(told, upload(told, [[agent_certificate(1).number, "核销", "", 2]]))
        told.drain()
        confirm(told, upload(told, [[agent_certificate(2).number, "核销", "", 1]], name="2.csv"))
        told.drain()
        assert [g["data"]["on_hand"] for g in made.got] == [2]
        bring_in(told, [issued(SENDER, "B", "211015001", 5)], [])
        told.drain()
        confirm(told, upload(told, [[agent_certificate(2).number, "核销", "", 4]], name="3.csv"))
        told.drain()
        assert [g["data"]["on_hand"] for g in made.got] == [2, 2]
        assert made.got[0]["data"]["owner"] == SENDER


def test_a_card_that_becomes_unavailable_is_told_once(told):
    with receiver() as made:
        subscribe(told, made, [NotificationType.CARD_UNAVAILABLE])
        for trouble in (None, SigningError(detail="no token"), CardExpired(detail="2026-01-01")):
            with told.context.database.write() as session:
                note_card(session, "卡一", trouble, told.clock(), told.clock())
        with told.context.database.write() as session:  # one that never worked
            note_card(session, "卡二", CardExpired(detail="-"), told.clock(), told.clock())
        delivering.deliver(told.context)
        assert sorted((g["data"] for g in made.got), key=lambda d: d["card"]) == [
            {
                "card": "卡一",
                "state": "absent",
                "code": "card_unavailable",
                "detail": "no token",
            },
            {"card": "卡二", "state": "unfit", "code": "card_expired", "detail": "-"},
        ]


def test_a_test_notification_says_at_once_how_it_went(told):
    with receiver() as made:
        endpoint_id = subscribe(told, made, [NotificationType.BATCH_FINISHED])
        assert endpoints.send_test(told.context, endpoint_id).state is DeliveryState.DELIVERED
        made.answer = 404
        failed = endpoints.send_test(told.context, endpoint_id)
        assert (failed.state, failed.last_status) == (DeliveryState.PENDING, 404)
        assert made.types() == ["test", "test"]


def test_of_a_hundred_and_one_endpoints_the_last_is_told_too(told):
    with receiver() as made:
        for _ in range(100):
            endpoints.add(told.context, made.url, [NotificationType.CARD_UNAVAILABLE])
        subscribe(told, made, [NotificationType.STOCK_LOW])
        announce_now(told)
        assert delivering.deliver(told.context) == 1
        assert made.types() == ["stock.low"]


def test_what_waits_behind_another_is_not_due(told):
    endpoints.add(told.context, "http://127.0.0.1:9/", ALL)
    for kind in (NotificationType.BATCH_CHECKED, NotificationType.BATCH_FINISHED):
        announce_now(told, batch=7, kind=kind)
    delivering.deliver(told.context)
    told.clock.forward(seconds=1)
    with told.context.database.read() as session:
        assert Task.DELIVER not in oldest_due(session, told.clock())


@pytest.mark.parametrize("body", ["gzip", "short", "open"])
def test_any_2xx_is_told_whatever_its_body(told, body):
    class Odd(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            if body == "gzip":
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", "100" if body != "gzip" else "3")
            self.end_headers()
            self.wfile.write(b"abc")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    endpoints.add(told.context, f"http://127.0.0.1:{server.server_port}/", ALL)
    announce_now(told)
    delivering.deliver(told.context)
    server.shutdown()
    server.server_close()
    assert deliveries(told)[0].state is DeliveryState.DELIVERED


def test_what_was_told_long_ago_is_cleared_away(told):
    with receiver() as made:
        subscribe(told, made)
        announce_now(told)
        delivering.deliver(told.context)
        assert upkeep.clear_told(told.context) == 0
        told.clock.forward(days=91)
        assert upkeep.clear_told(told.context) == 1
        assert deliveries(told) == []


def test_tries_to_many_endpoints_do_not_come_at_the_same_moment():
    assert len({delivering._wait(1) for _ in range(20)}) > 1


def test_an_endpoint_that_fails_is_left_alone_longer_each_time_and_not_for_ever(told):
    bring_in(told)
    pauses = []
    with receiver() as made:
        made.answer = 500
        subscribe(told, made)
        for _ in range(10):
            announce_now(told, kind=NotificationType.STOCK_LOW)
            told.clock.forward(hours=6)
            delivering.deliver(told.context)
            with told.context.database.read() as session:
                until = session.scalars(select(Endpoint.paused_until)).one()
            pauses.append(until - told.clock())
    assert all(timedelta(0) < pause <= delivering.PAUSE_MOST for pause in pauses)
    assert pauses[-1] > pauses[0]

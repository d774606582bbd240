"""The feed: everything that notifications tell, without a gap, in one order."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from models.rules.states import NotificationType
from models.writes.announcements import Listeners, announce, tell
from models.writes.feed import give_places
from tests.support.factories import bring_in
from tests.support.programs import program

KIND = NotificationType.STOCK_LOW


@pytest.fixture
def office(world):
    bring_in(world)
    return world


def happen(session, what):
    tell(session, KIND, [({"what": what}, None)], datetime.now(UTC), Listeners(feed=True))


def pulled(erp, after=0, limit=500):
    answer = erp.get(f"/events?after={after}&limit={limit}").json
    return [e["data"].get("what") for e in answer["events"]], answer["next"]


def test_who_goes_on_from_next_misses_none_and_sees_none_twice(office):
    erp = program(office)
    with office.context.database.write() as session:
        for number in range(7):
            happen(session, number)
    seen, after = [], 0
    while True:
        some, after_that = pulled(erp, after, 3)
        if not some:
            break
        seen, after = seen + some, after_that
    assert seen == list(range(7))


def test_what_is_committed_late_comes_late_and_is_not_lost(office):
    """Two transactions at once: the one that began first commits last."""
    if office.context.database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets one transaction write at a time")
    erp = program(office)
    with office.context.database.write() as slow:
        happen(slow, "began first")
        slow.flush()
        with office.context.database.write() as quick:
            happen(quick, "committed first")
        seen, after = pulled(erp)
        assert seen == ["committed first"]
    assert pulled(erp, after)[0] == ["began first"]


def test_many_pull_and_many_write_at_once(office):
    erp = program(office)
    application = erp.client.application
    over = threading.Event()
    failed: list[BaseException] = []

    def write():
        for number in range(20):
            with office.context.database.write() as session:
                happen(session, number)

    def pull(seen):
        caller, after = type(erp)(application.test_client(), erp.key), 0
        try:
            while not over.is_set() or pulled(caller, after)[0]:
                some, after = pulled(caller, after)
                seen += some
        except BaseException as error:
            failed.append(error)

    seen = [[], []]
    writers = [threading.Thread(target=write) for _ in range(3)]
    pullers = [threading.Thread(target=pull, args=(s,)) for s in seen]
    for thread in (*pullers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in pullers:
        thread.join()
    assert failed == []
    assert sorted(seen[0]) == sorted([*range(20)] * 3)
    assert seen[0] == seen[1]


def test_where_nobody_has_a_key_nothing_is_kept(office):
    with office.context.database.write() as session:
        announce(session, KIND, {"what": 1}, datetime.now(UTC))
        assert give_places(session) == 0
    program(office)
    with office.context.database.write() as session:
        announce(session, KIND, {"what": 2}, datetime.now(UTC))
        assert give_places(session) == 1

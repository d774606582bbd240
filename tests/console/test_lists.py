"""Lists of the API come page by page: what is there from the first page to the last is neither skipped nor repeated."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from itertools import chain

import pytest
from sqlalchemy import select

from models.rules.differences import DifferenceClass
from models.rules.people import Role
from models.rules.states import DeliveryState, RunState
from models.rules.two_persons import EndorsementState
from models.tables.endorsements import Endorsement
from models.tables.notifications import Delivery, Endpoint, Notification
from models.tables.people import Person
from models.tables.reconciliation import Difference, Run
from tests.support.factories import bring_in
from tests.support.nights import night
from tests.support.planted_night import EXPECTED, plant
from tests.support.programs import program

DAY = date(2026, 11, 1)


@pytest.fixture
def office(world):
    bring_in(world)
    return world


def add(world, *rows):
    with world.context.database.write() as session:
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


def pages(erp, path, name, key, between=lambda: None):
    """All that a list gives, two at a time; `between` happens after every page."""
    found, cursor = [], ""
    while cursor is not None:
        answer = erp.get(f"{path}?limit=2&cursor={cursor}")
        assert answer.status_code == 200, answer.json
        assert len(answer.json[name]) <= 2
        found += [one[key] for one in answer.json[name]]
        cursor = answer.json["next"]
        between()
    return found


def waiting(world, count):
    now = world.clock()
    with world.context.database.read() as session:
        person = session.scalars(select(Person.id)).first()
    return add(world, *(
        Endorsement(state=EndorsementState.WAITING, proposal={"rules": {}}, asked_by_id=person,
                    asked_at=now, expires_at=now + timedelta(days=1))
        for _ in range(count)
    ))  # fmt: skip


def run_of(world, day):
    return add(world, Run(business_date=day, state=RunState.FINISHED, due_at=world.clock()))[0]


def found_in(world, run, kind, count=1):
    return add(world, *(Difference(run_id=run, kind=kind) for _ in range(count)))


def test_all_that_waits_for_a_second_person_comes_also_what_is_asked_meanwhile(office):
    erp = program(office)
    asked, later = waiting(office, 5), []

    def between():
        with (
            office.context.database.write() as session
        ):  # the first is decided, and one more is asked
            session.get_one(Endorsement, asked[0]).state = EndorsementState.REJECTED
        if len(later) < 2:
            later.extend(waiting(office, 1))

    assert pages(erp, "/endorsements", "endorsements", "id", between) == asked + later


def test_all_runs_come_the_newest_first(office):
    erp = program(office)
    days = [DAY + timedelta(days=n) for n in range(5)]
    for day in days:
        run_of(office, day)

    def between():
        days.append(days[-1] + timedelta(days=1))
        run_of(office, days[-1])

    found = pages(erp, "/runs", "runs", "business_date", between)
    assert found == [day.isoformat() for day in days[4::-1]]


def test_all_differences_of_a_run_come_class_by_class(office):
    erp = program(office)
    kinds = sorted(DifferenceClass)[:3]
    run, other = run_of(office, DAY), run_of(office, DAY + timedelta(days=1))
    found_in(office, other, kinds[0], 3)
    there = {kind: found_in(office, run, kind, 3) for kind in reversed(kinds)}

    def between():
        found_in(office, run, kinds[0])

    found = pages(erp, f"/runs/{DAY}", "rows", "id", between)
    wanted = list(chain.from_iterable(there[kind] for kind in kinds))
    assert [i for i in found if i in wanted] == wanted
    assert len(found) == len(set(found))


def test_a_planted_night_comes_whole(world):
    plant(world)
    night(world)
    erp = program(world)
    day = erp.get("/runs").json["runs"][0]["business_date"]
    whole = erp.get(f"/runs/{day}").json
    assert {row["class"] for row in whole["rows"]} == set(EXPECTED)
    assert whole["next"] is None
    assert pages(erp, f"/runs/{day}", "rows", "id") == [row["id"] for row in whole["rows"]]


def test_all_deliveries_come_the_newest_first(office):
    erp = program(office, roles=(Role.ADMINISTRATOR,))
    now = office.clock()
    url = "https://erp.example.com"
    (to,) = add(office, Endpoint(url=url, events=[], salt="s", key_mark="m", created_at=now))

    def tell(key):
        (told,) = add(office, Notification(key=key, type="stock.low", data={}, created_at=now))
        delivery = Delivery(endpoint_id=to, notification_id=told, state=DeliveryState.FAILED)
        return add(office, delivery)[0]

    made = [tell(f"n{n}") for n in range(5)]

    def between():
        tell(uuid.uuid4().hex)

    assert pages(erp, "/deliveries", "deliveries", "delivery", between) == made[::-1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["/endorsements", "/runs", "/runs/2026-11-01", "/deliveries"])
def test_a_cursor_of_another_list_is_refused(office, path):
    run_of(office, DAY)
    answer = program(office, roles=tuple(Role)).get(f"{path}?cursor=Zm9v")
    assert (answer.status_code, answer.json["code"]) == (422, "cursor_unknown")

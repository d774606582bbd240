"""Those who are told, as programs keep them: a secret is made once, however often the call is said."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from models.rules.people import Role
from models.rules.states import NotificationType
from models.writes.announcements import announce
from tasks.notify import delivering
from tests.support.programs import program
from tests.support.receiver import receiver


@pytest.fixture
def office(world):
    update = {"notify_networks": "127.0.0.0/8", "notification_key": SecretStr("k" * 40)}
    world.context.settings = world.context.settings.model_copy(update=update)
    return world


def administrator(world):
    return program(world, roles=(Role.ADMINISTRATOR,))


def add(erp, url):
    answer = erp.post("/endpoints", json={"url": url, "events": ["stock.low"]})
    assert answer.status_code == 201, answer.json
    return answer.json["endpoint"], answer.json["secret"]


def tell(world):
    with world.context.database.write() as session:
        announce(session, NotificationType.STOCK_LOW, {}, world.clock())
    delivering.deliver(world.context)


def test_a_new_secret_asked_for_twice_leaves_the_older_one_signing(office):
    erp = administrator(office)
    with receiver() as called:
        endpoint, old = add(erp, called.url)
        first = erp.post(f"/endpoints/{endpoint}/rotate", once="r1")
        again = erp.post(f"/endpoints/{endpoint}/rotate", once="r1")
        assert first.status_code == again.status_code == 200
        assert again.json == {"endpoint": endpoint, "secret": None}
        assert again.headers["Idempotency-Replayed"] == "true"
        called.secrets = [old, first.json["secret"]]
        tell(office)
        assert (len(called.got), called.bad) == (1, [])


def test_of_eight_repeats_at_once_one_is_given_the_secret(office):
    erp = administrator(office)
    endpoint, old = add(erp, "https://erp.example.com/hooks")

    def rotate(_):
        here = type(erp)(erp.client.application.test_client(), erp.key)
        return here.post(f"/endpoints/{endpoint}/rotate", once="r1").json["secret"]

    with ThreadPoolExecutor(8) as pool:
        secrets = [s for s in pool.map(rotate, range(8)) if s is not None]
    assert len(secrets) == 1
    assert secrets != [old]


def test_under_another_key_a_lost_secret_is_replaced(office):
    erp = administrator(office)
    endpoint, old = add(erp, "https://erp.example.com/hooks")
    lost = erp.post(f"/endpoints/{endpoint}/rotate", once="r1").json["secret"]
    new = erp.post(f"/endpoints/{endpoint}/rotate", once="r2").json["secret"]
    assert len({old, lost, new}) == 3


def test_a_key_names_one_rotation_and_without_one_nothing_is_made(office):
    erp = administrator(office)
    first, second = (add(erp, f"https://erp.example.com/{n}")[0] for n in (1, 2))
    erp.post(f"/endpoints/{first}/rotate", once="r1")
    for path, said in ((second, {}), (first, {"json": {"overlap_hours": 1}})):
        other = erp.post(f"/endpoints/{path}/rotate", once="r1", **said)
        assert (other.status_code, other.json["code"]) == (422, "idempotency_key_used")
    without = erp.call("POST", f"/endpoints/{first}/rotate")
    assert (without.status_code, without.json["code"]) == (400, "idempotency_key_missing")

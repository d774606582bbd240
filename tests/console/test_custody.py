"""停用, 报失 and 解除 on a form's own page; and an order whose process ended before it was checked."""

from __future__ import annotations

import pytest

from models.rules.people import Role
from models.rules.states import PagesMode
from tasks.orders import intake
from tests.support.clerks_pages import at_the_pages, text_of
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

FORM = "/forms/B/211014001"


@pytest.fixture
def office(world):
    bring_in(world)
    return world


@pytest.mark.parametrize(("do", "word"), [("hold", "停用"), ("lose", "报失")])
def test_a_form_that_is_held_or_lost_is_not_taken_until_it_is_released(office, do, word):
    wang = at_the_pages(office)
    wang.post(FORM, {"do": do, "reason": "卷角"})
    said = text_of(wang.get(FORM))
    assert "卷角" in said
    assert f"{word} 原因" not in said  # one does not offer what is so already
    refused = wang.post(
        f"/certificates/{AGENT_HANDLED}",
        {"do": "verify", "serial": "211014001", "tick": "0"},
        status=422,
    )
    assert "211014001" in text_of(refused.text)
    wang.post(FORM, {"do": "release", "reason": "压平了"})
    assert "压平了" in text_of(wang.get(FORM))
    twice = wang.post(FORM, {"do": "release", "reason": "再一次"})
    said = text_of(wang.get(twice.location))
    assert "没有改动" in said
    assert "再一次" not in said
    wang.post(
        f"/certificates/{AGENT_HANDLED}",
        {"do": "verify", "serial": "211014001", "tick": "0"},
        status=200,
    )


def test_a_form_that_is_used_or_nobodys_is_neither(office):
    wang = at_the_pages(office)
    confirm(office, upload(office, [(AGENT_HANDLED, "核销", "211014001")]))
    answer = wang.post(FORM, {"do": "hold", "reason": "x"}, status=422)
    assert "不能停用或报失" in answer.text
    office.drain()
    assert "停用" not in text_of(wang.get(FORM))
    wang.post("/forms/B/219999999", {"do": "hold", "reason": "x"}, status=404)
    for said in ({"do": "hold", "reason": " "}, {"do": "x", "reason": "y"}, {}):
        wang.post("/forms/B/211014002", said, status=422)


def test_an_auditor_holds_nothing(office):
    auditor = at_the_pages(office, "audit", Role.AUDITOR)
    assert "报失" not in text_of(auditor.get(FORM))
    auditor.post(FORM, {"do": "hold", "reason": "x"}, status=422)


def test_the_passport_is_exported_with_the_commands_that_verify_it(office):
    wang = at_the_pages(office)
    kept = wang.client.get(f"{FORM}?json=1")
    assert kept.headers["Content-Disposition"] == 'attachment; filename="B-211014001.json"'
    assert kept.json["form"]["serial"] == "211014001"
    assert kept.json["verify_by"] == ["blankforms form 211014001 --json", "blankforms audit verify"]


def test_an_order_that_was_kept_and_not_checked_is_checked_where_it_is_looked_at(office):
    wang = at_the_pages(office)
    order = {"certificate": AGENT_HANDLED, "action": "核销", "serial": "211014001"}
    job = intake.receive_orders(office.context, "窗口", [order], PagesMode.ADDITIONAL)
    assert "将核销 1 张" in text_of(wang.get(f"/jobs/{job}/check"))

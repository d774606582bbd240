"""Certificates chosen from the list: those that are ticked, or all that the filter finds, become one checked order."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import date

import openpyxl
import pytest

from models.reads import certificates
from models.rules.people import Role
from models.rules.states import RowStatus
from models.tables.batches import Batch, BatchRow
from sheets.imports import CertificateRecord
from tasks.orders import selecting
from tasks.people import persons
from tasks.stock.imports import store_certificates
from tests.support.clerks_pages import at_the_pages, text_of
from tests.support.factories import (
    AGENT_HANDLED,
    EXPORTER,
    SELF_HANDLED,
    SENDER,
    agent_certificate,
    bring_in,
    confirm,
    upload,
)

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ALSO_APPROVED, PENDING = "B201026902331601", "B201026902331700"


@pytest.fixture
def office(world):
    bring_in(world)
    return world


def choose(person, *certificates, where="", **said):
    """Choose them, go to the check; gives its page as text and its address."""
    answer = person.post(
        f"/certificates{where}", {"scope": "page", "once": "1", "chosen": [*certificates], **said}
    )
    return answer.location


def rows(world, job):
    with world.context.database.read() as session:
        found = session.query(BatchRow).where(BatchRow.batch_id == int(re.search(r"\d+", job)[0]))
        return {row.certificate: (row.page_count, row.status) for row in found}


def test_ticked_certificates_get_the_forms_that_they_lack(office):
    wang = at_the_pages(office)
    page = wang.get("/certificates")
    assert f'value="{AGENT_HANDLED}"' in page
    assert f'value="{PENDING}"' not in page  # not approved: nothing to choose
    check = choose(wang, AGENT_HANDLED, SELF_HANDLED)
    office.drain()
    said = text_of(wang.get(check))
    assert "将核销 20 张" in said
    assert "补足到" in said
    plan = re.search(r'name="plan" value="(\w+)"', wang.get(check))[1]
    wang.post(check.replace("/check", "/confirm"), {"plan": plan, "mode": "all"})
    office.drain()
    assert len(office.customs.effects()) == 20


def test_those_that_have_all_their_forms_are_left_out_and_said(office):
    wang = at_the_pages(office)
    confirm(office, upload(office, [(SELF_HANDLED, "核销", "", 4)]))
    office.drain()
    check = choose(wang, AGENT_HANDLED, SELF_HANDLED)
    assert list(rows(office, check)) == [AGENT_HANDLED]
    office.drain()
    assert "其中已足页的 1 份没有列入" in text_of(wang.get(check))
    answer = wang.post(
        "/certificates", {"scope": "page", "once": "2", "chosen": SELF_HANDLED}, status=422
    )
    assert "所选的有 1 份已足页" in answer.text


def test_all_is_all_that_the_filter_finds_and_stays_what_it_was(office):
    wang = at_the_pages(office)
    store_certificates(office.context, [agent_certificate(n) for n in range(1, 121)])
    page = text_of(wang.get("/certificates"))
    assert "核销全部 123 份" in page
    assert "核销全部 122 份" in text_of(wang.get("/certificates?type=B"))
    check = choose(wang, where="?type=B", scope="all")
    store_certificates(office.context, [agent_certificate(n) for n in range(500, 510)])
    office.drain()
    assert SELF_HANDLED not in rows(office, check)
    assert len(rows(office, check)) == 122
    assert "共 122 行" in text_of(wang.get(check))


def test_sent_twice_it_is_one_order_and_another_choice_is_none(office):
    wang = at_the_pages(office)
    assert choose(wang, AGENT_HANDLED) == choose(wang, AGENT_HANDLED)
    assert "Idempotency" in wang.post(
        "/certificates", {"scope": "page", "once": "1", "chosen": SELF_HANDLED}, status=422
    ).text  # fmt: skip
    with office.context.database.read() as session:
        assert session.query(Batch).count() == 1


def test_a_certificate_of_unknown_pages_is_a_row_with_a_problem(office):
    unknown = replace(agent_certificate(7), pages=None)
    store_certificates(office.context, [unknown])
    wang = at_the_pages(office)
    check = choose(wang, unknown.number, AGENT_HANDLED)
    office.drain()
    assert rows(office, check) == {
        unknown.number: (None, RowStatus.PROBLEM),
        AGENT_HANDLED: (16, RowStatus.OK),
    }
    assert "有问题 1" in text_of(wang.get(check))


def test_nothing_ticked_too_many_and_made_up_ones_choose_nothing(office, monkeypatch):
    wang = at_the_pages(office)
    for chosen in ((), (PENDING,), ("X' OR 1=1",)):
        answer = wang.post(
            "/certificates", {"scope": "page", "once": "n", "chosen": [*chosen]}, status=422
        )
        assert "请勾选" in answer.text
    monkeypatch.setattr(selecting, "SELECTED_MOST", 2)
    assert "disabled" in re.search(r'value="all"([^>]*)>', wang.get("/certificates"))[1]
    answer = wang.post("/certificates", {"scope": "all", "once": "m"}, status=422)
    assert "至多选 2 份" in answer.text


def test_those_that_lack_forms_are_found_and_exported_however_many_are_complete(
    office, monkeypatch
):
    wang = at_the_pages(office)
    confirm(office, upload(office, [(SELF_HANDLED, "核销", "", 4)]))
    office.drain()
    store_certificates(office.context, [agent_certificate(n) for n in range(1, 8)])
    monkeypatch.setattr(certificates, "CHUNK", 1)
    monkeypatch.setattr(certificates, "LOOKED_THROUGH", 1)
    page = wang.get("/certificates?lacking=1")
    assert "后面还有未找的" in page
    assert "核销全部" in page
    answer = wang.client.get("/certificates?lacking=1&xlsx=1")
    rows = list(openpyxl.load_workbook(io.BytesIO(answer.data)).active.values)[1:]
    found = {row[0] for row in rows}
    assert len(rows) == len(found) == 9
    assert SELF_HANDLED not in found


def test_what_was_only_looked_at_in_a_window_is_no_job(office):
    wang = at_the_pages(office)
    wang.post(
        f"/certificates/{AGENT_HANDLED}",
        {"do": "verify", "serial": "211014001", "tick": "0"},
        status=200,
    )
    assert "没有作业" in text_of(wang.get("/jobs"))


def test_who_makes_no_orders_is_offered_none(office):
    checker = at_the_pages(office, "li", Role.CHECKER)
    assert 'name="chosen"' not in checker.get("/certificates")
    checker.post("/certificates", {"scope": "all", "once": "1"}, status=422)


def test_all_means_all_of_their_own_enterprise(office):
    others = CertificateRecord(
        "B201026902339001", "B", "91610000205660331M", SENDER, date(2022, 5, 11), 9, "approved"
    )
    store_certificates(office.context, [others])
    wang = at_the_pages(office)
    persons.set_principals(office.context, "wang", [EXPORTER])
    check = choose(wang, scope="all")
    assert set(rows(office, check)) == {SELF_HANDLED, AGENT_HANDLED, ALSO_APPROVED}
    answer = wang.post(
        "/certificates", {"scope": "page", "once": "o", "chosen": others.number}, status=422
    )
    assert "请勾选" in answer.text

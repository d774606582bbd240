"""A suggestion of the check is taken by a click: the cell is read as if it had been written so, and the plan says it."""

from __future__ import annotations

import io
import re

import openpyxl
import pytest
from sqlalchemy import select

from models.rules.people import Role
from models.rules.requests import ConfirmMode, load_request
from models.rules.states import PagesMode
from models.tables.batches import Batch, BatchRow
from tasks.orders import intake, planning
from tests.support.clerks_pages import at_the_pages, text_of
from tests.support.factories import AGENT_HANDLED, bring_in, sheet

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

HEADER = ("证书号", "操作", "空白证单流水号")
ROWS = [
    (AGENT_HANDLED, "核销", "211014001"),
    (AGENT_HANDLED, "核销", "211014009-211014005"),
    (AGENT_HANDLED, "核销", "21101401l"),
    (AGENT_HANDLED, "核销", "211019999"),
]


@pytest.fixture
def office(world):
    bring_in(world)
    return world


def checked(world, person, rows=ROWS, header=HEADER, name="月末.csv"):
    """The address of the check of a sheet that was uploaded."""
    said = {"file": (io.BytesIO(sheet(rows, header)), name), "once": name}
    address = person.post("/import", said).location
    world.drain()
    return address


def take(world, person, address, cells, status=303):
    answer = person.post(address.replace("/check", "/corrections"), {"take": cells}, status=status)
    world.drain()
    return answer


def cells_of(world, address):
    with world.context.database.read() as session:
        job = int(re.search(r"\d+", address)[0])
        rows = session.scalars(
            select(BatchRow).where(BatchRow.batch_id == job).order_by(BatchRow.number)
        )
        return [row.cells[2] for row in rows]


def test_one_suggestion_and_then_the_others(office):
    wang = at_the_pages(office)
    address = checked(office, wang)
    page = wang.get(address)
    assert "改为 211014005-211014009" in text_of(page)
    assert "采纳所示 2 条建议" in text_of(page)
    take(office, wang, address, "C3")
    said = text_of(wang.get(address))
    assert "将核销 6 张" in said
    assert "按建议更正: C3 211014009-211014005 → 211014005-211014009" in said
    take(office, wang, address, "C4")
    said = text_of(wang.get(address))
    assert "将核销 7 张" in said
    assert "C4 21101401l → 211014011" in said
    assert cells_of(office, address)[:3] == ["211014001", "211014005-211014009", "211014011"]
    plan = re.search(r'name="plan" value="(\w+)"', wang.get(address))[1]
    wang.post(address.replace("/check", "/confirm"), {"plan": plan, "mode": "valid"})
    office.drain()
    assert len(office.customs.effects()) == 7


def test_all_that_are_shown_at_once_and_nothing_that_was_not_offered(office):
    wang = at_the_pages(office)
    address = checked(office, wang)
    for made_up in ("C5", "A2", "C2", "", "Z99", "C3,C5"):
        take(office, wang, address, made_up, status=422)
    assert cells_of(office, address) == [row[2] for row in ROWS]
    take(office, wang, address, "C3,C4")
    assert "将核销 7 张" in text_of(wang.get(address))


def test_a_corrected_sheet_is_another_order_and_the_same_sheet_corrected_alike_is_the_same(office):
    wang = at_the_pages(office)
    plans = []
    for name in ("a.csv", "b.csv"):
        address = checked(office, wang, name=name)
        take(office, wang, address, "C3,C4")
        plans.append(re.search(r'name="plan" value="(\w+)"', wang.get(address))[1])
    first = address.replace("/check", "/confirm")
    wang.post(first, {"plan": plans[1], "mode": "valid"})
    office.drain()
    address = checked(office, wang, name="c.csv")
    assert "同样的内容已提交过" not in text_of(
        wang.get(address)
    )  # uncorrected it was never submitted
    take(office, wang, address, "C3,C4")
    assert "同样的内容已提交过" in text_of(wang.get(address))


def test_what_a_program_asked_to_be_confirmed_is_shown_to_the_person_first(office):
    wang = at_the_pages(office)
    address = checked(office, wang)
    job = int(re.search(r"\d+", address)[0])
    with office.context.database.write() as session:
        batch = session.get_one(Batch, job)
        batch.asked_for = batch.asked_for | {"confirm": ConfirmMode.VALID.value}
    take(office, wang, address, "C3,C4")
    with office.context.database.read() as session:
        batch = session.get_one(Batch, job)
        assert load_request(batch.asked_for).confirm is ConfirmMode.NONE
        assert batch.confirmed_at is None
    assert office.customs.effects() == {}


@pytest.mark.parametrize("mode", list(PagesMode))
def test_a_sheet_that_a_command_has_read_is_answered_and_corrected_here_too(office, mode):
    wang = at_the_pages(office)
    content = sheet([*ROWS[:3], (AGENT_HANDLED, "核销", "", "2")], (*HEADER, "核销页数"))
    job = intake.receive_sheet(office.context, content, "命令.csv", mode)
    planning.check(office.context, job)
    take(office, wang, f"/jobs/{job}/check", "C3")
    with office.context.database.read() as session:
        modes = set(session.scalars(select(BatchRow.pages_mode).where(BatchRow.batch_id == job)))
    assert modes == {mode}
    assert "将核销" in text_of(wang.get(f"/jobs/{job}/check"))
    header = ("证书号", "操作", "印刷编号", "核销页数")
    asked = sheet([(AGENT_HANDLED, "核销", "211014021", "")], header)
    job = intake.receive_sheet(office.context, asked, "问.csv", mode)
    planning.check(office.context, job)
    said = {"q0": "--column 印刷编号=serial"}
    wang.post(f"/jobs/{job}/answers", said)
    office.drain()
    assert "将核销 1 张" in text_of(wang.get(f"/jobs/{job}/check"))


def test_what_stands_beside_the_columns_is_said_beside_them(office):
    wang = at_the_pages(office)
    rows = [(AGENT_HANDLED, "核销", "211014001", "", "211014002")]
    address = checked(office, wang, rows)
    assert "单元格 E2 不在任何有标题的列中" in text_of(wang.get(address))


def test_who_makes_no_orders_takes_none(office):
    wang, auditor = at_the_pages(office), at_the_pages(office, "audit", Role.AUDITOR)
    address = checked(office, wang)
    assert "改为" not in text_of(auditor.get(address))
    take(office, auditor, address, "C3", status=422)
    assert cells_of(office, address) == [row[2] for row in ROWS]


def test_the_error_sheet_holds_the_wrong_rows_alone_and_comes_back_as_they_are(office):
    wang = at_the_pages(office)
    address = checked(office, wang)
    kept = wang.client.get(address.replace("/check", "/errors.xlsx"))
    again = wang.post("/import", {"file": (io.BytesIO(kept.data), "改.xlsx"), "once": "2"}).location
    office.drain()
    said = text_of(wang.get(again))
    assert "共 3 行" in said
    assert "请先说明" not in said
    heads = re.findall(r"<th>([^<]*)</th>", wang.get(again))
    assert not {"预检结果", "将用流水号", "问题代码", "建议", "原行号"} & set(heads)


def test_what_is_answered_or_corrected_here_is_no_answer_of_whoever_gives_the_file_to_a_command(
    office,
):
    wang = at_the_pages(office)
    content = sheet(ROWS, HEADER)
    job = intake.receive_sheet(office.context, content, "a.csv", PagesMode.ADDITIONAL)
    planning.check(office.context, job)
    take(office, wang, f"/jobs/{job}/check", "C3,C4")
    other = intake.receive_sheet(office.context, content, "a.csv", PagesMode.ADDITIONAL)
    assert other != job
    voids = sheet([(AGENT_HANDLED, "211014021")], ("证书号", "空白证单流水号(作废)"))
    job = intake.receive_sheet(office.context, voids, "b.csv", PagesMode.ADDITIONAL)
    planning.check(office.context, job)
    wang.post(f"/jobs/{job}/answers", {"q0": "--action void"})
    office.drain()
    again = intake.receive_sheet(office.context, voids, "b.csv", PagesMode.ADDITIONAL)
    assert again != job
    with office.context.database.read() as session:
        assert session.get_one(Batch, again).questions


def test_history_is_no_misspelling(office):
    wang = at_the_pages(office)
    address = checked(office, wang, [(AGENT_HANDLED, "已核销", "21101401l")])
    page = text_of(wang.get(address))
    assert "建议: 核销" in page
    assert "改为 211014011" in page
    take(office, wang, address, "B2", status=422)


def test_an_error_sheet_orders_nothing_that_its_own_sheet_did_not(office):
    """A title that speaks of voiding, and an answer to it, are in no sheet of ours: the action is."""
    wang = at_the_pages(office)
    rows = [("以下作废",), (AGENT_HANDLED, "211014021"), (AGENT_HANDLED, "211014022")]
    address = checked(office, wang, rows, ("证书号", "空白证单流水号"))
    wang.post(address.replace("/check", "/answers"), {"q0": "--action void"})
    office.drain()
    assert "有问题 2" in text_of(wang.get(address))  # no reason is given
    kept = wang.client.get(address.replace("/check", "/errors.xlsx"))
    again = wang.post("/import", {"file": (io.BytesIO(kept.data), "改.xlsx"), "once": "2"}).location
    office.drain()
    said = text_of(wang.get(again))
    assert "将核销 0 张， 作废 0 张" in said
    assert "作废必须填写原因" in said


def test_a_merged_count_stands_in_one_row_of_the_error_sheet_as_in_its_own(office):
    book = openpyxl.Workbook()
    page = book.active
    page.append(["证书号", "操作", "核销页数"])
    page.append([AGENT_HANDLED, "核销", 2])
    page.append(["B201026902331601", "核销", None])
    page.merge_cells("C2:C3")
    content = io.BytesIO()
    book.save(content)
    wang = at_the_pages(office)
    said = {"file": (io.BytesIO(content.getvalue()), "合并.xlsx"), "once": "m"}
    address = wang.post("/import", said).location
    office.drain()
    kept = wang.client.get(address.replace("/check", "/errors.xlsx"))
    counts = [row[2] for row in openpyxl.load_workbook(io.BytesIO(kept.data)).active.values][1:]
    assert counts == [""]
    again = wang.post("/import", {"file": (io.BytesIO(kept.data), "改.xlsx"), "once": "2"}).location
    office.drain()
    assert "B201026902331601 核销" not in text_of(wang.get(again)).partition("将要做什么")[2]

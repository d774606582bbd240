"""Stock that one can trust: holds, losses, the count of the paper, the register."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta

import openpyxl
import pytest

from models.reads.stock_book import (
    balances,
    day_in_numbers,
    list_stocks,
    movements,
    queued_forms,
    stock_book,
    weekly_use,
)
from models.rules.calendar import BEIJING, business_date
from models.rules.errors import BadArgument, CellsRefused, NotFound
from models.rules.standings import Standing
from models.rules.states import BatchState, FormState
from models.tables.batches import Batch
from models.tables.forms import Form
from tasks.stock import custody
from tasks.stock.register import export_register
from tests.support import factories
from tests.support.factories import SENDER, agent_certificate, bring_in, confirm, issued, upload

CERTIFICATES = [agent_certificate(n) for n in range(1, 8)]


@pytest.fixture
def stocked(world):
    bring_in(world, [issued(SENDER, "B", "211014001", 20)], CERTIFICATES)
    return world


def order(world, number, action, serials="", pages="", reason=""):
    row = [CERTIFICATES[number].number, action, serials, pages, "", reason]
    return upload(world, [row], name=f"{number}{action}{serials}.csv")


def problems(world, batch_id):
    from models.reads.row_results import row_results
    from models.tables.batches import Batch

    with world.context.database.read() as session:
        batch = session.get_one(Batch, batch_id)
        return [p.code for row in row_results(session, batch) for p in row.problems]


def book(world):
    with world.context.database.read() as session:
        return stock_book(session, list_stocks(session, SENDER, "B")[0], 100)


def form(world, serial):
    from sqlalchemy import select

    with world.context.database.read() as session:
        return session.scalars(select(Form).where(Form.serial == serial)).one()


def test_a_held_form_is_not_taken_and_a_released_one_is(stocked):
    done = custody.hold(stocked.context, ["211014001", "211014002"], None, "受潮")
    assert [f.serial for f in done.changed] == ["211014001", "211014002"]
    assert problems(stocked, order(stocked, 1, "核销", "211014001")) == ["serial_not_available"]
    confirm(stocked, order(stocked, 2, "核销", pages=1))
    stocked.drain()
    assert form(stocked, "211014003").state is FormState.VERIFIED
    assert len(custody.release(stocked.context, ["211014001"], None, "已晾干").changed) == 1
    again = custody.release(stocked.context, ["211014001"], None, "再次")
    assert (again.changed, len(again.unchanged)) == ([], 1)
    confirm(stocked, order(stocked, 3, "核销", pages=1))
    stocked.drain()
    assert form(stocked, "211014001").state is FormState.VERIFIED
    stocked.assert_sound()


def test_a_lost_form_is_blocked_at_once_and_can_only_be_voided_as_lost(stocked):
    custody.lose(stocked.context, ["211014005"], None, "邮寄途中遗失")
    assert problems(stocked, order(stocked, 1, "核销", "211014005")) == ["serial_not_available"]
    spoiled = order(stocked, 2, "作废", "211014005", reason="污损")
    assert problems(stocked, spoiled) == ["serial_not_available"]
    as_lost = order(stocked, 3, "作废", "211014005", reason="遗失")
    assert problems(stocked, as_lost) == []
    confirm(stocked, as_lost)
    stocked.drain()
    lost = form(stocked, "211014005")
    assert (lost.state, lost.lost_at is not None) == (FormState.VOIDED, True)
    stocked.assert_sound()


def test_a_lost_form_whose_void_is_refused_stays_lost(stocked):
    custody.lose(stocked.context, ["211014005"], None, "遗失")
    stocked.customs.play({"fault": "refuse_form", "serial": "211014005", "code": "2106"})
    confirm(stocked, order(stocked, 3, "作废", "211014005", reason="遗失"))
    stocked.drain()
    assert book(stocked).counts[Standing.LOST] == 1
    stocked.assert_sound()


def test_what_is_under_way_or_used_cannot_be_held_or_lost(stocked):
    confirm(stocked, order(stocked, 1, "核销", "211014007"))
    refused = custody.lose(stocked.context, ["211014007", "211014008"], None, "遗失")
    assert [f.serial for f in refused.changed] == ["211014008"]
    assert [(f.serial, f.state, f.batch_id is not None) for f in refused.refused] == [
        ("211014007", FormState.RESERVED, True)
    ]


def test_serials_that_are_not_ours_or_of_two_types_are_said(stocked):
    with pytest.raises(NotFound):
        custody.hold(stocked.context, ["999999999"], None, "x")
    bring_in(stocked, [issued(SENDER, "A", "211014001", 3)], [])
    with pytest.raises(BadArgument):
        custody.hold(stocked.context, ["211014001"], None, "x")
    assert len(custody.hold(stocked.context, ["211014001"], "A", "x").changed) == 1


def test_every_form_stands_somewhere_and_ranges_say_where(stocked):
    custody.hold(stocked.context, ["211014003"], None, "x")
    custody.lose(stocked.context, ["211014004"], None, "x")
    confirm(stocked, order(stocked, 1, "核销", "211014010-211014012"))
    stocked.drain()
    confirm(stocked, order(stocked, 2, "作废", "211014020", reason="污损"))
    found = book(stocked)
    assert found.issued == 20
    assert found.ranges[Standing.ON_HAND] == [
        ("211014001", "211014002"), ("211014005", "211014009"), ("211014013", "211014019"),
    ]  # fmt: skip
    assert found.ranges[Standing.VERIFIED] == [("211014010", "211014012")]
    assert found.ranges[Standing.RESERVED] == [("211014020", "211014020")]
    assert (found.counts[Standing.HELD], found.counts[Standing.LOST]) == (1, 1)


def test_opening_and_received_less_used_is_closing(stocked):
    zero = date(2000, 1, 1)
    confirm(stocked, order(stocked, 1, "核销", "211014001-211014003"))
    stocked.drain()
    stocked.clock.forward(days=1)
    middle = business_date(stocked.clock())
    bring_in(stocked, [issued(SENDER, "B", "211015001", 5)], [])
    confirm(stocked, order(stocked, 2, "作废", "211014004", reason="污损"))
    stocked.drain()
    custody.lose(stocked.context, ["211014009"], None, "x")
    end = middle + timedelta(days=1)
    with stocked.context.database.read() as session:
        (first,) = balances(session, list_stocks(session, None, None), zero, middle).values()
        (second,) = balances(session, list_stocks(session, None, None), middle, end).values()
        yesterday = day_in_numbers(session, middle)
    # the second range was issued in 2022 too, whenever it was entered here
    assert (first.opening, first.received, first.verified, first.voided) == (0, 25, 3, 0)
    assert (second.opening, second.received, second.voided, second.lost) == (22, 0, 1, 1)
    assert second.opening == first.closing
    standing = book(stocked).counts
    used = standing[Standing.VERIFIED] + standing[Standing.VOIDED]
    assert second.closing == 25 - used == 21
    assert yesterday == {"received": 5, "verified": 0, "voided": 1, "refused": 0, "lost": 1}


def test_the_register_is_a_workbook_of_ranges_with_text_serials(stocked, tmp_path):
    confirm(stocked, order(stocked, 1, "核销", "211014001-211014003"))
    stocked.drain()
    today = business_date(stocked.clock())
    start = datetime.combine(today, datetime.min.time(), BEIJING)
    moments = (start.astimezone(UTC), (start + timedelta(days=1)).astimezone(UTC))
    path = tmp_path / "台账.xlsx"
    lines = export_register(stocked.context, path, today, today, moments, None)
    pages = openpyxl.load_workbook(io.BytesIO(path.read_bytes()))
    balance = [c.value for c in pages["汇总"][3]]
    assert balance == [SENDER, "B", 20, 0, 3, 0, 17, 0]
    rows = [[c.value for c in row] for row in pages["明细"].iter_rows(min_row=2)]
    assert lines == len(rows) == 1
    assert rows[0][3:7] == ["已核销", "211014001", "211014003", 3]
    assert all(
        cell.data_type == "s" for row in pages["明细"].iter_rows(min_row=2) for cell in row[4:6]
    )


def test_forms_are_received_on_the_day_of_their_issue_and_a_later_entry_is_said(stocked):
    start = datetime(2022, 3, 31, 16, tzinfo=UTC)  # 1 April in Beijing, when they were issued
    days = (start, start + timedelta(days=1))
    with stocked.context.database.read() as session:
        (balance,) = balances(
            session, list_stocks(session, None, None), date(2022, 4, 1), date(2022, 4, 2)
        ).values()
        (line,) = movements(session, *days, BEIJING, None)
    assert (balance.opening, balance.received) == (0, 20)
    assert (str(line.day), line.form_count) == ("2022-04-01", 20)
    assert line.reason == f"登记于 {business_date(stocked.clock())}"


def test_what_a_person_wrote_is_no_formula_in_the_register(stocked, tmp_path):
    custody.lose(stocked.context, ["211014010"], None, '=HYPERLINK("http://x")')
    today = business_date(stocked.clock())
    start = datetime.combine(today, datetime.min.time(), BEIJING)
    moments = (start.astimezone(UTC), (start + timedelta(days=1)).astimezone(UTC))
    path = tmp_path / "台账.xlsx"
    export_register(stocked.context, path, today, today, moments, None)
    cells = [c for page in openpyxl.load_workbook(path) for row in page.iter_rows() for c in row]
    assert "f" not in {cell.data_type for cell in cells}
    assert any("=HYPERLINK" in str(cell.value) for cell in cells)


def test_recent_use_and_queued_batches_are_counted(stocked):
    confirm(stocked, order(stocked, 1, "核销", "211014001-211014003"))
    stocked.drain()
    stocked.clock.forward(days=8)
    confirm(stocked, order(stocked, 2, "核销", "211014005"))
    stocked.drain()
    batch = order(stocked, 3, "核销", pages=4)
    with stocked.context.database.read() as session:
        assert list(
            weekly_use(
                session, list_stocks(session, None, None), business_date(stocked.clock())
            ).values()
        ) == [[1, 3]]
        assert queued_forms(session) == {}  # checked: a dry run wants nothing
    with stocked.context.database.write() as session:
        session.get_one(Batch, batch).state = BatchState.CONFIRMED
    with stocked.context.database.read() as session:
        assert list(queued_forms(session).values()) == [4]


def test_a_count_of_the_paper_adds_up_and_changes_nothing(stocked):
    confirm(stocked, order(stocked, 1, "核销", "211014001-211014002"))
    stocked.drain()
    custody.lose(stocked.context, ["211014003"], None, "x")
    counted = "211014002\n211014003-05\n211014007+13\n999999999\n"
    found = custody.stocktake(stocked.context, counted.encode(), "盘点.txt", None, None)
    assert {k: v for k, v in found.piles.items() if v} == {
        "matched": [f"2110140{n:02d}" for n in (4, 5, *range(7, 20))],
        "missing": ["211014006", "211014020"],
        "final_here": ["211014002"],
        "found": ["211014003"],
        "unexpected": ["999999999"],
    }
    assert found.adds_up
    assert (found.counted, found.expected) == (18, 17)
    assert form(stocked, "211014003").lost_at is not None


def test_a_count_comes_as_a_sheet_too_and_bad_lines_are_named(stocked):
    sheet = factories.sheet([["211014001", ""], ["", ""], ["211014003", "211014020"]],
                            header=["起始流水号", "截止流水号"])  # fmt: skip
    found = custody.stocktake(stocked.context, sheet, "盘点.csv", SENDER, "B")
    assert found.piles["missing"] == ["211014002"]
    with pytest.raises(CellsRefused, match="2: "):
        custody.stocktake(stocked.context, b"211014001\nabc\n", "x.txt", None, None)


def test_an_expired_batch_gives_its_forms_back_to_the_count(stocked):
    batch = order(stocked, 1, "核销", pages=2)
    confirm(stocked, batch)
    assert book(stocked).counts[Standing.RESERVED] == 2
    stocked.clock.forward(hours=25)
    stocked.drain()
    with stocked.context.database.read() as session:
        assert session.get_one(Batch, batch).state is BatchState.FINISHED
    assert book(stocked).counts[Standing.ON_HAND] == 20

"""Nobody verifies more forms for a certificate than it has pages, and nobody orders the same twice unheard."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from models.reads.certificate_use import verified_counts
from models.reads.invariants import broken_invariants
from models.reads.plans import plan_rows, plan_view
from models.reads.row_results import row_results
from models.rules.differences import DifferenceClass
from models.rules.errors import CellsRefused, FileSubmittedBefore, NothingToSubmit, PlanMoved
from models.rules.states import Action, ItemState, PagesMode
from models.tables.batches import Batch, Item
from models.tables.certificates import Certificate
from models.tables.forms import FormEvent
from models.tables.reconciliation import PastUse
from sheets.questions import NO_ANSWERS, Answers
from tasks.orders import intake, layouts, planning
from tasks.stock import imports
from tests.conftest import DATA, ROOT
from tests.support.factories import (
    AGENT_HANDLED,
    EXPORTER,
    SELF_HANDLED,
    SENDER,
    WITHOUT_PAGES,
    agent_certificate,
    bring_in,
    confirm,
    issued,
    sheet,
    upload,
)
from tests.support.nights import differences, night

AGAIN = planning.Lift(again="客户要求")
BEYOND = planning.Lift(beyond_pages="海关同意加页")


def rows(world, batch):
    with world.context.database.read() as session:
        found = list(row_results(session, session.get_one(Batch, batch)))
    return {r.number: [p.code for p in r.problems] or list(r.serial_list) for r in found}


def counted(n, source="", reference="", certificate=AGENT_HANDLED):
    return (certificate, "核销", "", n, source, "", reference)


def named(serials, reference="", certificate=AGENT_HANDLED, action="核销"):
    return (certificate, action, serials, "", "", "污损" if action == "作废" else "", reference)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([counted(17)], {2: ["pages_exceeded"]}),
        ([counted(16)], {}),
        ([named("211014001-016"), named("211014017")], {3: ["pages_exceeded"]}),
        ([counted(10), named("211014020-026")], {3: ["pages_exceeded"]}),
        ([counted(10, reference="a"), counted(6, reference="b")], {}),
        ([counted(4), counted(4)], {3: ["duplicate_order"]}),
        ([counted(4), counted(4, "出口商")], {}),
        ([counted(4, reference="a"), counted(4, reference="b")], {}),
        ([counted(4), named("211014030", action="作废")], {}),
        ([named("211014001-002"), counted(2)], {}),
        ([named("211014001-016"), named("211014020", action="作废")], {}),
    ],
)
def test_a_sheet_may_not_go_past_the_pages_nor_order_the_same_count_twice(world, given, expected):
    bring_in(world)
    found = rows(world, upload(world, given))
    assert {n: what for n, what in found.items() if "_" in what[0]} == expected


def test_with_pages_unknown_serials_and_a_count_for_one_certificate_are_asked_about(world):
    bring_in(world, certificates=WITHOUT_PAGES)
    assert rows(world, upload(world, [named("211014001-002"), counted(2)]))[3] == [
        "duplicate_order"
    ]
    assert rows(world, upload(world, [counted(2), named("211014001")]))[3] == ["duplicate_order"]


def test_what_other_batches_do_counts_and_their_place_is_named(world):
    bring_in(world)
    confirm(world, upload(world, [counted(10)]))
    second = upload(world, [counted(2), counted(7, reference="other")], name="2.csv")
    assert rows(world, second)[2] == ["duplicate_order"]
    assert rows(world, second)[3] == ["pages_exceeded"]
    with world.context.database.read() as session:
        row = next(row_results(session, session.get_one(Batch, second)))
    assert "批次 1 第 2 行" in row.problems[0].message
    world.drain()
    assert (
        len(rows(world, upload(world, [counted(2)], name="3.csv"))[2]) == 2
    )  # nothing is under way


def test_an_unconfirmed_check_and_a_void_never_count(world):
    bring_in(world)
    upload(world, [counted(10)])
    confirm(world, upload(world, [named("211014030-039", action="作废")], name="v.csv"))
    world.drain()
    assert len(rows(world, upload(world, [counted(16)], name="2.csv"))[2]) == 16


def test_again_with_a_reason_lifts_a_repeat_and_never_the_pages(world):
    bring_in(world)
    batch = upload(world, [counted(4), counted(4), counted(16, reference="x")])
    planning.check(world.context, batch, AGAIN)
    found = rows(world, batch)
    assert (len(found[2]), len(found[3]), found[4]) == (4, 4, ["pages_exceeded"])
    planning.check(world.context, batch)
    assert rows(world, batch)[3] == [
        "duplicate_order"
    ]  # what was lifted once is not lifted for ever


def test_past_the_pages_only_with_a_reason_that_stands_in_the_history(world):
    bring_in(world)
    batch = upload(world, [counted(4, certificate=SELF_HANDLED), counted(1, "", "b", SELF_HANDLED)])
    assert rows(world, batch)[3] == ["pages_exceeded"]
    planning.check(world.context, batch, BEYOND)
    confirm(world, batch)
    with world.context.database.read() as session:
        reasons = set(session.scalars(select(FormEvent.reason).where(FormEvent.cause == "reserve")))
        assert broken_invariants(session) == {}
    assert reasons == {"海关同意加页"}


def test_the_invariant_sees_an_order_past_the_pages_that_nobody_allowed(world):
    bring_in(world)
    confirm(world, upload(world, [counted(4, certificate=SELF_HANDLED)]))
    with world.context.database.write() as session:
        session.get_one(Certificate, SELF_HANDLED).pages = 3
    with world.context.database.read() as session:
        assert [k[:3] for k in broken_invariants(session)] == ["13 "]


def test_fewer_pages_that_become_known_later_break_no_promise(world):
    bring_in(world)
    confirm(world, upload(world, [counted(4, certificate=SELF_HANDLED)]))
    record = next(c for c in WITHOUT_PAGES if c.number == SELF_HANDLED)
    imports.store_certificates(world.context, [replace(record, pages=3)])
    with world.context.database.read() as session:
        assert broken_invariants(session) == {}


def test_a_top_up_from_two_stocks_counts_once(world):
    bring_in(world)
    batch = upload(world, [counted(3, "出口商"), counted(5, "代录入企业")], mode=PagesMode.TOP_UP)
    found = rows(world, batch)
    assert (len(found[2]), len(found[3])) == (3, 2)


def test_forms_used_before_us_count_for_a_top_up_and_for_the_pages(world):
    bring_in(world)
    with world.context.database.write() as session:
        for n in range(3):
            session.add(PastUse(serial=f"20101300{n}", form_type="B", certificate=AGENT_HANDLED,
                                customs_state="2"))  # fmt: skip
    with world.context.database.read() as session:
        assert verified_counts(session, [AGENT_HANDLED]) == {AGENT_HANDLED: 3}
    topped = upload(world, [counted(4)], mode=PagesMode.TOP_UP)
    assert rows(world, topped) == {2: ["211014001"]}
    assert rows(world, upload(world, [counted(14)], name="2.csv")) == {2: ["pages_exceeded"]}


def known_at_customs(world, certificate, pages):
    with world.customs.simulated.ledger.transaction() as db:
        db.execute("UPDATE certificate SET pages = ? WHERE number = ?", (pages, certificate))


def test_the_night_lists_a_certificate_with_more_forms_than_pages(world):
    bring_in(world)
    confirm(world, upload(world, [counted(4, certificate=SELF_HANDLED)]))
    world.drain()
    with world.context.database.write() as session:
        session.get_one(Certificate, SELF_HANDLED).pages = 3
    known_at_customs(world, SELF_HANDLED, 3)
    world.clock.forward(hours=1)
    found = [
        d for d in differences(world, night(world)) if d.kind is DifferenceClass.MORE_THAN_PAGES
    ]
    assert [(d.certificate, d.form_count, d.detail) for d in found] == [(SELF_HANDLED, 1, "4/3")]


def test_customs_refuses_more_pages_than_the_certificate_has(world):
    bring_in(world)
    known_at_customs(world, AGENT_HANDLED, 3)
    batch = upload(world, [counted(4)])
    confirm(world, batch)
    world.drain()
    with world.context.database.read() as session:
        codes = set(session.scalars(select(Item.rep_code).where(Item.batch_id == batch)))
    assert codes == {"2106"}


def test_of_sixteen_clerks_at_once_none_takes_a_certificate_past_its_pages(
    world, database_url, tmp_path
):
    certificates, pages = 6, 5
    bring_in(
        world,
        [issued(SENDER, "B", "211014001", 600)],
        [replace(agent_certificate(n), pages=pages) for n in range(1, certificates + 1)],
    )
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.clerks", database_url]
    clerks = [
        subprocess.Popen(
            [*command, str(tmp_path / "home"), str(n), str(certificates)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for n in range(16)
    ]  # fmt: skip
    for clerk in clerks:
        assert clerk.stdout.readline() == "ready\n"
    for clerk in clerks:
        clerk.stdin.write("go\n")
        clerk.stdin.flush()
    said = [line for clerk in clerks for line in clerk.communicate()[0].split()]
    assert [clerk.returncode for clerk in clerks] == [0] * 16
    taken = said.count("taken")
    assert taken == certificates * (pages // 2)
    assert len(said) == 16 * certificates
    with world.context.database.read() as session:
        held = session.execute(
            select(Item.certificate, func.count())
            .where(Item.state == ItemState.UNDER_WAY, Item.action == Action.VERIFY)
            .group_by(Item.certificate)
        ).all()
        assert {n for _, n in held} == {pages // 2 * 2}
        assert broken_invariants(session) == {}


def test_of_two_clerks_with_the_same_order_at_the_same_moment_one_gets_it(world):
    bring_in(world)
    one = upload(world, [counted(3)], name="1.csv")
    two = intake.receive_sheet(
        world.context, sheet([counted(3), ("合计",)]), "2.csv", PagesMode.ADDITIONAL
    )
    planning.check(world.context, two)
    confirm(world, one)  # both were checked before either was confirmed
    with pytest.raises(NothingToSubmit):
        confirm(world, two)
    assert rows(world, two)[2] == ["duplicate_order"]


def test_a_plan_says_what_is_done_to_how_many_and_what_the_stock_is_short_of(world):
    bring_in(world, certificates=WITHOUT_PAGES)
    given = [named("211014040", action="作废"), counted(30), counted(30, reference="b")]
    batch = upload(world, given)
    with world.context.database.read() as session:
        view = plan_view(session, batch)
        document = view.document()
    assert (document["counts"]["verify"], document["counts"]["void"]) == (0, 1)
    (stock,) = document["stock"]
    assert stock == {
        "owner": SENDER, "type": "B", "before": 40, "after": 39, "wanted": 60, "short": 20,
    }  # fmt: skip
    assert view.ranges[Action.VOID] == [("211014040", "211014040")]


def test_with_pages_unknown_a_row_says_what_its_certificate_has(world):
    bring_in(world, certificates=WITHOUT_PAGES)
    confirm(world, upload(world, [counted(3)]))
    batch = upload(world, [counted(2, reference="b")], name="2.csv")
    with world.context.database.read() as session:
        (row,) = plan_rows(session, session.get_one(Batch, batch))
    assert (row.pages, row.has, row.row.problems) == (None, 3, [])


# -- readings --------------------------------------------------------------------------------------


def workbook(*sheets):
    import io

    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, serial in sheets:
        added = book.create_sheet(title)
        added.append(("证书号", "操作", "流水号"))
        added.append((AGENT_HANDLED, "核销", serial))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_two_months_of_one_workbook_are_two_orders(world):
    bring_in(world)
    content = workbook(("5月", "211014001"), ("6月", "211014002"))
    asked = intake.receive_sheet(world.context, content, "x.xlsx", PagesMode.ADDITIONAL)
    planning.check(world.context, asked)
    with pytest.raises(Exception, match="5月、6月"):
        confirm(world, asked)
    plans = []
    for month in ("5月", "6月"):
        answers = Answers(sheet=month)
        batch = intake.receive_sheet(
            world.context, content, "x.xlsx", PagesMode.ADDITIONAL, answers
        )
        plans.append(planning.check(world.context, batch))
        confirm(world, batch)
    assert plans[0] != plans[1]
    again = intake.receive_sheet(
        world.context, content, "y.xlsx", PagesMode.ADDITIONAL, Answers(sheet="5月")
    )
    planning.check(world.context, again)
    with pytest.raises(FileSubmittedBefore):
        confirm(world, again)


def test_the_same_reading_is_one_batch_under_the_name_it_has_now(world):
    bring_in(world)
    first = upload(world, [counted(1)], name="a.csv")
    assert upload(world, [counted(1)], name="b.csv") == first
    with world.context.database.read() as session:
        assert session.get_one(Batch, first).file_name == "b.csv"
    imports.add_ranges(world.context, [issued(SENDER, "B", "212000001", 5)], "sheet")
    assert upload(world, [counted(1)], name="b.csv") != first  # other serials are ours now


def test_a_yes_is_about_the_plan_that_was_shown(world):
    bring_in(world)
    batch = upload(world, [counted(2)])
    with world.context.database.read() as session:
        shown = session.get_one(Batch, batch).plan
    other = upload(world, [named("211014001-002", "x")], name="other.csv")
    confirm(world, other)
    upload(world, [counted(2)])  # a colleague checks the same file: the table has another plan now
    with pytest.raises(PlanMoved):
        confirm(world, batch, plan=shown)


def test_what_was_said_of_a_column_is_remembered_but_not_that_serials_of_ours_are_ignored(world):
    bring_in(world)
    header = ("证书号", "页数", "备查流水号", "办理否")
    content = sheet([(AGENT_HANDLED, 2, "211014030", "核销")], header)

    def questions(content, answers=NO_ANSWERS):
        batch = intake.receive_sheet(world.context, content, "x.csv", PagesMode.ADDITIONAL, answers)
        with world.context.database.read() as session:
            return [q["what"] for q in session.get_one(Batch, batch).questions]

    assert questions(content) == ["备查流水号", "办理否"]
    said = Answers(columns={"备查流水号": "", "办理否": "action"})
    assert questions(content, said) == []
    assert questions(content) == ["备查流水号"]
    other = sheet([(AGENT_HANDLED, 3, "A-17", "核销")], header)
    assert questions(other) == ["备查流水号"]
    assert [layout["columns"] for layout in layouts.list_layouts(world.context)] == [
        {"办理否": "action"}
    ]
    layouts.forget_layout(world.context, "all")
    assert questions(content) == ["备查流水号", "办理否"]


# -- imports ---------------------------------------------------------------------------------------


def test_serials_of_another_owner_are_named_and_nothing_is_taken(world):
    bring_in(world)
    content = sheet(
        [(SENDER, "B", "211013205", "211013220")], ("持有企业", "证单类型", "起号", "止号")
    )
    with pytest.raises(CellsRefused, match=EXPORTER):
        imports.import_stock(world.context, content, "x.csv")


def test_columns_that_a_certificate_sheet_lacks_wipe_nothing(world):
    bring_in(world)
    content = sheet([(AGENT_HANDLED, EXPORTER, SENDER), ("B201026902331700", EXPORTER, EXPORTER)],
                    ("证书号", "出口商", "录入企业"))  # fmt: skip
    done, _ = imports.import_certificates(world.context, content, "x.csv")
    assert (done.new, done.known) == (0, 2)
    with world.context.database.read() as session:
        known = session.get_one(Certificate, AGENT_HANDLED)
        assert (known.pages, str(known.approved_on)) == (16, "2022-05-11")
        assert session.get_one(Certificate, "B201026902331700").status == "pending"


def test_a_certificate_of_two_enterprises_is_synced_once(world):
    bring_in(world)
    done = imports.sync_certificates(world.context, [EXPORTER, SENDER])
    assert done.new + done.known == len({c.number for c in WITHOUT_PAGES if c.status == "approved"})


@pytest.mark.parametrize("name", ["195-stock-overlap.xlsx"])
def test_ranges_that_overlap_come_in_once(world, name):
    content = (DATA / "cases" / name).read_bytes()
    done, _ = imports.import_stock(world.context, content, name)
    assert (done.new, done.known) == (14, 6)

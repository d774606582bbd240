"""What a batch did not come to is ordered once more, as a new batch that knows which one it follows."""

from __future__ import annotations

import openpyxl
import pytest

from models.rules.errors import BatchNotEnded, BatchNotFound, FileSubmittedBefore, NothingToSubmit
from models.rules.states import Action, FormState, PagesMode, RowOutcome
from models.tables.batches import Batch
from tasks.orders import intake, planning, redoing, releasing
from tasks.receipts import reporting
from tests.support.factories import AGENT_HANDLED, agent_certificate, bring_in, confirm, upload
from tests.support.looking import results


def redone(world, batch_id, **how):
    """The checked new batch, and what was impossible."""
    made = redoing.redo(world.context, batch_id, **how)
    planning.check(world.context, made.batch_id)
    with world.context.database.read() as session:
        assert session.get_one(Batch, made.batch_id).redo_of == batch_id
    return made.batch_id, [(i.serial, i.state) for i in made.impossible]


def test_rows_that_customs_refused_are_ordered_again_and_no_others(world):
    bring_in(world, certificates=[agent_certificate(n) for n in (1, 2)])
    world.customs.play({"fault": "refuse_form", "serial": "211014001", "code": "2106"})
    rows = [
        [agent_certificate(n).number, "核销", f"21101400{n}", "", "", "", f"ref{n}"] for n in (1, 2)
    ]
    first = upload(world, rows)
    confirm(world, first)
    world.drain()
    world.customs.play()
    again, impossible = redone(world, first)
    (row,) = results(world, again)
    assert (row.serial_list, row.reference, impossible) == (["211014001"], "ref1", [])
    confirm(world, again)
    world.drain()
    assert world.customs.effects() == {"211014001": "V", "211014002": "V"}
    with pytest.raises(NothingToSubmit):
        redoing.redo(world.context, again)
    world.assert_sound()


def test_the_result_of_an_order_without_a_sheet_has_its_titles_above_its_rows(world):
    bring_in(world)
    batch_id = intake.receive_orders(
        world.context,
        "order",
        [{"certificate": AGENT_HANDLED, "action": "核销", "page_count": "2"}],
        PagesMode.ADDITIONAL,
    )
    planning.check(world.context, batch_id)
    confirm(world, batch_id)
    world.drain()
    sheet = openpyxl.load_workbook(reporting.result_path(world.context, batch_id)).worksheets[0]
    titles, order = (
        [cell for cell in row if cell is not None]
        for row in sheet.iter_rows(max_row=2, values_only=True)
    )
    assert AGENT_HANDLED in order
    assert "核销" in order
    assert len(titles) > 3
    assert AGENT_HANDLED not in titles


def test_a_row_by_page_count_asks_for_what_came_back(world):
    bring_in(world)
    batch_id = upload(world, [[AGENT_HANDLED, "核销", "", 2]])
    confirm(world, batch_id)
    releasing.cancel(world.context, batch_id)
    held = upload(world, [[AGENT_HANDLED, "核销", "211014001"]], name="other.csv")
    confirm(world, held)
    again, impossible = redone(world, batch_id)
    (row,) = results(world, again)
    assert (row.serial_list, impossible) == (["211014002", "211014003"], [])


def test_a_wrong_void_that_was_taken_back_is_verified_instead(world):
    bring_in(world)
    batch_id = upload(world, [[AGENT_HANDLED, "作废", "211014001-211014002", "", "", "01"]])
    confirm(world, batch_id)
    releasing.cancel(world.context, batch_id)
    again, impossible = redone(world, batch_id, action=Action.VERIFY)
    confirm(world, again)
    world.drain()
    assert world.customs.effects() == {"211014001": "V", "211014002": "V"}
    assert impossible == []
    world.assert_sound()


def test_forms_that_are_final_cannot_be_ordered_otherwise_and_are_named(world):
    bring_in(world)
    world.customs.play({"fault": "refuse_form", "serial": "211014002", "code": "2106"})
    batch_id = upload(world, [[AGENT_HANDLED, "核销", "211014001-211014002"]])
    confirm(world, batch_id)
    world.drain()
    world.customs.play()
    again, impossible = redone(world, batch_id, action=Action.VOID, reason="01")
    assert impossible == [("211014001", FormState.VERIFIED)]
    (row,) = results(world, again)
    assert (row.action, row.serial_list, row.problems) == (Action.VOID, ["211014002"], [])
    confirm(world, again)
    world.drain()
    assert results(world, again)[0].outcome is RowOutcome.DONE


def test_a_batch_is_redone_when_it_has_ended(world):
    bring_in(world)
    batch_id = upload(world, [[AGENT_HANDLED, "核销", "211014001"]])
    with pytest.raises(BatchNotEnded):
        redoing.redo(world.context, batch_id)
    confirm(world, batch_id)
    with pytest.raises(BatchNotEnded):
        redoing.redo(world.context, batch_id)
    with pytest.raises(BatchNotFound):
        redoing.redo(world.context, 999)
    releasing.cancel(world.context, batch_id)
    assert redone(world, batch_id)[1] == []


def test_what_was_redone_is_not_redone_again_by_mistake(world):
    bring_in(world)
    batch_id = upload(world, [[AGENT_HANDLED, "核销", "", 2]])
    confirm(world, batch_id)
    releasing.cancel(world.context, batch_id)
    first, second = redone(world, batch_id)[0], redone(world, batch_id)[0]
    confirm(world, first)
    world.drain()
    with pytest.raises(FileSubmittedBefore):
        confirm(world, second)
    assert len(world.customs.effects()) == 2
    world.assert_sound()

"""Numbers that are kept instead of counted, and marks that let a page count begin where something is free."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import event, func, select, text

from models.reads.batches import Progress, batch_progress
from models.reads.invariants import broken_invariants
from models.reads.stock_book import list_stocks, stock_book, stock_counts
from models.reads.tallies import amounts
from models.rules.standings import Standing
from models.rules.states import FormState
from models.tables.database import Database
from models.tables.forms import Block, Form
from models.tables.tallies import Tally, TallyChange
from models.writes.tallies import merge_changes, note_changes
from tasks import upkeep
from tasks.messages import preparing, sending, signing
from tasks.receipts import applying, inbox, reporting
from tasks.stock import custody
from tests.support.factories import SENDER, agent_certificate, bring_in, confirm, issued, upload


@pytest.fixture
def stocked(world):
    bring_in(
        world,
        [issued(SENDER, "B", "211014001", 20)],
        [agent_certificate(n) for n in range(1, 10)],
    )
    return world


def take(world, number, pages):
    batch = upload(world, [(agent_certificate(number).number, "核销", "", pages)])
    confirm(world, batch)
    return batch


def mark(world):
    with world.context.database.read() as session:
        return session.scalars(select(Block.lowest_free)).one()


def counts(world):
    with world.context.database.read() as session:
        (stock,) = list_stocks(session, None, None)
        return {s: n for s, n in stock_counts(session, stock.id).items() if n}


def test_a_lost_form_at_the_low_end_does_not_keep_page_counts_looking_there(stocked):
    custody.lose(stocked.context, ["211014001"], None, "x")
    custody.hold(stocked.context, ["211014002"], None, "x")
    take(stocked, 1, 3)
    assert mark(stocked) == "211014006"


def test_a_form_that_is_released_is_the_next_one_taken(stocked):
    custody.hold(stocked.context, ["211014001"], None, "x")
    take(stocked, 1, 3)
    assert mark(stocked) == "211014005"
    custody.release(stocked.context, ["211014001"], None, "found")
    assert mark(stocked) == "211014001"
    take(stocked, 2, 1)
    with stocked.context.database.read() as session:
        (first,) = session.scalars(select(Form.certificate).where(Form.serial == "211014001"))
    assert first == agent_certificate(2).number


def test_what_is_kept_is_what_there_is_before_and_after_it_is_merged(stocked):
    take(stocked, 1, 3)
    stocked.drain()
    custody.hold(stocked.context, ["211014010"], None, "x")
    custody.lose(stocked.context, ["211014011"], None, "x")
    take(stocked, 2, 2)
    before = counts(stocked)
    assert before == {
        Standing.ON_HAND: 13,
        Standing.HELD: 1,
        Standing.LOST: 1,
        Standing.RESERVED: 2,
        Standing.VERIFIED: 3,
    }
    assert upkeep.merge_numbers(stocked.context) > 0
    assert upkeep.merge_numbers(stocked.context) == 0
    assert counts(stocked) == before
    with stocked.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(TallyChange)) == 0
    stocked.assert_sound()


def test_a_number_that_is_wrong_is_found(stocked):
    with stocked.context.database.write() as session:
        session.execute(text("UPDATE tally_change SET amount = amount + 1"))
    with stocked.context.database.read() as session:
        assert [n.split()[0] for n in broken_invariants(session)] == ["16a", "16b"]


def test_changes_that_are_noted_while_others_are_merged_are_not_lost(database, database_url):
    together = [Database(database_url) for _ in range(3)]

    def note(mine):
        for n in range(40):
            with mine.write() as session:
                note_changes(session, {"stock:1:1:on_hand": 1, f"stock:1:{n}:held": 1})

    def merge(mine):
        for _ in range(40):
            with mine.write() as session:
                merge_changes(session)

    work = [(note, together[0]), (note, together[1]), (merge, together[2]), (merge, database)]
    threads = [threading.Thread(target=what, args=(with_it,)) for what, with_it in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    merge(database)
    with database.read() as session:
        found = amounts(session, "stock:1:")
        assert session.scalar(select(func.count()).select_from(TallyChange)) == 0
        assert session.scalar(select(func.count()).select_from(Tally)) == 41
    for one in together:
        one.close()
    assert found["stock:1:1:on_hand"] == 80
    assert found["stock:1:7:held"] == 2


def test_a_stock_whose_forms_all_stand_the_same_is_shown_without_reading_them(stocked):
    read = []

    def watch(_c, _cursor, statement, *_):
        read.append(statement)

    event.listen(stocked.context.database.engine, "before_cursor_execute", watch)
    with stocked.context.database.read() as session:
        (stock,) = list_stocks(session, None, None)
        book = stock_book(session, stock, 10)
    event.remove(stocked.context.database.engine, "before_cursor_execute", watch)
    assert book.ranges[Standing.ON_HAND] == [("211014001", "211014020")]
    assert not any("FROM form" in statement for statement in read)


def test_the_progress_of_a_batch_is_kept_until_it_is_reported(stocked):
    batch = upload(
        stocked,
        [(agent_certificate(1).number, "核销", "", 3), (agent_certificate(2).number, "作废", "211014010", "", "", "01")],
    )  # fmt: skip
    confirm(stocked, batch)

    def progress():
        with stocked.context.database.read() as session:
            return batch_progress(session, batch)

    assert progress() == Progress({FormState.RESERVED: 4}, 0)
    preparing.prepare(stocked.context, batch)
    signing.sign(stocked.context)
    sending.send(stocked.context)
    at_customs = {FormState.VERIFY_SUBMITTED: 3, FormState.VOID_SUBMITTED: 1}
    assert progress() == Progress(at_customs, 0)
    stocked.customs.simulated.decide_due()
    inbox.poll(stocked.context)
    applying.apply(stocked.context)
    assert progress().ended == 4
    reporting.report(stocked.context, batch)
    assert progress() == Progress({}, 0)
    stocked.assert_sound()

"""The live part of a job: made once for all who look while nothing changes, and never another than would be made now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.names import Task
from console.app import create_app
from console.pages import jobs, kept
from console.pages.kept import KeptParts
from models.reads.row_results import row_outcomes, row_results
from models.rules.people import Role
from models.rules.states import PauseScope, RowOutcome
from models.tables.batches import Batch
from tasks import line, pipeline
from tasks.orders import releasing
from tasks.people import grace, persons
from tasks.receipts import inbox
from tests.support.clerks_pages import at_the_pages
from tests.support.factories import (
    AGENT_HANDLED,
    SELF_HANDLED,
    bring_in,
    confirm,
    upload,
)
from tests.support.use_cases import USE_CASES

ROWS = (
    (AGENT_HANDLED, "核销", "211014001-211014003"),
    (AGENT_HANDLED, "作废", "211014004", "", "", "打印错误"),
    (AGENT_HANDLED, "核销", "999"),
    (SELF_HANDLED, "核销", "", 2),
)
HEADER = ("证书号", "操作", "空白证单流水号", "核销页数", "库存来源", "作废原因")


@pytest.fixture
def office(world):
    """A job in the time in which it can be taken back, with a row that is wrong and a form that will be refused."""
    bring_in(world)
    grace.set_grace(world.context, 10, 30)
    world.customs.play({"fault": "refuse_form", "serial": "211014002", "code": "2106"})
    world.job = upload(world, [(*r, *[""] * (len(HEADER) - len(r))) for r in ROWS], HEADER)
    confirm(world, world.job)
    return world


def live(clerk, world, **said):
    headers = {"HX-Request": "true", **said}
    return clerk.client.get(f"/jobs/{world.job}?live=1", headers=headers)


def steps(world):
    """Everything that is due until nothing is, one thing after another."""
    yield "in grace"
    line.pause(world.context, PauseScope.BATCH, str(world.job), "wang", "先看看")
    yield "paused"
    line.resume(world.context, PauseScope.BATCH, str(world.job), "wang")
    yield "resumed"
    world.clock.ahead += timedelta(minutes=31)
    yield "grace is over"
    for _ in range(50):
        with world.context.database.read() as session:
            due = [r for r in pipeline.due(session, world.clock()) if r[0] is not Task.POLL]
        if not due and not world.customs.simulated.decide_due() and not inbox.poll(world.context):
            return
        for task, ids in due:
            USE_CASES[task](world.context, *ids)
            yield task


def test_what_is_kept_is_what_would_be_made_now_at_every_step(office):
    app = create_app(office.context)
    clerk = at_the_pages(office, app=app)
    texts = set()
    for step in steps(office):
        shown = live(clerk, office).text
        context, shell, _ = app.extensions["blankforms"]
        app.extensions["blankforms"] = (context, shell, KeptParts())
        assert shown == live(clerk, office).text, step
        texts.add(shown)
    assert len(texts) == 5
    assert "2106" in shown


def test_what_is_kept_is_what_would_be_made_now_when_it_is_taken_back(office):
    clerk = at_the_pages(office)
    before = live(clerk, office).text
    releasing.cancel(office.context, office.job)
    after = live(clerk, office).text
    assert "hx-get" in before
    assert "hx-get" not in after


def test_a_job_that_stands_still_is_made_once_for_all_who_look(office, monkeypatch):
    made = []
    monkeypatch.setattr(jobs, "row_results", lambda *a, **k: made.append(1) or row_results(*a, **k))
    app = create_app(office.context)
    wang, li = at_the_pages(office, app=app), at_the_pages(office, "li", app=app)
    tag = live(wang, office).headers["ETag"]
    for clerk in (wang, li):
        assert live(clerk, office, **{"If-None-Match": tag}).status_code == 304
    assert len(made) == 1
    li.client.set_cookie("blankforms_lang", "en")
    assert "can be taken back" in live(li, office).text
    assert "可撤回" in live(wang, office).text
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0)  # what time alone changes
    live(wang, office)
    assert len(made) == 3


def test_what_is_kept_is_shown_to_nobody_who_may_not_see_the_job(office):
    app = create_app(office.context)
    wang, li = at_the_pages(office, app=app), at_the_pages(office, "li", Role.MAKER, app=app)
    persons.set_principals(office.context, "li", ["91610000205660331M"])
    assert live(wang, office).status_code == 200
    assert live(li, office).status_code == 404


def test_no_more_parts_are_kept_than_are_said(monkeypatch):
    monkeypatch.setattr(kept, "KEPT_MOST", 2)
    parts, made = KeptParts(), []
    for name in (1, 2, 3, 3, 2, 1):
        assert parts.get(name, "m", lambda n=name: made.append(n) or f"part {n}") == f"part {name}"
    assert made == [1, 2, 3, 1]


def test_rows_are_chosen_by_the_outcomes_that_they_show(office):
    for _ in steps(office):
        with office.context.database.read() as session:
            batch = session.get_one(Batch, office.job)
            rows = {r.number: r.outcome for r in row_results(session, batch)}
            assert dict(row_outcomes(session, batch, 100)) == rows
            assert dict(row_outcomes(session, batch, 2)) == dict(list(rows.items())[:2])
            assert [r.number for r in row_results(session, batch, numbers=(5, 3))] == [3, 5]
    assert sorted(rows.values()) == sorted([RowOutcome.REFUSED] * 2 + [RowOutcome.DONE] * 2)

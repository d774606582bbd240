"""Programs bring jobs: kept once, read by a worker, confirmed as asked, and told what became of them."""

from __future__ import annotations

import io
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from config.names import Task
from models.rules.errors import BatchNotOpen
from models.rules.people import Role, Scope
from models.rules.states import FormState
from models.tables.batches import Batch, BatchRow
from models.tables.forms import Form
from tasks import upkeep
from tasks.orders import confirming, queued
from tasks.people import grace, keys
from tests.support.factories import AGENT_HANDLED, bring_in, sheet
from tests.support.persons import turn_on
from tests.support.programs import program

ORDER = {"certificate": AGENT_HANDLED, "action": "verify", "serials": ["211014001-211014002"]}
VALID = {"confirm": "valid", "orders": [ORDER]}


@pytest.fixture
def office(world):
    bring_in(world)
    return world


def work(world):
    """What a worker does with what was brought."""
    for ids in [r[1] for r in world.rings if r[0] is Task.READ]:
        queued.read(world.context, *ids)
    world.rings.clear()


def test_an_order_goes_from_the_call_to_its_end(office):
    erp = program(office)
    brought = erp.post("/jobs", json={**VALID, "client_reference": "PO-1"})
    assert brought.status_code == 202, brought.json
    job = brought.json
    assert brought.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["state"], job["queued"], job["client_reference"]) == ("received", True, "PO-1")
    work(office)
    assert erp.get(f"/jobs/{job['id']}").json["state"] == "working"
    assert erp.get(f"/jobs/{job['id']}/result.csv").status_code == 409
    office.drain()
    done = erp.get(f"/jobs/{job['id']}").json
    assert (done["state"], done["counts"]["by_state"]["verified"]) == ("finished", 2)
    rows = erp.get(f"/jobs/{job['id']}/rows").json["rows"]
    assert [f["state"] for f in rows[0]["forms"]] == ["verified", "verified"]
    result = erp.get(f"/jobs/{job['id']}/result.xlsx")
    assert result.data[:2] == b"PK"
    result.close()
    assert erp.get("/jobs?client_reference=PO-1").json["jobs"][0]["id"] == job["id"]
    office.assert_sound()


def test_a_sheet_goes_the_same_way_and_its_questions_are_answered_in_the_call(office):
    erp = program(office)
    title = ["作废清单", "", "", "", "", "", ""]
    content = sheet([["证书号", "空白证单流水号"], [AGENT_HANDLED, "211014001"]], title[:2])

    def bring(job):
        form = {"file": (io.BytesIO(content), "月末.xlsx"), "job": job}
        return erp.post("/jobs", data=form, content_type="multipart/form-data").json["id"]

    asked = bring('{"confirm": "all"}')
    work(office)
    job = erp.get(f"/jobs/{asked}").json
    assert (job["state"], job["stopped"]["code"]) == ("asked", "sheet_has_questions")
    assert job["questions"][0]["code"] == "action_unclear"
    answered = bring('{"confirm": "all", "answers": {"action": "verify"}}')
    work(office)
    assert erp.get(f"/jobs/{answered}").json["state"] == "working"


def test_a_sheet_that_cannot_be_read_is_told(office):
    erp = program(office)
    form = {"file": (io.BytesIO(b"\0\1\2"), "x.xlsx"), "job": "{}"}
    job = erp.post("/jobs", data=form, content_type="multipart/form-data").json["id"]
    work(office)
    job = erp.get(f"/jobs/{job}").json
    assert (job["state"], job["stopped"]["code"]) == ("unreadable", "file_unreadable")
    assert "x.xlsx" in job["stopped"]["message"]
    told = erp.get("/events").json["events"]
    assert [(e["type"], e["data"]["why"]["code"]) for e in told] == [
        ("batch.stopped", "file_unreadable")
    ]


class TestOnce:
    """A call that is repeated takes effect once."""

    def test_a_replay_is_answered_with_the_job_as_it_is_now(self, office):
        erp = program(office)
        first = erp.post("/jobs", json=VALID, once="k1")
        work(office)
        again = erp.post("/jobs", json=VALID, once="k1")
        assert (again.status_code, again.json["id"]) == (202, first.json["id"])
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (first.json["state"], again.json["state"]) == ("received", "working")

    def test_another_call_under_the_same_key_is_refused(self, office):
        erp = program(office)
        erp.post("/jobs", json=VALID, once="k1")
        other = erp.post("/jobs", json={**VALID, "confirm": "all"}, once="k1")
        assert (other.status_code, other.json["code"]) == (422, "idempotency_key_used")

    def test_a_program_that_was_given_a_new_key_does_not_order_twice(self, office):
        first = program(office).post("/jobs", json=VALID, once="k1").json["id"]
        assert program(office).post("/jobs", json=VALID, once="k1").json["id"] == first

    def test_somebody_elses_key_is_another(self, office):
        first = program(office).post("/jobs", json=VALID, once="k1").json["id"]
        assert program(office, "other").post("/jobs", json=VALID, once="k1").json["id"] != first

    def test_without_a_key_nothing_is_kept(self, office):
        erp = program(office)
        refused = erp.call("POST", "/jobs", json=VALID)
        assert (refused.status_code, refused.json["code"]) == (400, "idempotency_key_missing")
        assert erp.get("/jobs").json["jobs"] == []

    def test_sixteen_at_once_make_one_job(self, office):
        erp = program(office)
        application = erp.client.application

        def bring(_):
            erp_here = type(erp)(application.test_client(), erp.key)
            return erp_here.post("/jobs", json=VALID, once="k1")

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(bring, range(16)))
        assert {a.status_code for a in answers} == {202}
        assert len({a.json["id"] for a in answers}) == 1
        work(office)
        office.drain()
        assert sorted(office.customs.effects()) == ["211014001", "211014002"]

    def test_a_multipart_call_is_the_same_whatever_its_boundary(self, office):
        erp = program(office)
        content = sheet([[AGENT_HANDLED, "核销", "211014001"]])

        def bring():
            form = {"file": (io.BytesIO(content), "a.xlsx"), "job": "{}"}
            return erp.post("/jobs", data=form, content_type="multipart/form-data", once="k").json

        assert bring()["id"] == bring()["id"]


class TestConfirm:
    """A yes is about a plan."""

    @pytest.fixture
    def checked(self, office):
        erp = program(office)
        job = erp.post("/jobs", json={"orders": [ORDER]}).json["id"]
        work(office)
        return office, erp, erp.get(f"/jobs/{job}").json

    def test_the_same_yes_twice_has_the_same_answer(self, checked):
        office, erp, job = checked
        assert (job["state"], job["queued"]) == ("checked", False)
        yes = {"plan": job["plan"]}
        for _ in range(2):
            answer = erp.post(f"/jobs/{job['id']}/confirm", json=yes)
            assert (answer.status_code, answer.json["state"]) == (202, "working")
        office.drain()
        assert sorted(office.customs.effects()) == ["211014001", "211014002"]

    def test_another_plan_is_refused(self, checked):
        _, erp, job = checked
        answer = erp.post(f"/jobs/{job['id']}/confirm", json={"plan": "0" * 16})
        assert (answer.status_code, answer.json["code"]) == (409, "plan_moved")
        assert answer.content_type == "application/problem+json"
        assert erp.get(f"/jobs/{job['id']}").json["state"] == "checked"

    def test_the_same_content_needs_a_reason(self, checked):
        office, erp, job = checked
        erp.post(f"/jobs/{job['id']}/confirm", json={"plan": job["plan"]})
        office.drain()
        again = erp.post("/jobs", json={"orders": [ORDER], "confirm": "all"}).json["id"]
        work(office)
        stopped = erp.get(f"/jobs/{again}").json
        assert stopped["state"] == "checked"
        assert stopped["stopped"]["code"] in {"nothing_to_submit", "file_submitted_before"}

    def test_what_is_taken_back_is_named(self, checked):
        office, erp, job = checked
        erp.post(f"/jobs/{job['id']}/confirm", json={"plan": job["plan"]})
        done = erp.post(f"/jobs/{job['id']}/cancel").json
        assert (done["released"], done["at_customs"]) == (2, 0)
        with office.context.database.read() as session:
            states = set(session.scalars(select(Form.state)))
        assert states == {FormState.ISSUED}


def test_a_void_that_needs_a_second_person_waits_and_is_endorsed_by_another_key(office):
    erp = program(office)
    turn_on(office, "li", "zhao")
    void = {"certificate": AGENT_HANDLED, "action": "void", "serials": ["211014001"],
            "reason": "09", "reason_text": "试印"}  # fmt: skip
    job = erp.post("/jobs", json={"orders": [void], "confirm": "all"}).json["id"]
    work(office)
    waiting = erp.get(f"/jobs/{job}").json
    assert (waiting["state"], waiting["endorsement"]["state"]) == ("awaiting", "waiting")
    number = waiting["endorsement"]["id"]
    own = program(office, "erp", roles=(Role.MAKER, Role.CHECKER))
    assert own.post(f"/endorsements/{number}/endorse").status_code == 403
    checker = program(office, "li", roles=(Role.CHECKER,))
    assert checker.post(f"/endorsements/{number}/endorse").status_code == 200
    office.drain()
    assert office.customs.effects() == {"211014001": "Z"}
    told = [e["type"] for e in erp.get("/events").json["events"] if "batch" in e["data"]]
    assert told == ["batch.checked", "batch.stopped", "batch.finished"]


def test_a_key_that_was_revoked_meanwhile_confirms_nothing(office):
    erp = program(office)
    job = erp.post("/jobs", json=VALID).json["id"]
    keys.revoke_key(office.context, erp.key.split("_")[1])
    work(office)
    look = program(office)
    assert look.get(f"/jobs/{job}").json["stopped"]["code"] == "key_refused"


def test_an_order_that_died_half_read_is_read_anew(office):
    erp = program(office)
    content = sheet([[AGENT_HANDLED, "核销", "211014001"]])
    form = {"file": (io.BytesIO(content), "a.xlsx"), "job": '{"confirm": "all"}'}
    job = erp.post("/jobs", data=form, content_type="multipart/form-data").json["id"]
    with office.context.database.write() as session:
        session.add(BatchRow(batch_id=job, number=2, status="ok", certificate="left over"))
    office.rings.clear()  # the ring was lost too
    office.drain()
    assert erp.get(f"/jobs/{job}").json["state"] == "finished"
    assert erp.get(f"/jobs/{job}/rows").json["rows"][0]["certificate"] == AGENT_HANDLED


def test_pages_of_jobs_and_rows_neither_skip_nor_repeat(office):
    erp = program(office)
    orders = [{**ORDER, "serials": [f"21101400{n}"]} for n in range(1, 6)]
    made = [erp.post("/jobs", json={"orders": orders}).json["id"] for _ in range(5)]
    work(office)
    assert pages(erp, "/jobs?limit=2", "jobs", "id") == made[::-1]
    assert pages(erp, f"/jobs/{made[0]}/rows?limit=2", "rows", "row") == [2, 3, 4, 5, 6]


def pages(erp, path, name, key):
    found, cursor = [], ""
    while cursor is not None:
        page = erp.get(f"{path}&cursor={cursor}").json
        found += [one[key] for one in page[name]]
        cursor = page["next"]
    return found


def test_the_time_to_think_is_told_and_skipped_by_scope(office):
    grace.set_grace(office.context, 10, 30)
    erp = program(office)
    job = erp.post("/jobs", json=VALID).json["id"]
    work(office)
    assert erp.get(f"/jobs/{job}").json["grace_until"] is not None
    submitter = program(office, "sub", Scope.CHECK, Scope.SUBMIT)
    refused = submitter.post("/jobs", json={**VALID, "immediate": True}, once=uuid.uuid4().hex)
    assert (refused.status_code, refused.json["code"]) == (403, "not_allowed")


class TestThatAReviewerFound:
    """Ways in which an order got lost, or was done otherwise than meant."""

    def test_a_row_that_is_wrong_is_the_reason_that_is_told(self, office):
        erp = program(office)
        wrong = {**ORDER, "serials": ["999999999"]}
        job = erp.post("/jobs", json={"orders": [ORDER, wrong], "confirm": "all"}).json["id"]
        work(office)
        shown = erp.get(f"/jobs/{job}").json
        assert (shown["state"], shown["stopped"]["code"]) == ("checked", "rows_refused")
        told = [e["data"]["why"]["code"] for e in erp.get("/events").json["events"]
                if e["type"] == "batch.stopped"]  # fmt: skip
        assert told == ["rows_refused"]

    @pytest.mark.parametrize("parts", [
        {"file": ("a", "a.csv"), "job": '{"confirm": "all"}', "bogus": "1"},
        {"file": [("a", "a.csv"), ("b", "b.csv")], "job": "{}"},
        {"job": "{}"},
        {"file": ("a", "a.csv"), "job": ["{}", "{}"]},
    ])  # fmt: skip
    def test_no_part_of_a_form_is_left_out_in_silence(self, office, parts):
        erp = program(office)

        def part(value):
            return (io.BytesIO(value[0].encode()), value[1]) if isinstance(value, tuple) else value

        data = {
            name: [part(v) for v in value] if isinstance(value, list) else part(value)
            for name, value in parts.items()
        }
        answer = erp.post("/jobs", data=data, content_type="multipart/form-data")
        assert (answer.status_code, answer.json["code"]) == (422, "bad_argument")

    def test_the_same_order_in_another_language_is_the_same(self, office):
        erp = program(office)
        for language, code in (("zh", None), ("en", "nothing_to_submit")):
            headers = {"Accept-Language": language}
            job = erp.post("/jobs", json=VALID, headers=headers, once=language).json["id"]
            work(office)
            office.drain()
            stopped = erp.get(f"/jobs/{job}").json["stopped"]
            assert (stopped and stopped["code"]) == code
        with office.context.database.read() as session:
            assert len(set(session.scalars(select(Batch.order_key)))) == 1

    def test_the_options_may_come_as_a_file(self, office):
        erp = program(office)
        content = sheet([[AGENT_HANDLED, "核销", "211014001"]])
        job = io.BytesIO(b'{"confirm": "all", "client_reference": "X"}')
        form = {"file": (io.BytesIO(content), "a.xlsx"), "job": (job, "blob")}
        brought = erp.post("/jobs", data=form, content_type="multipart/form-data")
        assert brought.json["client_reference"] == "X"

    def test_what_waits_for_a_worker_is_not_cleared_and_no_number_comes_again(self, office):
        erp = program(office)
        waiting = erp.post("/jobs", json={"orders": [ORDER]}, once="waits").json["id"]
        office.rings.clear()
        old = erp.post("/jobs", json={"orders": [ORDER]}, once="old").json["id"]
        queued.read(office.context, old)
        newest = erp.post("/jobs", json={"orders": [ORDER]}, once="new").json["id"]
        queued.read(office.context, newest)
        office.clock.forward(days=30)
        assert upkeep.clear_unconfirmed(office.context) == [old]
        assert erp.get(f"/jobs/{waiting}").status_code == 200
        again = erp.post("/jobs", json={"orders": [ORDER]}, once="old")
        assert again.json["id"] > newest

    def test_an_order_that_has_left_the_queue_gets_no_yes_from_a_worker(self, office):
        erp = program(office)
        job = erp.post("/jobs", json={"orders": [ORDER]}).json["id"]
        work(office)
        said = confirming.Confirmation(queued=True)
        with pytest.raises(BatchNotOpen):
            confirming.confirm(office.context, job, said)

    def test_no_order_without_a_sheet_is_taken_for_a_total(self, office):
        erp = program(office)
        orders = [
            {"certificate": "", "action": "void"},
            {"certificate": "-", "action": "verify", "pages": 3, "reference": "合计 7"},
        ]
        job = erp.post("/jobs", json={"orders": orders}).json["id"]
        work(office)
        rows = erp.get(f"/jobs/{job}/rows").json["rows"]
        assert [r["status"] for r in rows] == ["problem", "problem"]

    def test_no_certificate_of_an_import_is_left_out_in_silence(self, office):
        erp = program(office)
        named = {"certificate": "合计", "exporter": "合计", "agent": "1"}
        answer = erp.post("/certificates", json={"certificates": [named]})
        assert (answer.status_code, answer.json["code"]) == (422, "cells_refused")

    def test_texts_that_no_database_keeps_are_refused(self, office):
        erp = program(office)
        for path in ("/jobs?client_reference=%00", "/certificates?type=%00", "/forms?serial=%00",
                     "/certificates?cursor=AA", "/stock?owner=a%00b"):  # fmt: skip
            assert erp.get(path).status_code == 422, path
        for path in ("/certificates/a%00b", "/forms/CO/a%00b"):
            assert erp.get(path).status_code == 404, path

    def test_many_wrong_places_make_no_long_answer(self, office):
        erp = program(office)
        orders = [{"certificate": 0, "action": "x", "serials": [0] * 500}] * 1000
        answer = erp.post("/jobs", json={"orders": orders})
        assert answer.status_code == 422
        assert len(answer.data) < 50_000

    def test_more_serials_than_a_call_may_name_are_refused(self, office):
        erp = program(office)
        orders = [{**ORDER, "serials": [f"21{n}00001-21{n}00400"]} for n in range(10, 40)]
        answer = erp.post("/jobs", json={"orders": orders})
        assert (answer.status_code, answer.json["code"]) == (422, "order_too_large")

    def test_a_result_leaves_nothing_behind_whatever_part_of_it_is_asked_for(
        self, office, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        erp = program(office)
        job = erp.post("/jobs", json=VALID).json["id"]
        work(office)
        office.drain()
        answer = erp.get(f"/jobs/{job}/result.csv", headers={"Range": "bytes=99999999-"})
        assert answer.status_code == 200
        answer.close()
        assert list(tmp_path.glob("blankforms-result-*")) == []

    def test_a_place_of_another_database_is_not_taken_for_the_end(self, office):
        erp = program(office)
        answer = erp.get("/events?after=4000000")
        assert (answer.status_code, answer.json["code"]) == (422, "cursor_unknown")

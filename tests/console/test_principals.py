"""A person who works for one enterprise sees and moves nothing of another: everywhere, in the same words as if it
were not there."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date

import pytest

from models.rules.errors import NotFound
from models.rules.people import Role, Scope
from models.rules.states import FormState
from sheets.imports import CertificateRecord
from tasks.people import persons
from tasks.stock import custody
from tests.support.factories import (
    AGENT_HANDLED,
    EXPORTER,
    SAMPLE_CERTIFICATES,
    SAMPLE_RANGES,
    SENDER,
    bring_in,
    issued,
)
from tests.support.persons import by_key
from tests.support.programs import program

OTHER = "91610000205660331M"
OTHERS_CERTIFICATE = "B201026902339001"
OWN_FORM, SHARED_FORM, OTHERS_FORM = "211013201", "211014001", "219000001"
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ALL = (Role.MAKER, Role.CHECKER, Role.ADMINISTRATOR)


def order(certificate, *serials):
    return {"certificate": certificate, "action": "verify", "serials": list(serials)}


def bring(caller, *orders, confirm="none", reference=None):
    said = {"orders": list(orders), "confirm": confirm, "client_reference": reference}
    return caller.post("/jobs", json=said).json["id"]


@pytest.fixture
def office(world):
    bring_in(
        world,
        (*SAMPLE_RANGES, issued(OTHER, "B", OTHERS_FORM, 5)),
        (
            *SAMPLE_CERTIFICATES,
            CertificateRecord(
                OTHERS_CERTIFICATE, "B", OTHER, SENDER, date(2022, 5, 11), 9, "approved"
            ),
        ),
    )
    return world


@pytest.fixture
def of_a(office):
    """Somebody who works for the first enterprise alone, and may do everything there."""
    made = program(office, "wang", roles=ALL)
    persons.set_principals(office.context, "wang", [EXPORTER])
    return made


@pytest.fixture
def others_job(office, of_a):
    """A job of another person for the other enterprise, done: it used two forms, one of the sender's stock."""
    boss = program(office, "boss", roles=ALL)
    job = bring(
        boss, order(OTHERS_CERTIFICATE, OTHERS_FORM, "211014009"), confirm="all", reference="PO-B"
    )
    office.drain()
    assert boss.get(f"/jobs/{job}").json["state"] == "finished"
    return job


def test_lists_files_and_events_tell_nothing_of_the_other_enterprise(office, of_a, others_job):
    mine = bring(of_a, order(AGENT_HANDLED, OWN_FORM), confirm="all", reference="PO-A")
    office.drain()
    for path in ("/jobs", "/jobs?client_reference=PO-B", "/certificates", "/events?after=0", "/stock",
                 "/forms?state=issued&state=verified&state=voided", "/forms", "/endorsements"):  # fmt: skip
        said = of_a.get(path)
        assert said.status_code == 200, path
        for word in (OTHERS_CERTIFICATE, OTHER, OTHERS_FORM, "211014009", "PO-B"):
            assert word not in said.text, (path, word)
    assert [j["id"] for j in of_a.get("/jobs").json["jobs"]] == [mine]
    told = [e["data"] for e in of_a.get("/events?after=0").json["events"]]
    assert {data["batch"] for data in told if "batch" in data} == {mine}
    certificates = {c["certificate"] for c in of_a.get("/certificates").json["certificates"]}
    assert certificates == {c.number for c in SAMPLE_CERTIFICATES}
    owners = {s["owner"] for s in of_a.get("/stock").json["stocks"]}
    assert owners == {EXPORTER, SENDER}


def test_what_is_asked_for_by_its_number_is_not_there(office, of_a, others_job):
    for method, path, body in (
        ("GET", f"/jobs/{others_job}", None),
        ("GET", f"/jobs/{others_job}/rows", None),
        ("GET", f"/jobs/{others_job}/result.xlsx", None),
        ("GET", f"/jobs/{others_job}/result.csv", None),
        ("POST", f"/jobs/{others_job}/confirm", {"plan": "0" * 16}),
        ("POST", f"/jobs/{others_job}/cancel", None),
        ("GET", f"/certificates/{OTHERS_CERTIFICATE}", None),
        ("GET", f"/forms/B/{OTHERS_FORM}", None),
        ("GET", "/forms/B/211014009", None),
    ):
        refused = of_a.call(method, path, once="k", **({"json": body} if body else {}))
        assert refused.status_code == 404, path
    assert of_a.get(f"/forms/B/{SHARED_FORM}").status_code == 200
    for serial in (OTHERS_FORM, "211014009"):
        assert of_a.get(f"/forms?serial={serial}").json["forms"] == []
    assert of_a.get(f"/forms?certificate={OTHERS_CERTIFICATE}").json["forms"] == []


def test_what_tells_of_everybody_is_refused(of_a):
    for method, path, body in (
        ("GET", "/runs", None),
        ("GET", "/runs/2026-01-01", None),
        ("GET", "/endpoints", None),
        ("POST", "/endpoints", {"url": "https://example.com", "events": ["batch.finished"]}),
        ("GET", "/deliveries", None),
        ("POST", "/deliveries/1/redeliver", None),
    ):
        refused = of_a.call(method, path, once="k", **({"json": body} if body else {}))
        assert (refused.status_code, refused.json["code"]) == (403, "not_allowed"), path


def test_an_order_for_the_other_enterprise_is_one_for_an_unknown_certificate(
    office, of_a, others_job
):
    job = bring(
        of_a,
        order(OTHERS_CERTIFICATE, "219000002"),
        order(AGENT_HANDLED, OTHERS_FORM),
        order(AGENT_HANDLED, "211014009"),
        order(AGENT_HANDLED, SHARED_FORM),
        order("B201026902339999", "211014030"),
        confirm="valid",
    )
    office.drain()
    rows = of_a.get(f"/jobs/{job}/rows").json["rows"]
    codes = [[p["code"] for p in row["problems"]] for row in rows]
    assert codes[0] == codes[4]  # an exporter that is not theirs, or no certificate at all
    assert codes[1] == ["serial_unknown"]
    assert codes[2] == ["serial_not_available"]
    assert codes[3] == []
    assert OTHERS_CERTIFICATE not in str(rows[1:])
    assert OTHER not in str(rows)
    assert set(office.customs.effects()) == {OTHERS_FORM, "211014009", SHARED_FORM}


def test_the_same_plan_is_carried_out_whoever_confirms_it(office, of_a):
    """The limit is that of who brought it: another's yes makes no form of the other enterprise move."""
    job = bring(of_a, order(OTHERS_CERTIFICATE, "219000002"), order(AGENT_HANDLED, OWN_FORM))
    office.drain()
    boss = program(office, "boss", roles=ALL)
    plan = boss.get(f"/jobs/{job}").json["plan"]
    assert (
        boss.post(f"/jobs/{job}/confirm", json={"plan": plan, "mode": "valid"}).status_code == 202
    )
    office.drain()
    assert set(office.customs.effects()) == {OWN_FORM}
    office.assert_sound()


@SQLITE
def test_forms_of_the_other_are_neither_held_nor_lost(office, others_job):
    acting = replace(office.context, actor=by_key(office, "wang", *Scope))
    for serial in (OTHERS_FORM, "219000003"):
        with pytest.raises(NotFound):
            custody.hold(acting, [serial], None, "遗失")
    assert custody.hold(acting, [SHARED_FORM], None, "搬库").changed[0].state is FormState.ISSUED


@SQLITE
def test_imports_of_the_other_are_refused_whole(office, of_a):
    certificate = {"certificate": "B201026902339002", "exporter": OTHER, "agent": SENDER}
    taken_over = {"certificate": OTHERS_CERTIFICATE, "exporter": EXPORTER, "agent": SENDER}
    mine = {"certificate": "B201026902339003", "exporter": EXPORTER, "agent": SENDER}
    for one in (certificate, taken_over):
        said = of_a.post("/certificates", json={"certificates": [mine, one]})
        assert (said.status_code, said.json["code"]) == (422, "cells_refused")
        assert of_a.get("/certificates/B201026902339003").status_code == 404
    assert of_a.post("/certificates", json={"certificates": [mine]}).json["new"] == 1
    csv = f"企业代码,证单类型,起始流水号,终止流水号\n{OTHER},B,219100001,219100002\n".encode()
    said = of_a.post("/stock", data={"file": (io.BytesIO(csv), "s.csv")})
    assert (said.status_code, said.json["code"]) == (422, "cells_refused"), said.json


@SQLITE
def test_me_says_for_whom(of_a):
    assert of_a.get("/me").json["principals"] == [EXPORTER]

"""The way in to the pages: signed in or not, whose form it is, what each may, and what is hostile."""

from __future__ import annotations

import gzip
import io
import re
from datetime import timedelta

import pytest

from console.app import create_app
from models.reads.people import list_persons
from models.rules.people import Role
from sheets.imports import CertificateRecord
from tasks.people import persons
from tests.support.clerks_pages import HERE, OWN, at_the_pages, text_of, with_password
from tests.support.factories import (
    AGENT_HANDLED,
    EXPORTER,
    SAMPLE_CERTIFICATES,
    SAMPLE_RANGES,
    SENDER,
    bring_in,
    issued,
    sheet,
)

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PAGES = (
    "/certificates", f"/certificates/{AGENT_HANDLED}", "/forms", "/forms/B/211014001", "/import", "/jobs", "/jobs/1",
    "/jobs/1/check", "/jobs/1/result.xlsx", "/inbox", "/settings", "/me", "/me/password", "/me/second-factor", "/find?q=1",
    "/template.xlsx",
)  # fmt: skip
DEEDS = (
    "/logout", "/me/password", "/me/second-factor", "/me/keys", f"/certificates/{AGENT_HANDLED}", "/import",
    "/certificates", "/forms/B/211014001", "/jobs/1/corrections", "/jobs/1/answers", "/jobs/1/recheck", "/jobs/1/confirm", "/jobs/1/cancel", "/jobs/1/redo",
    "/inbox/endorsements/1", "/inbox/discrepancy/1", "/settings/persons", "/settings/rules", "/settings/grace",
    "/settings/layouts",
)  # fmt: skip


@pytest.fixture
def office(world):
    bring_in(world)
    return world


def test_every_page_asks_who_it_is_and_goes_on_to_where_one_wanted(office):
    client = create_app(office.context).test_client()
    for path in PAGES:
        answer = client.get(path)
        assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/login"), path
    for path in DEEDS:
        assert client.post(path, headers=HERE).location.startswith("/login"), path
    with_password(office, "wang", Role.MAKER)
    said = {"login": "wang", "password": OWN, "next": "/forms?view=all"}
    answer = client.post("/login", data=said, headers=HERE)
    assert answer.location == "/forms?view=all"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie  # plain http: the proxy says https
    assert client.get("/forms?view=all").status_code == 200


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(office, target):
    with_password(office, "wang", Role.MAKER)
    client = create_app(office.context).test_client()
    said = {"login": "wang", "password": OWN, "next": target}
    assert client.post("/login", data=said, headers=HERE).location == "/"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
     {"Origin": "https://evil.example"}, {"Origin": "null"}],
)  # fmt: skip
def test_a_form_of_another_site_does_nothing(office, headers):
    wang = at_the_pages(office, "wang", *Role)
    for path in (*DEEDS, "/login", "/language"):
        answer = wang.client.post(path, data={"do": "add"}, headers=headers)
        assert (answer.status_code, "未作任何处理" in answer.text) == (403, True), path
    own = wang.client.post("/language", data={"to": "en"}, headers={"Origin": "http://localhost"})
    assert own.status_code == 303


def test_a_sign_in_that_is_over_does_nothing_and_loses_its_cookie(office):
    wang = at_the_pages(office)
    office.clock.ahead += timedelta(hours=2)
    answer = wang.client.get("/jobs?live=1", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Refresh"]) == (401, "true")
    answer = wang.client.post("/jobs/1/cancel", headers=HERE)
    assert answer.location == "/login"
    assert "blankforms_sign_in=;" in answer.headers["Set-Cookie"]


def test_pages_that_refresh_themselves_keep_nobody_signed_in(office):
    wang = at_the_pages(office)
    for _ in range(3):
        office.clock.ahead += timedelta(minutes=25)
        answer = wang.client.get("/jobs?live=1", headers={"HX-Request": "true"})
    assert answer.status_code == 401


def test_what_a_page_is_made_of_runs_no_script_of_others(office):
    wang = at_the_pages(office)
    for path in ("/certificates", f"/certificates/{AGENT_HANDLED}", "/login"):
        answer = wang.client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "'unsafe" not in policy
        assert "default-src 'none'" in policy
        assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", answer.text), path
        assert not re.search(r"(src|href)=\"https?:", answer.text), path


def test_hostile_words_are_shown_as_words(office):
    wang = at_the_pages(office)
    hostile = "<img src=x onerror=alert(1)>"
    for path in (
        f"/find?q={hostile}",
        f"/certificates?certificate={hostile}",
        f"/jobs?reference={hostile}",
    ):
        assert "<img src=x" not in wang.client.get(path).text
    content = sheet([[AGENT_HANDLED, "核销", "211014003"]], header=("证书号", "操作", hostile))
    answer = wang.post("/import", {"file": (io.BytesIO(content), f"{hostile}.csv"), "once": "a"})
    office.drain()
    page = wang.get(answer.location)
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_an_upload_sent_twice_is_one_job(office):
    wang = at_the_pages(office)
    content = sheet([[AGENT_HANDLED, "核销", "211014003"]])
    places = {
        wang.post("/import", {"file": (io.BytesIO(content), "a.csv"), "once": "same"}).location
        for _ in range(2)
    }
    assert len(places) == 1


def test_a_yes_said_twice_is_one_and_of_another_plan_none(office):
    wang = at_the_pages(office)
    content = sheet([[AGENT_HANDLED, "核销", "211014003"]])
    check = wang.post("/import", {"file": (io.BytesIO(content), "a.csv"), "once": "1"}).location
    office.drain()
    page = wang.get(check)
    plan = re.search(r'name="plan" value="(\w+)"', page)[1]
    confirm = check.replace("/check", "/confirm")
    wang.post(confirm, {"plan": "0" * 16}, status=422)
    wang.post(confirm, {"plan": plan})
    wang.post(confirm, {"plan": plan})
    office.drain()
    assert office.customs.effects() == {"211014003": "V"}


@pytest.mark.parametrize("role", [Role.CHECKER, Role.AUDITOR, Role.ADMINISTRATOR])
def test_who_makes_no_orders_makes_none_here(office, role):
    other = at_the_pages(office, role.value, role)
    content = sheet([[AGENT_HANDLED, "核销", "211014003"]])
    said = other.post("/import", {"file": (io.BytesIO(content), "a.csv"), "once": "1"}, status=422)
    assert "不能" in said.text or "须" in said.text
    said = other.post(
        f"/certificates/{AGENT_HANDLED}",
        {"do": "verify", "serial": "211014003", "tick": "0"},
        status=422,
    )
    assert "提交成功" not in said.text
    assert office.customs.effects() == {}


def test_an_auditor_looks_and_changes_nothing(office):
    wang, auditor = at_the_pages(office), at_the_pages(office, "audit", Role.AUDITOR)
    page = wang.post(
        f"/certificates/{AGENT_HANDLED}",
        {"do": "verify", "serial": "211014003", "tick": "0"},
        status=200,
    ).text
    job, plan = (
        re.search(r"/jobs/(\d+)/confirm", page)[1],
        re.search(r'name="plan" value="(\w+)"', page)[1],
    )
    assert f"/jobs/{job}/confirm" not in auditor.get(f"/jobs/{job}/check")
    for path, said in (
        (f"/jobs/{job}/confirm", {"plan": plan}),
        (f"/jobs/{job}/cancel", {}),
        (f"/jobs/{job}/redo", {}),
        (f"/jobs/{job}/recheck", {"again": "1", "reason": "x"}),
        ("/inbox/endorsements/1", {"do": "endorse"}),
        ("/inbox/quarantined/1", {"do": "apply"}),
        ("/inbox/quarantined/1", {"do": "close", "reason": "x"}),
        ("/inbox/discrepancy/1", {"do": "close", "reason": "x"}),
        ("/inbox/undelivered/1", {"do": "again"}),
        ("/settings/layouts", {"key": "all"}),
    ):
        answer = auditor.client.post(path, data=said, headers=HERE)
        assert answer.status_code in {403, 409, 422}, path
    office.drain()
    assert office.customs.effects() == {}


def test_a_maker_changes_no_persons_rules_or_grace(office):
    wang = at_the_pages(office)
    for path, said in (
        ("/settings/persons", {"do": "roles", "login": "wang", "role": "administrator"}),
        ("/settings/persons", {"do": "add", "login": "evil", "name": "x", "role": "checker"}),
        ("/settings/persons", {"do": "password", "login": "wang"}),
        ("/settings/rules", {"voids_per_batch": "9", "voids_per_day": "9", "hours": "9"}),
        ("/settings/grace", {"verify": "0", "void": "0"}),
    ):
        assert "wang 某" in text_of(wang.post(path, said, status=422).text)
    with office.context.database.read() as session:
        assert [(p["login"], p["roles"]) for p in list_persons(session)] == [("wang", ["maker"])]


def test_an_administrator_adds_a_person_whose_password_is_shown_once(office):
    boss = at_the_pages(office, "boss", Role.ADMINISTRATOR)
    said = boss.post(
        "/settings/persons",
        {"do": "add", "login": "new", "name": "新人", "role": "maker"},
        status=200,
    )
    password = re.search(r'class="secret">([a-z0-9-]+)<', said.text)[1]
    assert password not in boss.get("/settings")
    client = create_app(office.context).test_client()
    answer = client.post("/login", data={"login": "new", "password": password}, headers=HERE)
    assert answer.status_code == 303
    assert client.get("/certificates").location == "/me/password"  # an own one first, nothing else


def test_a_key_is_made_by_its_owner_and_shown_once(office):
    wang = at_the_pages(office)
    said = wang.post(
        "/me/keys", {"note": "ERP", "days": "30", "scope": ["read", "jobs:check"]}, status=200
    )
    key = re.search(r"bf_\w{12}_[\w-]{43}", said.text)[0]
    assert key not in wang.get("/me")
    answer = wang.client.get("/api/v1/me", headers={"Authorization": f"Bearer {key}"})
    assert answer.json["scopes"] == ["jobs:check", "read"]


def test_the_api_takes_no_cookie_and_the_pages_take_no_key(office):
    wang = at_the_pages(office)
    assert wang.client.get("/api/v1/me").status_code == 401
    said = wang.post("/me/keys", {"note": "ERP", "days": "30", "scope": ["read"]}, status=200)
    key = re.search(r"bf_\w{12}_[\w-]{43}", said.text)[0]
    stranger = create_app(office.context).test_client()
    assert stranger.get("/jobs", headers={"Authorization": f"Bearer {key}"}).location.startswith(
        "/login"
    )


def test_a_person_limited_to_an_enterprise_finds_nothing_of_another(world):
    other, number = "91610000205660331M", "B201026902339001"
    theirs = CertificateRecord(number, "B", other, SENDER, None, 9, "approved")
    bring_in(
        world, (*SAMPLE_RANGES, issued(other, "B", "219000001", 5)), (*SAMPLE_CERTIFICATES, theirs)
    )
    boss = at_the_pages(world, "boss", *Role)
    page = boss.post(
        f"/certificates/{number}", {"do": "verify", "serial": "219000001", "tick": "0"}, status=200
    ).text
    job, plan = (
        re.search(r"/jobs/(\d+)/confirm", page)[1],
        re.search(r'name="plan" value="(\w+)"', page)[1],
    )
    boss.post(f"/jobs/{job}/confirm", {"plan": plan})
    world.drain()
    wang = at_the_pages(world, "wang", *Role)
    persons.set_principals(world.context, "wang", [EXPORTER])
    for path in (f"/certificates/{number}", "/forms/B/219000001", f"/jobs/{job}", f"/jobs/{job}/check",
                 f"/jobs/{job}/result.xlsx", f"/find?q={number}", "/find?q=219000001", f"/find?q={job}"):  # fmt: skip
        wang.get(path, status=404)
    for path in ("/certificates", "/forms?view=all", "/forms?view=agent", "/jobs", "/inbox"):
        said = text_of(wang.get(path))
        assert number not in said, path
        assert "219000001" not in said, path
    wang.post(f"/jobs/{job}/cancel", status=404)
    wang.post(f"/jobs/{job}/redo", status=404)
    wang.post(f"/jobs/{job}/corrections", {"take": "C2"}, status=404)
    wang.post("/forms/B/219000001", {"do": "hold", "reason": "x"}, status=404)


def test_an_administrator_limited_to_an_enterprise_changes_nothing_that_is_everybodys(office):
    boss = at_the_pages(office, "boss", Role.ADMINISTRATOR)
    at_the_pages(office, "wang")
    persons.set_principals(office.context, "boss", [EXPORTER])
    for path, said in (
        ("/settings/persons", {"do": "limit", "login": "boss", "principals": ""}),
        ("/settings/persons", {"do": "password", "login": "wang"}),
        ("/settings/grace", {"verify": "0", "void": "0"}),
    ):
        boss.post(path, said, status=422)
    assert "wang" not in boss.get("/settings")


def test_a_sheet_that_is_still_read_is_not_checked_by_hand(office):
    wang = at_the_pages(office)
    content = sheet([[AGENT_HANDLED, "核销", "211014003"]])
    check = wang.post("/import", {"file": (io.BytesIO(content), "a.csv"), "once": "1"}).location
    wang.post(check.replace("/check", "/recheck"), {"again": "1", "reason": "x"})
    assert "正在读取表格" in wang.get(check)
    office.drain()
    assert "将核销 1 张" in text_of(wang.get(check))


@pytest.mark.parametrize("wrong", [{"hours": "0"}, {"hours": "99999"}, {"reasons": "99"}])
def test_rules_that_make_no_sense_are_refused(office, wrong):
    boss = at_the_pages(office, "boss", Role.ADMINISTRATOR)
    rules = {"voids_per_batch": "9", "voids_per_day": "9", "hours": "9", "reasons": "04 09"}
    boss.post("/settings/rules", rules | wrong, status=422)
    boss.post("/settings/rules", rules)


@pytest.mark.parametrize(
    "said",
    [{"do": "fill"}, {"do": "fill:xx", "pages": "1"}, {"do": "pick:x"}, {"do": "picker:x"}, {"do": "picker:\u00b2"},
     {"do": "fill:agent", "pages": "9" * 40},
     {"do": "verify", "serial": "1", "tick": "0", "beyond": "x" * 5000}],
    ids=str,
)  # fmt: skip
def test_made_up_buttons_are_refused_in_words(office, said):
    wang = at_the_pages(office)
    answer = wang.client.post(f"/certificates/{AGENT_HANDLED}", data=said, headers=HERE)
    assert answer.status_code == 422
    assert "系统错误" not in answer.text


def test_numbers_that_no_database_keeps_are_not_there(office):
    wang = at_the_pages(office)
    large = 1 << 70
    for path in (
        f"/jobs/{large}",
        f"/jobs/{large}/check",
        f"/jobs/{large}/result.xlsx",
        "/find?q=%00",
    ):
        wang.get(path, status=404)
    for path in (f"/jobs/{large}/confirm", f"/jobs/{large}/cancel", f"/inbox/endorsements/{large}"):
        wang.post(path, {}, status=404)
    wang.post(f"/certificates/{AGENT_HANDLED}", {"do": "add", "serial": ["1", "2\0"]}, status=404)
    wang.get(f"/certificates/{AGENT_HANDLED}?said=grace")


def test_the_list_of_jobs_refreshes_itself_with_its_filters(office):
    wang = at_the_pages(office)
    for query in ("", "?state=&reference=", "?state=finished&mine=1"):
        live = re.search(r'hx-get="([^"]+)"', wang.get(f"/jobs{query}"))[1].replace("&amp;", "&")
        assert "<html" not in wang.get(live, headers={"HX-Request": "true"})
    assert "state=finished" in live


def test_grace_has_bounds_that_hold(office):
    boss = at_the_pages(office, "boss", Role.ADMINISTRATOR)
    boss.post("/settings/grace", {"verify": "1441", "void": "0"}, status=422)
    boss.post("/settings/grace", {"verify": "1440", "void": "0"})


def test_a_batch_with_a_certificate_that_is_not_known_belongs_to_no_enterprise(office):
    boss, wang = at_the_pages(office, "boss", Role.MAKER), at_the_pages(office, "wang", *Role)
    persons.set_principals(office.context, "wang", [EXPORTER])
    rows = [[AGENT_HANDLED, "核销", "211014003"], ["B201026902339001", "核销", "211014004"]]
    check = boss.post("/import", {"file": (io.BytesIO(sheet(rows)), "a.csv"), "once": "1"}).location
    office.drain()
    boss.get(check)
    wang.get(check, status=404)


def test_the_acts_of_the_inbox_are_not_for_a_person_limited_to_an_enterprise(office):
    wang = at_the_pages(office, "wang", *Role)
    persons.set_principals(office.context, "wang", [EXPORTER])
    for path, said in (
        ("/inbox/quarantined/1", {"do": "apply"}),
        ("/inbox/discrepancy/1", {"do": "close", "reason": "x"}),
        ("/settings/layouts", {"key": "all"}),
    ):
        assert wang.client.post(path, data=said, headers=HERE).status_code in {403, 422}


def test_what_is_not_there_is_said_in_words(office):
    wang = at_the_pages(office)
    for path in (
        "/jobs/999999",
        "/jobs/999999/check",
        "/certificates/NONE",
        "/forms/B/1",
        "/nothing",
    ):
        said = wang.get(path, status=404)
        assert "Traceback" not in said
        assert "未完成" in text_of(said)


def test_the_first_visit_is_small(office):
    wang = at_the_pages(office)
    size = 0
    for path in (
        "/certificates",
        "/static/look.css",
        "/static/console.js",
        "/static/htmx-4.0.1.min.js",
    ):
        with wang.client.get(path) as answer:
            size += len(gzip.compress(answer.data))
    assert size < 60_000

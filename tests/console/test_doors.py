"""Who may come through which door: every endpoint by every role and scope, from one table."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from console.app import OPERATIONS
from models.rules.language import Language, current_language
from models.rules.people import SCOPE_ROLES, Role, Scope
from tests.support.factories import bring_in
from tests.support.programs import program

BODIES = {
    "post_jobs": {"orders": [{"certificate": "x", "action": "verify"}]},
    "post_jobs_id_confirm": {"plan": "0" * 16},
    "post_endorsements_id_reject": {"reason": "x"},
    "post_certificates": {"certificates": [{"certificate": "x", "exporter": "x", "agent": "x"}]},
    "post_stock": {
        "ranges": [{"owner": "x", "form_type": "B", "first_serial": "1", "last_serial": "2"}]
    },
    "post_endpoints": {"url": "https://example.com", "events": ["batch.finished"]},
    "patch_endpoints_id": {"active": True},
}


def knock(caller, operation):
    """The status and code of a call that would change nothing that is there."""
    path = operation.path.replace("{id}", "999999")
    for name, value in (("number", "X"), ("type", "B"), ("serial", "1"), ("day", "2026-01-01")):
        path = path.replace(f"{{{name}}}", value)
    body = {"json": BODIES[operation.name]} if operation.name in BODIES else {}
    answer = caller.call(operation.method, path, once="k", **body)
    code = (
        (answer.json or {}).get("code")
        if answer.is_json or "problem" in answer.content_type
        else None
    )
    return answer.status_code, code


@pytest.fixture
def office(world):
    bring_in(world)
    return world


SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@SQLITE
def test_every_scope_opens_its_own_endpoints_and_no_other(office):
    for scope in Scope:
        if scope is Scope.IMMEDIATE:
            continue
        caller = program(office, "all", scope, roles=tuple(Role))
        for operation in OPERATIONS:
            refused = knock(caller, operation) == (403, "not_allowed")
            opens = operation.scope in {None, scope}
            assert refused is not opens, (scope, operation.name)


@SQLITE
def test_a_key_makes_its_owner_no_more_than_they_are(office):
    for role in Role:
        caller = program(office, role.value, roles=(role,))
        for operation in OPERATIONS:
            refused = knock(caller, operation) == (403, "not_allowed")
            may = operation.scope is None or role in SCOPE_ROLES[operation.scope]
            assert refused is not may, (role, operation.name)


@SQLITE
def test_an_auditor_reads_everything_and_changes_nothing(office):
    auditor = program(office, "audit", roles=(Role.AUDITOR,))
    for operation in OPERATIONS:
        if operation.method != "GET" and operation.name != "post_refresh":
            assert knock(auditor, operation)[0] == 403, operation.name


@SQLITE
def test_without_a_key_or_with_a_wrong_one_every_door_is_shut(office):
    caller = program(office)
    for key in ("", "bf_" + "0" * 12 + "_" + "a" * 43, caller.key[:-1] + "x", "ключ"):
        stranger = type(caller)(caller.client, key)
        for operation in OPERATIONS:
            status, code = knock(stranger, operation)
            assert status == 401, operation.name
            assert code in {"key_refused", "authorization_missing"}


@SQLITE
def test_errors_come_in_the_language_that_is_asked_for(office):
    erp = program(office)
    for language, said in (
        ("en-GB,en", "there is no batch 7"),
        ("zh-CN", "没有批次 7"),
        ("fr", "没有批次 7"),
    ):
        answer = erp.get("/jobs/7", headers={"Accept-Language": language})
        assert (answer.status_code, answer.json["detail"]) == (404, said)


@SQLITE
def test_what_has_not_changed_is_not_sent_again(office):
    erp = program(office)
    first = erp.get("/stock")
    again = erp.get("/stock", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@SQLITE
def test_a_program_that_has_run_wild_is_told_to_wait(office):
    settings = office.context.settings
    office.context.settings = settings.model_copy(update={"api_calls": 3})
    erp = program(office)
    answers = [erp.get("/me") for _ in range(5)]
    assert answers[0].headers["RateLimit"].startswith('"calls";r=2;t=')
    last = answers[-1]
    assert (last.status_code, last.json["code"]) == (429, "called_too_often")
    assert int(last.headers["Retry-After"]) > 0


@SQLITE
@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"data": "{", "content_type": "application/json"}, 400, "body_unreadable"),
        ({"data": "x", "content_type": "text/plain"}, 415, "media_type_unknown"),
        ({"json": {"orders": []}}, 422, "not_as_described"),
        (
            {"json": {"orders": [{"certificate": "x", "action": "verify", "?": 1}]}},
            422,
            "not_as_described",
        ),
        ({"data": b"x" * (3 << 20), "content_type": "application/json"}, 413, "body_too_large"),
    ],
)
def test_what_is_not_as_described_is_refused_and_named(office, said, status, code):
    office.context.settings = office.context.settings.model_copy(update={"upload_max_mb": 1})
    erp = program(office)
    answer = erp.post("/jobs", **said)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.content_type == "application/problem+json"


@SQLITE
def test_hosts_and_methods_that_are_not_known_are_refused(office):
    office.context.settings = office.context.settings.model_copy(
        update={"console_hosts": "forms.example localhost"}
    )
    erp = program(office)
    assert erp.get("/me").status_code == 200
    strange = erp.get("/me", headers={"Host": "evil.example"})
    assert (strange.status_code, strange.json["code"]) == (400, "host_unknown")
    assert erp.call("PUT", "/me").status_code == 405


@SQLITE
def test_every_answer_has_a_request_id_and_no_cookie(office):
    erp = program(office)
    answer = erp.get("/me", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert "Set-Cookie" not in answer.headers
    assert erp.get("/me", headers={"X-Request-Id": "a b"}).headers["X-Request-Id"] != "a b"


@SQLITE
def test_refused_calls_stand_in_the_log_too_and_the_language_of_the_process_stays(office):
    erp = program(office)
    assert current_language() is Language.ZH
    with capture_logs() as log:
        erp.get("/me")
        type(erp)(erp.client, "").get("/me")
    said = [(e["operation"], e["status"]) for e in log if e["event"] == "api_call"]
    assert said == [("get_me", 200), ("get_me", 401)]


@SQLITE
def test_the_page_of_the_description_asks_no_foreign_host_and_runs_nothing(office):
    page = program(office).client.get("/api/v1/docs")
    assert page.status_code == 200
    assert b"<script" not in page.data
    assert b"//" not in page.data.replace(b"https?://", b"")
    for operation in OPERATIONS:
        assert operation.name.encode() in page.data

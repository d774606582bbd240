"""Persons, keys, the second person and the grace by commands, on a system of real processes."""

from __future__ import annotations

import json

import pytest

from config.settings import load_settings
from models.tables.database import Database
from tests.support.factories import certificate_number
from tests.support.sheets import write_sheets
from tests.support.system import broker, referee, system

VOID = (
    "void",
    certificate_number("B", 1),
    "--serials",
    "211014001-211014003",
    "--reason",
    "01",
    "--yes",
)


@pytest.fixture
def running(short_tmp, request):
    home = short_tmp / f"p{abs(hash(request.node.name)) % 10**8}"
    with system(home) as made:
        socket = load_settings(made.environment).broker_socket
        with broker(home / "broker", port=0, unix_socket_path=socket):
            write_sheets(home, 3)
            made.run("stock", "import", str(home / "stock.csv"))
            made.run("certificates", "import", str(home / "certificates.csv"))
            yield made


def key_of(running, login, *scopes):
    """A key file of this person."""
    options = [part for scope in scopes for part in ("--scope", scope)]
    file = running.home / f"{login}.key"
    file.write_text(running.json("key", "create", login, *options)["key"])
    return str(file)


def as_(running, key, *arguments, expect=0):
    """A command by the owner of the key; its one JSON document."""
    running.environment["BLANKFORMS_KEY_FILE"] = key
    try:
        return json.loads(running.run(*arguments, "--json", expect=expect))
    finally:
        del running.environment["BLANKFORMS_KEY_FILE"]


def test_the_wrong_void_is_stopped_by_a_second_person_and_taken_back_in_time(running):
    for login, roles in (("wang", ["maker"]), ("li", ["checker"]), ("zhao", ["checker"])):
        options = [part for role in roles for part in ("--role", role)]
        running.run("person", "add", login, "--name", f"{login} 某", *options)
    wang = key_of(running, "wang", "jobs:submit", "jobs:cancel")
    li = key_of(running, "li", "endorse")
    running.run("rules", "set", "--on", "--voids-per-batch", "2")
    running.run("grace", "set", "--void", "30")

    running.run(*VOID, expect=3)
    assert "须复核" in running.stderr
    batch = as_(running, wang, *VOID)
    assert (batch["state"], batch["confirmed_by"]) == ("awaiting", "wang 某")
    (request,) = running.json("endorsements")["endorsements"]
    assert (request["batch"], request["rules"]) == (batch["id"], ["voids_per_batch"])
    refused = as_(running, wang, "endorse", str(request["id"]), "--yes", expect=3)
    assert refused["error"]["code"] == "not_allowed"
    as_(running, li, "reject", str(request["id"]), "--reason", "看错证书")
    again = as_(running, wang, *VOID)
    (request,) = running.json("endorsements")["endorsements"]
    as_(running, li, "endorse", str(request["id"]), "--yes")
    one = ("endorsements", "--all", "--limit", "1")
    newest = running.json(*one)
    older = running.json(*one, "--after", str(newest["next"]))
    assert [e["state"] for p in (newest, older) for e in p["endorsements"]] == [
        "endorsed",
        "rejected",
    ]
    assert older["next"] is None
    running.run(*one)
    assert f"还有，接着列: --after {newest['next']}" in running.stderr

    shown = running.json("batch", "show", str(again["id"]))
    assert shown["counts"]["forms"]["reserved"] == 3
    assert shown["grace_until"] is not None
    assert "可撤回" in running.run("batch", "show", str(again["id"]))
    done = as_(running, wang, "batch", "cancel", str(again["id"]))
    assert (done["released"], done["serials_at_customs"]) == (3, [])

    said = [(a["actor"], a["deed"]) for a in reversed(running.json("acts")["acts"])]
    assert said[-5:] == [
        ("wang 某", "order.asked"),
        ("li 某", "rejected"),
        ("wang 某", "order.asked"),
        ("li 某", "endorsed"),
        ("wang 某", "order.cancelled"),
    ]
    running.run("acts", "--verify")
    assert [b["made_by"] for b in as_(running, wang, "batch", "list", "--mine")["batches"]] == [
        "wang 某"
    ] * 2
    referee(
        Database(f"sqlite:///{running.home}/blankforms.db"),
        running.home / "simulator" / "ledger.db",
    )


def test_a_key_that_is_not_accepted_does_nothing_and_is_never_shown(running):
    running.run("person", "add", "wang", "--name", "王芳", "--role", "maker")
    key = key_of(running, "wang", "jobs:submit")
    secret = (running.home / "wang.key").read_text().split("_", 2)[2]
    assert running.json("key", "list")["keys"][0]["owner"] == "wang"
    running.run("person", "disable", "wang")
    refused = as_(running, key, "batch", "list", expect=3)
    assert refused["error"]["code"] == "key_refused"
    assert "Traceback" not in running.stderr
    everything = running.run("acts", "--json") + running.run("key", "list") + running.stderr
    assert secret not in everything
    assert secret.encode() not in (running.home / "blankforms.db").read_bytes()


def test_the_loss_report_names_the_person(running):
    running.run("person", "add", "wang", "--name", "王芳", "--role", "maker")
    running.environment["BLANKFORMS_KEY_FILE"] = key_of(running, "wang", "stock:write")
    said = running.run("stock", "lost", "211014001", "--yes", "--by", "someone else")
    assert "报告人: 王芳" in said


def test_the_first_administrator_comes_in_by_a_one_time_password_and_back_in_by_another(running):
    said = running.json("person", "add", "boss", "--name", "主任", "--admin")
    shown = running.run("person", "add", "boss", "--admin")
    assert "一次性口令(只显示这一次" in shown
    assert said["one_time_password"] not in shown
    assert "已登记" not in shown
    running.run("person", "add", "wang", "--name", "王芳", "--role", "maker")
    assert "一次性口令" in running.run("person", "password", "wang")
    running.run("person", "limit", "wang", expect=2)
    running.run("person", "limit", "wang", "--principal", "9161000MA6TXQ0D1", expect=2)
    acts = running.json("acts")["acts"]
    assert [a["deed"] for a in acts][:3] == ["password.given", "person.added", "password.given"]
    (wang,) = (p for p in running.json("person", "list")["persons"] if p["login"] == "wang")
    assert (wang["signs_in"], wang["principals"]) == (True, None)

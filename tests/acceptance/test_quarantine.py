"""Whatever waits in quarantine can be seen and worked on by a command, unreadable things included."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest

from customs.profile.bcm1 import Bcm1
from models.tables.database import Database
from tasks.receipts import inbox
from tests.support.factories import receipt_xml
from tests.support.system import system


@pytest.fixture
def running(short_tmp, request):
    with system(short_tmp / f"q{abs(hash(request.node.name)) % 10**8}") as made:
        yield made


def store(running, *arrivals):
    database = Database(f"sqlite:///{running.home}/blankforms.db")
    with database.write() as session:
        inbox.store(session, arrivals, datetime.now(UTC))
    database.close()


def test_a_person_looks_applies_again_and_dismisses(running):
    running.run("batch", "list")
    unreadable = inbox.callback_arrival(Bcm1(), "msg_1", b"\x1b[31m{not json")
    stranger = inbox.receipt_arrival(
        "R1", receipt_xml("R1", "STRANGER1", "2" * 18, [("211014001", "0000", "2")]), "poll"
    )
    store(running, unreadable, stranger)
    with sqlite3.connect(running.home / "blankforms.db") as db:
        db.execute("UPDATE inbox SET state = 'quarantined', reason = 'unmatched' WHERE id = 2")
    found = running.json("quarantine")["quarantined"]
    assert [q["number"] for q in found] == [1, 2]
    assert found[0]["reason"].startswith("unreadable")
    shown = running.run("quarantine", "show", "1")
    assert "\x1b" not in shown
    assert "not json" in shown
    assert running.json("quarantine", "apply", "1", "2") == {"applied": [], "quarantined": [1, 2]}
    running.run("quarantine", "dismiss", "1", "2", "--reason", "asked customs", "--by", "wang")
    assert running.json("quarantine")["quarantined"] == []
    assert running.json("discrepancies")["discrepancies"] == []
    running.run("quarantine", "show", "1", expect=2)
    assert "Traceback" not in running.stderr


def test_pausing_and_resuming_the_line(running):
    running.run("batch", "list")
    running.run("line", "pause", "--reason", "look first", "--by", "wang")
    assert "已暂停" in running.stderr
    shown = running.json("line", "show")
    assert (shown["state"], shown["reason"]) == ("closed", "paused")
    assert shown["paused"][0]["by"] == "wang"
    running.run("line", "pause", "--batch", "7", "--reason", "x", expect=2)
    running.run("line", "pause", "--principal", "nobody", "--reason", "x", expect=2)
    running.run("line", "resume")
    assert running.json("line", "show")["state"] == "open"
    running.run("line", "resume", expect=2)

"""The night by real processes and commands: every class, killed half-way, repaired, told."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from redis import Redis
from sqlalchemy import text

from config.settings import load_settings
from customs.profile.bcm1 import Bcm1
from customs.simulator.ledger import Ledger
from models.tables.database import Database
from models.writes.tallies import note_changes
from tasks.app import configure
from tasks.receipts import inbox
from tests.conftest import ROOT
from tests.support.factories import EXPORTER, HEADER, SENDER, certificate_number
from tests.support.receiver import receiver
from tests.support.sheets import bring_in, write_sheets
from tests.support.system import PROCFILE, broker, flush, kept_alive, referee, system

LAGGING, CONTRADICTED, UNANSWERED, RESERVED, PRINTED, BY_HAND = (
    certificate_number("B", n) for n in range(1, 7)
)
MANY = 30_000
"""Forms beside those of the cases: six pages of customs' list, so that a run can be killed in it."""


def write_night(home) -> None:
    """Stock, certificates, one order sheet for each case, and customs' faults."""

    def write(name, header, rows):
        with (home / name).open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file).writerows([header, *rows])

    write(
        "stock.csv",
        ["持有企业", "空白证单类型", "起始流水号", "截止流水号"],
        [
            [SENDER, "B", "211014001", "211014040"],
            [SENDER, "B", "211200001", str(211200000 + MANY)],
            [EXPORTER, "A", "211013011", "211013012"],
        ],
    )
    approved = datetime.now(ZoneInfo("Asia/Shanghai")).date() - timedelta(days=8)
    write(
        "certificates.csv",
        ["证书号", "出口商代码", "录入企业代码", "状态", "审核日期", "页数"],
        [
            [c, EXPORTER, SENDER, "审核通过", approved if c == PRINTED else "", 2]
            for c in (LAGGING, CONTRADICTED, UNANSWERED, RESERVED, PRINTED, BY_HAND)
        ],
    )
    for number, certificate in enumerate((LAGGING, CONTRADICTED, UNANSWERED, RESERVED), start=1):
        write(f"{number}.csv", HEADER, [[certificate, "核销", f"21101400{number}", "", "", ""]])
    faults = [
        {"fault": "receipt_never", "certificate": LAGGING},
        {"fault": "receipt_contradictory", "certificate": CONTRADICTED},
        {"fault": "person_first", "certificate": UNANSWERED, "seconds": 10**6},
    ]
    (home / "faults.json").write_text(json.dumps(faults))


def plant(home, database) -> None:
    """What happened behind our back."""
    ledger = Ledger(home / "simulator" / "ledger.db")
    ledger.settle_by_hand("211014030", "B", "2", BY_HAND)
    ledger.settle_by_hand("211014031", "B", "3", BY_HAND)
    with ledger.transaction() as db:
        db.execute("DELETE FROM form WHERE serial = '211014039'")
        db.execute("UPDATE form SET state = '1', certificate = NULL WHERE serial = '211014002'")
    ledger.issue((f"2110140{n}", "B", SENDER, date(2022, 5, 1)) for n in range(41, 51))
    with database.write() as session:
        gone = "(SELECT id FROM form WHERE serial = '211013012')"
        session.execute(text(f"DELETE FROM form_event WHERE form_id = {gone}"))
        session.execute(text("DELETE FROM form WHERE serial = '211013012'"))
        note_changes(session, {"stock:1:3:on_hand": -1, "day:1:2022-04-01:entered": -1})
        inbox.store(session, [inbox.callback_arrival(Bcm1(), "msg_odd", b"{")], datetime.now(UTC))
    with ledger.transaction() as db:
        db.execute("DELETE FROM form WHERE serial = '211013012'")


def one(database, sql):
    with database.read() as session:
        return session.execute(text(sql)).scalar()


EXPECTED = {
    "lagging": {("211014001", "211014001")},
    "contradiction": {("211014002", "211014002")},
    "no_answer": {("211014003", "211014003")},
    "reservation_expired": {("211014004", "211014004")},
    "outside": {("211014030", "211014030"), ("211014031", "211014031")},
    "unknown_at_customs": {("211014039", "211014039")},
    "new_stock": {("211014041", "211014050")},
    "unaccounted": {("211013012", "211013012")},
    "unmatched_receipt": {(None, None)},
    "printed_not_verified": {(None, None)},
}


def by_class(report):
    found: dict[str, set] = {}
    for d in report["rows"]:
        found.setdefault(d["class"], set()).add((d["first_serial"], d["last_serial"]))
    return found


def work_the_day(running, home, database) -> None:
    """Three batches: one without its receipt, one contradicted later, one with a person at customs."""
    running.start_simulator()
    running.start("worker", "submitter", "sender", "scheduler", "web")
    bring_in(running, home)
    for number in (1, 2, 3):
        running.json("submit", str(home / f"{number}.csv"), "--yes")
    at_customs = "SELECT COUNT(*) FROM submission WHERE state IN ('taken', 'decided')"
    running.wait(lambda: one(database, at_customs) == 3, "three messages taken")
    agreed = (
        "SELECT COUNT(*) FROM discrepancy WHERE kind = 'contradiction' AND closed_at IS NOT NULL"
    )
    running.wait(lambda: one(database, agreed) == 1, "customs' list ends the contradiction")
    books = Ledger(home / "simulator" / "ledger.db")
    decided = "SELECT 1 FROM decision WHERE serial = '211014001'"
    running.wait(lambda: books.read(decided), "customs decided")
    running.kill("worker", "submitter", "sender", "scheduler", "web")


def reserve_and_forget(running, home) -> None:
    """A batch whose reservation is over at once, with nobody there to send it."""
    kept = dict(running.environment)
    running.environment["RESERVATION_HOURS"] = "0.0001"
    running.json("submit", str(home / "4.csv"), "--yes")
    running.environment = kept


def kill_half_way(running, database) -> None:
    """SIGKILL to a run when it has compared some pages and not all."""
    killed = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "reconcile"],
        env=running.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    half_way = "SELECT COUNT(*) FROM reconciliation WHERE after > '2112'"
    running.wait(lambda: one(database, half_way), "half-way")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert one(database, "SELECT state FROM reconciliation WHERE after > ''") == "comparing"


def repair(running, number: str) -> None:
    """As one person and then another."""
    command = ("reconcile", "repair", number)
    dry = running.json(*command, "--dry-run")
    assert {p["class"] for p in dry["plan"]} == set(EXPECTED)
    assert dry["done"] == {}
    running.json(*command, "--by", "张三", "--reason", "已电话核实", "--yes", expect=3)
    approve = (*command, "--class", "contradiction", "--approve", "--yes", "--by")
    running.run(*approve, "张三", expect=3)
    assert "另一人" in running.stderr
    running.json(*approve, "李四")


@pytest.mark.timeout(240)
def test_a_night_with_every_class_killed_half_way_repaired_and_repeated(short_tmp):
    home = short_tmp / "night"
    home.mkdir()
    write_night(home)
    hours = {"MOVING_MINUTES": "0", "NO_ANSWER_HOURS": "0.0001", "RECONCILE_HOUR": "23"}
    with system(home, SIMULATOR_FAULTS=str(home / "faults.json"), **hours) as running:
        settings = load_settings({"BLANKFORMS_HOME": str(home)})
        database = Database(settings.sqlalchemy_url)
        with broker(home / "broker", port=0, unix_socket_path=settings.broker_socket):
            work_the_day(running, home, database)
            plant(home, database)
            reserve_and_forget(running, home)
        kill_half_way(running, database)
        report = running.json("reconcile", expect=3)
        assert by_class(report) == EXPECTED
        assert report["forms"]["ours"] >= MANY
        repair(running, str(report["run"]))
        listed = running.json("forms", "--owner", SENDER, "--limit", "60")["forms"]
        forms = {f["serial"]: f for f in listed}
        assert forms["211014001"]["state"] == "verified"
        assert (forms["211014030"]["state"], forms["211014031"]["state"]) == ("verified", "voided")
        assert forms["211014030"]["certificate"] == BY_HAND
        assert forms["211014004"]["state"] == "issued"
        assert "李四" in forms["211014002"]["hold"]
        assert forms["211014039"]["hold"]
        assert forms["211014050"]["state"] == "issued"
        prepared = running.json("batch", "list")["batches"][0]
        assert (prepared["state"], prepared["rows"]) == ("checked", 1)
        again = running.json("reconcile", expect=3)
        assert (again["run"], again["finished_at"]) == (report["run"], report["finished_at"])
        assert by_class(again) == EXPECTED
        assert running.json("audit", "verify")["anchors"] == 1
        referee(database, home / "simulator" / "ledger.db")
        database.close()


@pytest.mark.timeout(240)
def test_deliveries_survive_the_kill_of_the_worker_and_an_emptied_broker(short_tmp):
    home = short_tmp / "told"
    home.mkdir()
    write_sheets(home, 60)
    (home / "faults.json").write_text(
        json.dumps([{"fault": "refuse_form", "code": "2106", "rate": 0.7}])
    )
    with receiver() as made, system(home, NOTIFY_NETWORKS="127.0.0.0/8") as running:
        made.delay = 0.05
        running.environment["SIMULATOR_FAULTS"] = str(home / "faults.json")
        settings = load_settings({"BLANKFORMS_HOME": str(home)})
        with broker(home / "broker", port=0, unix_socket_path=settings.broker_socket) as server:
            running.start_simulator()
            bring_in(running, home)
            added = running.json("notify", "add", made.url, "--events", "all")
            made.secrets = [added["secret"]]
            running.start("worker", "submitter", "sender", "scheduler", "web")
            running.json("submit", str(home / "orders.csv"), "--yes", expect=0)
            running.wait(lambda: len(made.got) >= 8, "some were told")
            running.kill("worker")
            flush(Redis(unix_socket_path=str(server.unix_socket_path)))
            running.start("worker")
            database = Database(settings.sqlalchemy_url)
            pending = "SELECT COUNT(*) FROM delivery WHERE state <> 'delivered'"
            finished = "SELECT COUNT(*) FROM notification WHERE type = 'batch.finished'"
            running.wait(
                lambda: one(database, finished) and not one(database, pending), "all are told", 120
            )
            with database.read() as session:
                keys = set(session.execute(text("SELECT key FROM notification")).scalars())
            database.close()
        assert {g["id"] for g in made.got} == keys
        assert len(keys) > 30
        assert made.bad == []
        first = list(dict.fromkeys((g["id"], g["type"]) for g in made.got))
        assert (first[0][1], first[-1][1]) == ("batch.checked", "batch.finished")
        assert added["secret"] not in (home / "processes.log").read_text()


@pytest.mark.timeout(120)
def test_a_worker_that_consumes_nothing_is_ended_and_started_anew(short_tmp):
    home = short_tmp / "dog"
    home.mkdir()
    with system(home) as running:
        settings = load_settings({"BLANKFORMS_HOME": str(home)})
        with broker(home / "broker", port=0, unix_socket_path=settings.broker_socket):
            running.start_simulator()
            running.run("batch", "list")
            running.start("scheduler")
            # the product takes no commands from the broker; this worker does, to be told to stop consuming
            command = PROCFILE["worker"].replace("${WORKER_CONCURRENCY:-2}", "1")
            line = kept_alive(command.replace("workers.worker", "tests.support.commanded_worker"))
            running.environment["PYTHONPATH"] = str(ROOT)
            running.spawn("worker", ["sh", "-c", line])
            database = Database(settings.sqlalchemy_url)
            polled = "SELECT poll_at FROM customs_link"
            running.wait(lambda: one(database, polled), "the worker works")
            database.close()
            app = configure(settings)
            app.conf.worker_enable_remote_control = True

            def consumers():
                found = app.control.inspect(timeout=1).active_queues() or {}
                return sum(len(queues) for queues in found.values())

            running.wait(lambda: consumers() == 1, "it consumes")
            first = running.working("worker")
            app.control.cancel_consumer("work")
            running.wait(lambda: consumers() == 0, "it lives and consumes nothing")
            running.wait(lambda: not first.is_running(), "it is ended")
            running.wait(lambda: consumers() == 1, "another consumes in its place")
            assert "worker_consumes_nothing" in (home / "processes.log").read_text()

"""What an operator types about the deployment: whose it is, the line, the card, the version, the place."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from models.rules.states import LineReason
from models.tables.database import Database
from models.writes.line import close_for_card, close_link
from tests.conftest import environment
from tests.support.factories import EXPORTER, SENDER
from tests.support.sheets import bring_in, write_sheets
from tests.support.system import broker, system
from tests.support.tokens import LABEL, MODULE, PIN, make_token

OTHER = {
    "CUSTOMS_URL": "https://customs.example/api",
    "CUSTOMS_TOKEN": "t",
    "ENTERPRISE_CODE": SENDER,
}


@pytest.fixture
def running(short_tmp, request):
    with system(short_tmp / f"d{abs(hash(request.node.name)) % 10**8}") as made:
        yield made


def changed(running, how):
    """Something in the database that took place before the command."""
    database = Database(f"sqlite:///{running.home}/blankforms.db")
    with database.write() as session:
        how(session)
    database.close()


class TestAnotherCustoms:
    def test_is_refused_by_every_command_with_both_names_and_the_way_out(self, running):
        running.run("batch", "list")
        running.environment |= OTHER
        for command in (
            ["batch", "list"],
            ["doctor"],
            ["up"],
            ["stock", "sync"],
            ["db", "upgrade"],
        ):
            running.run(*command, expect=78)
            for word in (
                "模拟海关",
                "https://customs.example:443",
                "adopt-customs",
                "customs moved",
            ):
                assert word in running.stderr
        shown = running.json("customs", "show")
        assert shown["database"]["customs"] == "simulator"
        assert shown["settings"]["customs"] == "https://customs.example:443"

    def test_is_adopted_by_a_deliberate_act_then_moves(self, running):
        running.run("batch", "list")
        running.environment |= OTHER
        running.run("adopt-customs", expect=2)  # nobody is there to be asked
        running.run("adopt-customs", "--yes")
        running.run("batch", "list")
        running.run("customs", "moved", "https://new.example", "--yes")
        assert "CUSTOMS_URL" in running.stderr
        running.run("batch", "list", expect=78)
        running.environment["CUSTOMS_URL"] = "https://new.example/other/path"
        running.run("batch", "list")
        running.run("customs", "moved", "ftp://new.example", "--yes", expect=78)

    def test_another_enterprise_is_told_to_have_a_home_of_its_own(self, running):
        running.run("batch", "list")
        running.environment["ENTERPRISE_CODE"] = EXPORTER
        running.run("batch", "list", expect=78)
        assert SENDER in running.stderr
        assert EXPORTER in running.stderr

    def test_a_database_from_before_is_confirmed_once(self, running):
        running.run("batch", "list")
        with sqlite3.connect(running.home / "blankforms.db") as db:
            db.execute("DELETE FROM deployment")
        running.run("batch", "list")  # no message: the settings are taken
        running.run("customs", "confirm", "--yes")
        running.run("customs", "confirm", "--yes")


class TestTheLine:
    def close(self, session):
        close_for_card(session, datetime.now(UTC), "1002", [])

    def test_its_state_reason_and_local_time_stand_wherever_one_looks(self, running):
        write_sheets(running.home, 2)
        with broker(running.home / "broker", port=0, unix_socket_path=running.home / "broker.sock"):
            bring_in(running, running.home)
            running.run("submit", str(running.home / "orders.csv"), "--yes")
            with sqlite3.connect(running.home / "blankforms.db") as db:
                db.execute("UPDATE batch SET state = 'working'")
            changed(running, self.close)
            running.start("web")
            running.wait(lambda: running.listens(running.port), "web listens")
            with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metrics") as answer:
                metrics = answer.read().decode()
        until = datetime.fromisoformat(running.json("line", "show")["until"]).astimezone()
        beijing = f"{until.astimezone(UTC) + timedelta(hours=8):%Y-%m-%d %H:%M:%S}"
        assert 'blankforms_line{state="closed"} 1.0' in metrics
        assert 'blankforms_line_closed{reason="card_not_accepted"} 1.0' in metrics
        running.run("batch", "show", "1")
        assert beijing in running.stderr
        assert "海关不接受签名卡 1002" in running.stderr
        shown = running.json("batch", "show", "1")["line"]
        assert (shown["state"], shown["reason"], shown["detail"]) == (
            "closed",
            "card_not_accepted",
            "1002",
        )
        checks = {c["check"]: c for c in running.json("doctor", expect=69)["checks"]}
        assert checks["line"]["result"] == "failed"
        assert beijing in checks["line"]["detail"]
        assert "line open" in checks["line"]["detail"]

    def test_is_opened_by_a_person_to_one_message_at_a_time(self, running):
        running.run("batch", "list")
        changed(running, self.close)
        assert running.json("line", "open")["state"] == "probing"
        assert running.json("line", "show")["state"] == "probing"

    def test_stays_closed_for_as_long_as_customs_asked(self, running):
        running.run("batch", "list")
        wait = timedelta(minutes=5)
        changed(running, lambda s: close_link(s, datetime.now(UTC), wait, LineReason.BUSY, "503"))
        running.run("line", "open", expect=3)
        assert "503" in running.stderr


def test_doctor_finds_what_is_wrong_with_a_card_before_there_is_an_order(running, short_tmp):
    config = make_token(short_tmp / "other", enterprise=EXPORTER)
    running.environment |= {
        "PKCS11_MODULE": str(MODULE), "PKCS11_TOKEN_LABEL": LABEL, "PKCS11_KEY_LABEL": "sign",
        "SOFTHSM2_CONF": str(config),
    }  # fmt: skip
    pin = running.home / "pin"
    pin.write_text(PIN)
    running.environment["PKCS11_PIN_FILE"] = str(pin)
    with broker(running.home / "broker", port=0, unix_socket_path=running.home / "broker.sock"):
        running.start_simulator()
        checks = {c["check"]: c for c in running.json("doctor", expect=78)["checks"]}
    assert checks["card"]["detail"].startswith("card_of_another_enterprise")
    assert EXPORTER in checks["card"]["detail"]
    with broker(running.home / "broker", port=0, unix_socket_path=running.home / "broker.sock"):
        running.start("submitter")  # it examines the card by itself, order or not
        running.wait(
            lambda: any(
                c["check"] == f"card {LABEL}" for c in json.loads(doctor(running))["checks"]
            ),
            "the submitter has seen the card",
        )
        checks = {c["check"]: c for c in json.loads(doctor(running))["checks"]}
        assert checks[f"card {LABEL}"]["result"] == "failed"
        running.run("doctor", expect=78)


def doctor(running):
    done = subprocess.run([sys.executable, "-m", "cli.main", "doctor", "--json"], env=running.environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    return done.stdout


def test_the_simulator_does_not_run_in_production(running):
    running.environment |= OTHER | {
        "BLANKFORMS_ENV": "production", "PKCS11_MODULE": str(MODULE), "PKCS11_TOKEN_LABEL": "t",
        "PKCS11_KEY_LABEL": "k",
    }  # fmt: skip
    running.run("simulator", expect=78)
    assert "模拟海关" in running.stderr


def test_the_version_is_said(running):
    assert re.fullmatch(r"blankforms \d+\.\d+\.\d+\n", running.run("--version"))


def test_a_command_in_another_folder_says_that_there_is_no_system_there(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "batch", "list"],
        env={k: v for k, v in environment(tmp_path).items() if k != "BLANKFORMS_HOME"},
        cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0
    assert str(tmp_path / "var") in done.stderr
    assert "还没有系统" in done.stderr

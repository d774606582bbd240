"""A process that cannot have its database or schema waits and says so, or ends with 78; it is never ready without."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess

import psutil
import pytest
from alembic import command

from config.names import Queue
from models.tables.database import Database
from models.tables.schema import HEAD, migration_config
from tests.conftest import admin
from tests.support.proxy import proxy, socket_of, through
from tests.support.sheets import bring_in, write_sheets
from tests.support.system import PROCFILE, broker, referee, system

LINES = tuple(PROCFILE)
ROWS = 40


@pytest.fixture
def away(short_tmp, postgres_url, request):
    """A system whose database is away until `line.away` is False; the broker is there."""
    home = short_tmp / request.node.name[5:25]
    home.mkdir()
    write_sheets(home, ROWS)
    with broker(home / "broker") as server, proxy(socket_of(postgres_url)) as line:
        line.away = True
        with system(
            home,
            DATABASE_URL=through(postgres_url, line),
            BROKER_URL=f"redis://127.0.0.1:{server.port}/0",
            NOTIFICATION_KEY="k" * 40,
        ) as running:
            running.line = line
            running.start_simulator()
            yield running
    database = Database("postgresql+psycopg://" + postgres_url.removeprefix("postgresql://"))
    referee(database, home / "simulator" / "ledger.db")
    database.close()
    shutil.rmtree(home)


def log(running):
    return (running.home / "processes.log").read_text()


def ends_well(running):
    bring_in(running, running.home)
    shown = running.json("submit", str(running.home / "orders.csv"), "--yes", "--wait")
    assert shown["state"] == "finished"
    assert shown["counts"]["forms"]["verified"] + shown["counts"]["forms"]["voided"] == ROWS


@pytest.mark.timeout(180)
def test_every_process_waits_for_the_database_and_is_not_ready_before(away):
    away.start(*LINES)
    away.wait(lambda: log(away).count("waiting_for_database") >= 2 * len(LINES), "all wait, twice")
    said = log(away)
    assert " ready." not in said
    assert "Traceback" not in said
    assert not away.listens(away.port)
    assert all(process.poll() is None for process in away.processes.values())
    away.line.away = False
    away.wait(lambda: away.listens(away.port), "web listens")
    ends_well(away)


@pytest.mark.timeout(180)
def test_pool_children_that_are_replaced_while_the_database_is_away_work_when_it_is_back(away):
    away.line.away = False
    away.start(*LINES)
    away.wait(lambda: log(away).count(" ready.") == 3, "three workers are ready")
    away.line.away = True
    away.line.cut()
    parent = away.working("worker")
    killed = parent.children()
    for child in killed:
        child.kill()
    psutil.wait_procs(killed)
    waits = log(away).count("waiting_for_database")
    away.wait(lambda: log(away).count("waiting_for_database") >= waits + 4, "the new ones wait")
    assert len(parent.children()) == len(killed)  # they are not replaced over and over
    away.line.away = False
    ends_well(away)
    assert "no context" not in log(away)


@pytest.mark.timeout(120)
def test_a_process_that_waits_stops_when_it_is_told_to(away):
    away.start(*LINES)
    away.wait(lambda: log(away).count("waiting_for_database") >= len(LINES), "all wait")
    for name in LINES:
        away.working(name).send_signal(signal.SIGTERM)
    away.wait(lambda: all(p.poll() is not None for n, p in away.processes.items()
                          if n != "simulator"), "all have ended", 20)  # fmt: skip
    away.line.away = False


NEWER = "UPDATE alembic_version SET version_num = '9999'"
OLDER = "UPDATE alembic_version SET version_num = '0003'"
MISSING = "DROP TABLE alembic_version"


def start_alone(running, name):
    """One line of the Procfile by itself: its exit code and what it said."""
    done = subprocess.run(
        ["sh", "-c", f"exec {PROCFILE[name]}"],
        env=running.environment,
        cwd=running.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("change", "code"),
    [(NEWER, "schema_newer"), (OLDER, "schema_older"), (MISSING, "schema_missing")],
)
def test_a_schema_of_another_version_ends_every_process_and_command_clearly(
    short_tmp, postgres_url, change, code
):
    admin(postgres_url, change)
    with system(short_tmp / code, DATABASE_URL=postgres_url, BROKER_URL="redis://127.0.0.1:1/0",
                NOTIFICATION_KEY="k" * 40) as running:  # fmt: skip
        for name in LINES:
            ended, said = start_alone(running, name)
            assert (name, ended) == (name, 78), said
            assert code in said
            assert "Traceback" not in said
        for command in (["doctor"], ["up"], ["batch", "list"]):
            running.run(*command, expect=78)
            assert HEAD in running.stderr or code == "schema_missing"
            assert "db upgrade" in running.stderr or code == "schema_newer"
            assert "Traceback" not in running.stderr


def test_a_newer_embedded_database_is_refused_by_its_name(short_tmp):
    home = short_tmp / "newer"
    with system(home) as running:
        running.run("batch", "list")
        with sqlite3.connect(home / "blankforms.db") as db:
            db.execute(NEWER)
        running.run("batch", "list", expect=78)
        assert "9999" in running.stderr
        assert "CommandError" not in running.stderr
        assert start_alone(running, "worker")[0] == 78


def test_with_a_database_that_cannot_be_read_nothing_is_ready(short_tmp):
    home = short_tmp / "damaged"
    with system(home) as running:
        running.run("batch", "list")
        for file in home.glob("blankforms.db*"):
            file.write_bytes(b"no database at all " * 1000)
        running.run("batch", "list", expect=69)
        assert "Traceback" not in running.stderr
        with broker(home / "broker", port=0, unix_socket_path=home / "broker.sock"):
            running.start("worker", "sender")
            running.wait(lambda: log(running).count("waiting_for_database") >= 4, "they wait")
        assert " ready." not in log(running)
        assert "no context" not in log(running)


def test_an_embedded_database_is_copied_aside_before_it_is_upgraded(short_tmp):
    home = short_tmp / "copied"
    with system(home) as running:
        database = Database(f"sqlite:///{home}/blankforms.db")
        with database.write() as session:
            config = migration_config()
            config.attributes["connection"] = session.connection()
            command.upgrade(config, "0004")
        database.close()
        running.run("batch", "list")
        copies = list(home.glob("blankforms.db.before-*"))
        assert len(copies) == 1
        assert str(copies[0]) in running.stderr
        assert copies[0].stat().st_mode & 0o077 == 0
        with sqlite3.connect(f"file:{copies[0]}?immutable=1", uri=True) as db:
            assert db.execute("SELECT version_num FROM alembic_version").fetchone() == ("0004",)
        running.run("batch", "list")
        assert len(list(home.glob("blankforms.db.before-*"))) == 1


def test_what_a_process_keeps_is_for_its_account_alone(short_tmp):
    home = short_tmp / "private"
    with system(home) as running:
        running.run("batch", "list")
        readable = [
            p for p in home.rglob("*") if p.stat().st_mode & 0o077 and p.name != "processes.log"
        ]
    assert readable == []


def test_while_nobody_takes_its_rings_the_scheduler_makes_no_more_of_them(short_tmp):
    """It rings each second: a day without workers would fill the broker."""
    home = short_tmp / "unheard"
    with system(home) as running:
        running.run("batch", "list")
        with broker(home / "broker", port=0, unix_socket_path=home / "broker.sock") as server:
            client, rings = server.client(), f"blankforms:{Queue.WORK.value}"
            client.rpush(rings, *["x"] * 990)
            running.start("scheduler")
            running.wait(lambda: "nobody_takes_rings" in log(running), "it says so")
            assert client.llen(rings) == 1000
            client.delete(rings)
            running.wait(lambda: client.llen(rings) > 2, "it rings again")

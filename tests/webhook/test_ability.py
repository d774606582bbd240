"""Doctor, /readyz, /metrics and --wait say the same of each fault: code, exit, metric, text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import AuthenticationError
from sqlalchemy import text, update

from cli.batches import what_stops_it
from cli.doctor import BAD, examine
from config.exits import Exit
from customs.profile.bcm1 import Bcm1
from models.rules.card_errors import CardOfAnother, PinRefused, SigningError
from models.rules.language import Language, use_language
from models.rules.states import LineReason, PauseScope
from models.tables.pulses import Pulse
from models.writes.cards import note_card
from models.writes.line import close_for_card, close_link
from tasks import context as world_of_a_process
from tasks import line, pulse
from tasks.ability import CODES, hindrances
from tasks.app import configure
from tasks.messages import asking, preparing, sending, signing
from tests.acceptance.test_book import PAGE
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload
from tests.support.system import broker
from webhook.app import create_app


@dataclass
class Around:
    """A deployment where everything works, and what may be done to it."""

    world: object
    redis: Redis

    @property
    def settings(self):
        return self.world.context.settings

    def write(self, change: Callable) -> None:
        with self.world.context.database.write() as session:
            change(session)

    def card(self, trouble, **values):
        now = self.world.clock()

        def note(session):
            card = note_card(session, "card", trouble, now, now + timedelta(hours=1))
            for name, value in values.items():
                setattr(card, name, value)

        self.write(note)

    def closed(self, reason, detail=""):
        wait = timedelta(minutes=5)
        self.write(lambda s: close_link(s, self.world.clock(), wait, reason, detail))

    def last_seen(self, process, ago):
        at = self.world.clock() - ago
        self.write(lambda s: s.execute(update(Pulse).where(Pulse.process == process).values(at=at)))

    def replace_settings(self, **values):
        chosen = self.settings.model_copy(update=values)
        self.world.context.settings = chosen
        configure(chosen)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def around(world, server):
    redis = Redis(port=server.port)
    there = Around(world, redis)
    there.replace_settings(broker_url=SecretStr(f"redis://127.0.0.1:{server.port}/0"))
    for process in pulse.PROCESSES:
        pulse.pulse(world.context, process)
    there.card(None, not_after=world.clock() + timedelta(days=300))
    yield there
    for name, value in (("requirepass", ""), ("maxmemory", "0")):
        try:
            redis.config_set(name, value)
        except AuthenticationError:
            Redis(port=server.port, password="other").config_set(name, value)
    redis.replicaof("NO", "ONE")


def says(around):
    """What each face says: (doctor's codes, /readyz' codes, the metrics' codes, --wait's texts)."""
    context = around.world.context
    client = create_app(context.settings, context.database, lambda *_: None, Bcm1()).test_client()
    ready = client.get("/readyz")
    metrics = client.get("/metrics").text
    doctor = [
        f for f in examine(context, deep=False)
        if f.verdict == BAD and f.name.en.split()[0] not in {"gateway", "notifications"}
        and f.detail.partition(":")[0] in CODES
    ]  # fmt: skip
    return {
        "doctor": sorted(f.detail.partition(":")[0] for f in doctor),
        "exit": max((f.exit for f in doctor), default=Exit.DONE),
        "ready": sorted(h["code"] for h in ready.json["hindrances"]),
        "status": ready.status_code,
        "metrics": sorted(
            row.partition('"')[2].partition('"')[0]
            for row in metrics.splitlines()
            if row.startswith("blankforms_hindrance{") and row.endswith(" 1.0")
        ),
        "able": "blankforms_able 1.0" in metrics,
        "wait": what_stops_it(context),
        "texts": [str(h.error) for h in hindrances(context.settings, context.database)],
    }


FAULTS = {
    "worker without context": (
        lambda a: a.last_seen("worker", timedelta(minutes=2)),
        "process_quiet", Exit.UNREACHABLE, "worker",
    ),
    "submitter gone": (
        lambda a: a.last_seen("submitter", timedelta(minutes=2)),
        "process_quiet", Exit.UNREACHABLE, "blankforms up",
    ),
    "nothing was ever started": (
        lambda a: a.write(lambda s: s.execute(text("DELETE FROM pulse"))),
        "process_quiet", Exit.UNREACHABLE, "scheduler",
    ),
    "card away": (
        lambda a: a.card(SigningError(detail="no token")), "card_unavailable", Exit.UNREACHABLE, "",
    ),
    "PIN refused": (lambda a: a.card(PinRefused(detail="x")), "pin_refused", Exit.CARD, ""),
    "another's card": (
        lambda a: a.card(CardOfAnother(detail="x")), "card_of_another_enterprise", Exit.CONFIGURATION, "",
    ),
    "certificate ended since it was examined": (
        lambda a: a.card(None, not_after=a.world.clock() - timedelta(days=1)),
        "card_expired", Exit.CARD, "",
    ),
    "customs asked to wait": (
        lambda a: a.closed(LineReason.BUSY, "503"), "customs_busy", Exit.UNREACHABLE, "503",
    ),
    "token unknown": (
        lambda a: a.closed(LineReason.TOKEN), "token_unknown", Exit.UNREACHABLE, "line open",
    ),
    "card not accepted": (
        lambda a: a.write(lambda s: close_for_card(s, a.world.clock(), "1002", [])),
        "card_not_accepted", Exit.UNREACHABLE, "line open",
    ),
    "paused by a person": (
        lambda a: line.pause(a.world.context, PauseScope.ALL, "", "wang", "look first"),
        "paused", Exit.UNREACHABLE, "look first",
    ),
    "restored": (
        lambda a: a.world.context.journal.mark_restored(a.world.clock()),
        "database_restored", Exit.PROBLEMS, "journal accept",
    ),
    "journal not writable": (
        lambda a: a.settings.journal_file.mkdir(parents=True),
        "journal_unwritable", Exit.UNREACHABLE, "",
    ),
    "the sender's disk is full": (
        lambda a: a.write(lambda s: s.execute(
            update(Pulse).where(Pulse.process == "sender").values(code="disk_full", detail="3 MiB"))),
        "disk_full", Exit.UNREACHABLE, "3 MiB",
    ),
    "another clock": (
        lambda a: a.last_seen("worker", -timedelta(minutes=5)), "clock_apart", Exit.UNREACHABLE, "NTP",
    ),
    "schema of before": (
        lambda a: a.write(lambda s: s.execute(text("UPDATE alembic_version SET version_num = '0005'"))),
        "schema_older", Exit.CONFIGURATION, "db upgrade",
    ),
    "another sender": (
        lambda a: a.replace_settings(enterprise_code="91610000102690233L"),
        "another_sender", Exit.CONFIGURATION, "",
    ),
    "broker read-only": (
        lambda a: a.redis.replicaof("127.0.0.1", "1"), "broker_read_only", Exit.UNREACHABLE, "BROKER_URL",
    ),
    "broker full": (
        lambda a: a.redis.config_set("maxmemory", "1"), "broker_out_of_memory", Exit.UNREACHABLE, "maxmemory",
    ),
    "broker with another password": (
        lambda a: a.redis.config_set("requirepass", "other"), "broker_refused", Exit.CONFIGURATION, "BROKER_URL",
    ),
    "broker away": (
        lambda a: a.replace_settings(broker_url=SecretStr("redis://127.0.0.1:1/0")),
        "broker_unreachable", Exit.UNREACHABLE, "blankforms up",
    ),
}  # fmt: skip


def test_where_everything_works_all_say_so(around):
    said = says(around)
    assert (said["doctor"], said["ready"], said["metrics"], said["wait"]) == ([], [], [], [])
    assert (said["exit"], said["status"], said["able"]) == (Exit.DONE, 200, True)


@pytest.mark.parametrize("fault", FAULTS)
def test_all_say_the_same_of_a_fault(around, fault):
    arrange, code, exit_code, words = FAULTS[fault]
    arrange(around)
    said = says(around)
    assert (said["doctor"], said["ready"], said["metrics"]) == ([code], [code], [code])
    assert (said["exit"], said["status"], said["able"]) == (exit_code, 503, False)
    # seconds may pass between one look and the next
    assert [re.sub(r"\d+ s\b", "N s", one) for one in said["wait"]] == [
        re.sub(r"\d+ s\b", "N s", one) for one in said["texts"]
    ]
    assert words in said["wait"][0]
    use_language(Language.EN)
    (english,) = what_stops_it(around.world.context)
    assert not re.search("[一-鿿]", english), "the whole text is switched"


def test_a_standby_that_can_only_be_read_is_told_apart(around):
    database = around.world.context.database
    with database.write() as session:
        if session.get_bind().dialect.name != "postgresql":
            pytest.skip("a replica is PostgreSQL's")
        name = session.scalar(text("SELECT current_database()"))
        session.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    database.engine.dispose()
    said = says(around)
    assert (said["doctor"], said["ready"], said["metrics"]) == (["database_unwritable"],) * 3


def test_every_hindrance_is_in_the_table_of_the_night():
    table = PAGE.partition("## At 02:00")[2].partition("\n## ")[0]
    assert [code for code in CODES if f"`{code}`" not in table] == []


def test_a_send_journal_that_was_deleted_is_noticed_and_nothing_is_sent(around):
    """A new one was begun in its place, and knew nothing of what had been sent."""
    world = around.world
    bring_in(world)
    confirm(world, upload(world, [(AGENT_HANDLED, "核销", "211014001")], name="1.csv"))
    world.drain()
    around.settings.journal_file.unlink()
    confirm(world, upload(world, [(AGENT_HANDLED, "核销", "211014002")], name="2.csv"))
    preparing.prepare(world.context, 2)
    signing.sign(world.context)
    assert sending.send(world.context) == 0
    assert not around.settings.journal_file.exists()
    pulse.pulse(world.context, pulse.SENDER)
    for process in pulse.PROCESSES[:2]:
        pulse.pulse(world.context, process)
    said = says(around)
    assert said["doctor"] == said["ready"] == said["metrics"] == ["journal_missing"]
    assert "journal accept" in " ".join(said["wait"])


def test_a_sender_in_long_work_is_seen_and_a_command_that_asks_is_no_sender(around, monkeypatch):
    context = around.world.context
    around.last_seen("sender", timedelta(minutes=2))
    monkeypatch.setattr(pulse, "_is_sender", [])
    pulse.keep_pulse(context)
    assert says(around)["doctor"] == ["process_quiet"]
    monkeypatch.setattr(pulse, "_kept", [0.0])
    pulse.in_the_sender()
    pulse.keep_pulse(context)
    assert says(around)["doctor"] == []


@pytest.mark.parametrize("task", [sending.send_task, asking.ask_task])
def test_whatever_is_rung_for_on_the_senders_queue_shows_that_it_runs(around, monkeypatch, task):
    around.last_seen("sender", timedelta(minutes=2))
    monkeypatch.setattr(world_of_a_process, "_current", [around.world.context])
    monkeypatch.setattr(pulse, "_is_sender", [])
    monkeypatch.setattr(pulse, "_kept", [0.0])
    task()
    pulse.keep_pulse(around.world.context)
    assert says(around)["doctor"] == []

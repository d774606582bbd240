"""What an operator watches is said in Prometheus' format, from the tables."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from importlib.metadata import version

from prometheus_client.parser import text_string_to_metric_families

from config.names import Task
from customs.profile.bcm1 import Bcm1
from models.rules.errors import DatabaseUnreachable
from tasks.messages import preparing
from tasks.pipeline import oldest_due
from tests.contract.test_deploy import TOOLS
from tests.support import factories
from tests.support.factories import bring_in, confirm, upload
from webhook.app import create_app


def read(world):
    client = create_app(
        world.context.settings, world.context.database, lambda *_: None, Bcm1()
    ).test_client()
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_forms_messages_cards_and_ages_are_counted(world):
    bring_in(world)
    world.customs.play({"fault": "answer_lost", "times": 1})
    confirm(world, upload(world, [[factories.AGENT_HANDLED, "核销", "211014001-211014002"]]))
    world.drain()
    metrics = read(world)
    assert metrics["blankforms_forms", "verified"] == 2
    assert ("blankforms_submissions", "decided") not in metrics  # what has ended only grows
    assert metrics["blankforms_submissions", "in_doubt"] == 0
    assert metrics["blankforms_gateway_failure_ratio",] == 1
    assert metrics["blankforms_card_ready", "key-file"] == 1
    assert metrics["blankforms_card_expiry_seconds", "key-file"] > 3000 * 86400
    assert metrics["blankforms_oldest_due_seconds", "messages.signing.sign"] == 0


def test_what_nobody_works_on_grows_old(world):
    bring_in(world)
    confirm(world, upload(world, [[factories.AGENT_HANDLED, "核销", "211014001"]]))
    preparing.prepare(world.context, 1)
    later = world.clock() + timedelta(minutes=10)
    with world.context.database.read() as session:
        ages = oldest_due(session, later)
    assert 590 < ages[Task.SIGN] < 660
    assert Task.SEND not in ages


def test_a_database_that_is_away_is_said_and_is_no_traceback(world):
    class Away:
        def read(self):
            raise DatabaseUnreachable(detail="away")

    app = create_app(world.context.settings, Away(), lambda *_: None, Bcm1())
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 200
    assert "blankforms_able 0.0" in answer.text
    assert 'blankforms_hindrance{code="database_unreachable"} 1.0' in answer.text


def test_what_the_page_says_of_a_refused_callback_and_of_the_program(world):
    client = create_app(
        world.context.settings, world.context.database, lambda *_: None, Bcm1()
    ).test_client()
    before = read(world)["blankforms_callbacks_refused_total",]
    assert client.post("/callbacks/customs", data=b"{}").status_code == 401
    metrics = read(world)
    assert metrics["blankforms_callbacks_refused_total",] == before + 1
    assert metrics["blankforms_build_info", version("blankforms")] == 1
    assert metrics["blankforms_reconciliation_age_seconds",] >= 0
    assert metrics["process_resident_memory_bytes",] > 0


def test_promtool_finds_the_metrics_clean(world):
    client = create_app(
        world.context.settings, world.context.database, lambda *_: None, Bcm1()
    ).test_client()
    done = subprocess.run([TOOLS / "promtool", "check", "metrics"], input=client.get("/metrics").data,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

"""`/metrics` in Prometheus' text format, read from the tables: it says the same whoever is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from config.settings import Settings
from models.reads.health import OPEN_BATCHES, OPEN_DELIVERIES, OPEN_MESSAGES, Vitals, look
from models.rules.errors import DatabaseUnreachable
from models.rules.states import CardState, FormState, LineReason, LineState
from models.tables.database import Database
from tasks.ability import CODES, Area, Hindrance, hindrances
from tasks.pipeline import AT_ALL, PER_BATCH, oldest_due

_refused = [0]


def count_refused_callback() -> None:
    """A callback that nobody of customs signed."""
    _refused[0] += 1


def refused_callbacks() -> int:
    """How many this process has refused since it began."""
    return _refused[0]


def exposition(settings: Settings, database: Database, now: datetime) -> tuple[bytes, str]:
    """The metrics of this moment and their content type.

    Without a database they say that an order cannot be carried out, and why.
    """
    registry = CollectorRegistry()
    registry.register(ProcessCollector(registry=None))
    found = hindrances(settings, database, now)
    registry.register(_Ability(found))
    if any(h.area is Area.DATABASE for h in found):
        return generate_latest(registry), CONTENT_TYPE_LATEST
    try:
        with database.read() as session:
            vitals = look(session, now)
            ages = oldest_due(session, now)
    except DatabaseUnreachable:
        return generate_latest(registry), CONTENT_TYPE_LATEST
    stages = {stage.task.value: 0.0 for stage in (*PER_BATCH, *AT_ALL)}
    registry.register(_Snapshot(vitals, stages | {t.value: age for t, age in ages.items()}, now))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Ability(Collector):
    def __init__(self, found: Sequence[Hindrance]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        codes = {h.code for h in self._found}
        yield _one("able", "1 when an order can be carried out to its end now", float(not codes))
        known = {code: float(code in codes) for code in (*CODES, *codes)}
        yield _labelled("hindrance", "1 at what keeps orders from being carried out", "code", known)
        yield InfoMetricFamily(
            "blankforms_build", "This program", {"version": version("blankforms")}
        )
        refused = CounterMetricFamily(
            "blankforms_callbacks_refused", "Callbacks refused by this process since its start"
        )
        refused.add_metric([], refused_callbacks())
        yield refused


class _Snapshot(Collector):
    def __init__(self, vitals: Vitals, ages: Mapping[str, float], now: datetime) -> None:
        self._vitals = vitals
        self._ages = ages
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        v = self._vitals
        yield _by_state("forms", "Forms by state", FormState, v.forms)
        yield _by_state("batches", "Batches by state that have not ended", OPEN_BATCHES, v.batches)
        yield _by_state(
            "submissions",
            "Messages by state that have not ended; in_doubt and parked are among them",
            OPEN_MESSAGES,
            v.submissions,
        )
        yield _by_state(
            "deliveries",
            "Notifications by state that were not delivered",
            OPEN_DELIVERIES,
            v.deliveries,
        )
        yield _labelled(
            "oldest_due_seconds", "Age of the oldest due row, by stage", "stage", self._ages
        )
        yield _one("inbox_quarantined", "Receipts that fit nothing we sent", v.quarantined)
        yield _one("discrepancies_open", "Things for a person to look at", v.discrepancies)
        yield _one("unclear", "Asked about for an hour, and not answered clearly", v.unclear)
        yield _one("endpoints_failing", "Endpoints that do not answer", v.endpoints_failing)
        yield _one(
            "gateway_seconds", "Mean duration of the latest sendings", round(v.gateway_seconds, 6)
        )
        rate = v.gateway_failures / v.gateway_calls if v.gateway_calls else 0.0
        yield _one("gateway_failure_ratio", "Share of the latest sendings without an answer", rate)
        yield from self._line()
        yield from self._cards()
        yield from self._night()

    def _line(self) -> Iterator[GaugeMetricFamily]:
        line = self._vitals.line
        is_so = {s.value: float(s is line.state) for s in LineState}
        yield _labelled("line", "1 at the state of the line to customs", "state", is_so)
        reason = line.reason.value if line.reason else ""
        why = {r.value: float(r.value == reason) for r in LineReason}
        yield _labelled(
            "line_closed", "1 at the reason why not every message leaves", "reason", why
        )

    def _cards(self) -> Iterator[GaugeMetricFamily]:
        ready = {c: float(s is CardState.READY) for c, (s, _) in self._vitals.cards.items()}
        left = {c: round(d * 86400) for c, (_, d) in self._vitals.cards.items() if d is not None}
        yield _labelled("card_ready", "1 when the card signed last time", "card", ready)
        yield _labelled(
            "card_expiry_seconds", "Seconds to the end of its certificate", "card", left
        )

    def _night(self) -> Iterator[GaugeMetricFamily]:
        v = self._vitals
        since = v.last_run_finished or v.known_at
        age = (self._now - since).total_seconds() if since else 0.0
        yield _one(
            "reconciliation_age_seconds", "Since the last finished run, or since the start", age
        )
        yield _labelled(
            "reconciliation_differences",
            "Differences of the last finished run",
            "class",
            v.last_run_differences,
        )


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"blankforms_{name}", text, value=value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"blankforms_{name}", text, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family


def _by_state(
    name: str, text: str, states: Iterable[StrEnum], counts: Mapping[Any, int]
) -> GaugeMetricFamily:
    return _labelled(name, text, "state", {s.value: counts.get(s, 0) for s in states})

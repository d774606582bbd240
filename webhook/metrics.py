"""`/metrics` in Prometheus' text format, read from the tables: it says the same whoever is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from models.database import Database
from models.states import (
    BatchState,
    CardState,
    DeliveryState,
    FormState,
    LineReason,
    LineState,
    SubmissionState,
)
from models.vitals import Vitals, look
from tasks.pipeline import AT_ALL, PER_BATCH, oldest_due


def exposition(database: Database, now: datetime) -> tuple[bytes, str]:
    """The metrics of this moment and their content type. Raises `DatabaseUnreachable`."""
    with database.read() as session:
        vitals = look(session, now)
        ages = oldest_due(session, now)
    stages = {stage.task.value: 0.0 for stage in (*PER_BATCH, *AT_ALL)}
    registry = CollectorRegistry()
    registry.register(_Snapshot(vitals, stages | {t.value: age for t, age in ages.items()}, now))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Snapshot(Collector):
    def __init__(self, vitals: Vitals, ages: Mapping[str, float], now: datetime) -> None:
        self._vitals = vitals
        self._ages = ages
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        v = self._vitals
        yield _by_state("forms", "Forms by state", FormState, v.forms)
        yield _by_state("batches", "Batches by state", BatchState, v.batches)
        yield _by_state(
            "submissions",
            "Messages by state; in_doubt and parked are among them",
            SubmissionState,
            v.submissions,
        )
        yield _by_state("deliveries", "Notifications by state", DeliveryState, v.deliveries)
        yield _labelled(
            "oldest_due_seconds", "Age of the oldest due row, by stage", "stage", self._ages
        )
        yield _one("inbox_quarantined", "Receipts that fit nothing we sent", v.quarantined)
        yield _one("discrepancies_open", "Things for a person to look at", v.discrepancies)
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
        days = {c: round(d, 2) for c, (_, d) in self._vitals.cards.items() if d is not None}
        yield _labelled("card_ready", "1 when the card signed last time", "card", ready)
        yield _labelled("card_days_left", "Days to the end of its certificate", "card", days)

    def _night(self) -> Iterator[GaugeMetricFamily]:
        v = self._vitals
        if v.last_run_finished is not None:
            age = (self._now - v.last_run_finished).total_seconds()
            yield _one("reconciliation_age_seconds", "Since the last finished run", age)
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
    name: str, text: str, states: type[StrEnum], counts: Mapping[Any, int]
) -> GaugeMetricFamily:
    return _labelled(name, text, "state", {s.value: counts.get(s, 0) for s in states})

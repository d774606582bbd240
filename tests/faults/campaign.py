"""The faults of the campaign: what is done to a trial, and how it heals."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable

from config.crash import Point
from customs.simulator.faults import FaultScript
from tests.faults import surroundings
from tests.faults.rig import CERTIFICATES, QUICK, Trial, Verdict
from tests.support.factories import EXPORTER

CLIENT_POINTS = (
    Point.UPLOAD_KEPT, Point.ROWS_WRITTEN, Point.CHECK_BEFORE_COMMIT, Point.CONFIRMED,
    Point.RESERVE_BEFORE_COMMIT, Point.RESERVED_BEFORE_RING,
)  # fmt: skip
NIGHT_POINTS = (Point.PAGE_COMPARED, Point.RUN_BEFORE_COMMIT, Point.REPAIR_NOT_NOTED)
DELIVERY_POINTS = (Point.DELIVERY_CLAIMED, Point.DELIVERY_MADE)
WORKER_POINTS = tuple(
    p for p in Point
    if p not in (*CLIENT_POINTS, *NIGHT_POINTS, *DELIVERY_POINTS, Point.CALLBACK_STORED)
)  # fmt: skip


ONCE = frozenset({*CLIENT_POINTS, Point.ASKED_NOT_RECORDED, Point.REPORT_WRITTEN})
"""Points that a trial's one batch passes once; the others are passed more often."""


def crash(point: Point) -> Callable[[Trial], Verdict]:
    """SIGKILL at a named point, at a pass that the seed chooses."""

    def run(trial: Trial) -> Verdict:
        if point is Point.ASKED_NOT_RECORDED:
            silent = [
                {"fault": "error_after", "times": 2},
                {"fault": "receipt_late", "seconds": 5.0},
            ]
            trial.customs.script = FaultScript(silent)
        web = None
        if point is Point.CALLBACK_STORED or trial.random.random() < 0.5:
            web = trial.start("web")
        passes = f"{point}:{1 if point in ONCE else trial.random.randint(1, 2)}"
        trial.to_the_end("client", passes if point in CLIENT_POINTS else "")
        if point is Point.CALLBACK_STORED:
            _killed_at_a_callback(trial, web, passes)
        if point in WORKER_POINTS:
            trial.until_death(trial.start("worker", passes))
        return _died(trial.verdict(rested=trial.heal()))

    return run


def _died(verdict: Verdict) -> Verdict:
    """A trial of a crash in which nothing crashed says nothing."""
    if not verdict.died:
        verdict.wrong.append("the point was never reached")
    return verdict


def _killed_at_a_callback(trial: Trial, web: int, passes: str) -> None:
    """The web process dies before it has answered; customs tells the next one again."""
    trial.zygote.kill(web)
    armed = trial.start("web", passes)
    trial.environ["POLL_SECONDS"] = "5"  # so that callbacks come first
    worker = trial.start("worker")
    trial.until_death(armed)
    trial.start("web")
    trial.zygote.kill(worker)
    trial.environ["POLL_SECONDS"] = QUICK["POLL_SECONDS"]


def night_crash(point: Point) -> Callable[[Trial], Verdict]:
    """SIGKILL in the reconciliation or its repair, and once more to the end."""

    def run(trial: Trial) -> Verdict:
        trial.to_the_end("client")
        rested = trial.heal()
        trial.kill_all()  # a worker would do the night's work before the armed process can
        trial.customs.ledger.settle_by_hand("211014030", "B", "2", trial.rows[0][0])
        trial.to_the_end("night", f"{point}:1")
        verdict = _died(trial.verdict(rested=rested))
        if trial.one("SELECT COUNT(*) FROM form WHERE outside") != 1:
            verdict.wrong.append("what was done outside was not adopted once")
        if trial.one("SELECT COUNT(*) FROM reconciliation WHERE state = 'finished'") != 1:
            verdict.wrong.append("the run is not finished")
        return verdict

    return run


def gateway(*rules: dict, settle: str = "1.2") -> Callable[[Trial], Verdict]:
    """Customs behaves badly: once for certain, then for half of the messages, four times at most."""

    def run(trial: Trial) -> Verdict:
        trial.environ["SETTLE_SECONDS"] = settle
        made = [
            {**rule, **often}
            for rule in rules
            for often in ({"times": 1}, {"rate": 0.5, "times": 3})
        ]
        trial.customs.script = FaultScript([{"seed": trial.random.randrange(10**6)}, *made])
        told = any(rule["fault"].startswith("callback") for rule in rules)
        if told or trial.random.random() < 0.5:
            trial.start("web")
        trial.to_the_end("client")
        verdict = trial.verdict(rested=trial.heal())
        if not trial.customs.script.played():
            verdict.wrong.append("the fault never struck")
        for kind in {RAISED[rule["fault"]] for rule in rules if rule["fault"] in RAISED}:
            if not trial.one(f"SELECT COUNT(*) FROM discrepancy WHERE kind = '{kind}'"):
                verdict.wrong.append(f"nothing was raised about {kind}")
        return verdict

    return run


RAISED = {"receipt_contradictory": "contradiction", "receipt_disagrees": "receipt"}
"""What a person must be told of."""


def poisoned_lists(trial: Trial) -> Verdict:
    """A record in every list breaks the contract; batch and night get through, and it is told."""
    trial.customs.script = FaultScript([{"fault": "list_poison"}])
    trial.to_the_end("client")
    rested = trial.heal()
    trial.kill_all()
    trial.to_the_end("night")
    verdict = trial.verdict(rested=rested)
    for kind in ("customs_list", "receipt"):
        if not trial.one(f"SELECT COUNT(*) FROM discrepancy WHERE kind = '{kind}'"):
            verdict.wrong.append(f"nothing was raised about {kind}")
    if trial.one("SELECT COUNT(*) FROM reconciliation WHERE state = 'finished'") != 1:
        verdict.wrong.append("the run is not finished")
    return verdict


def receipts_never_come(trial: Trial) -> Verdict:
    """Customs decides and never says so: its list does, at night."""
    trial.customs.script = FaultScript([{"fault": "receipt_never"}])
    trial.to_the_end("client")
    worker = trial.start("worker")
    taken = "SELECT COUNT(*) FROM submission WHERE state = 'taken'"
    decided = "SELECT COUNT(DISTINCT message_id) FROM decision"
    trial.until(
        lambda: trial.one(taken) == CERTIFICATES and trial.ledger(decided) == [(CERTIFICATES,)]
    )
    trial.zygote.kill(worker)
    if trial.settled():
        return Verdict(["it was at rest without a receipt"])
    trial.to_the_end("night")
    return trial.verdict(rested=trial.heal())


def kill_at_random(how: int) -> Callable[[Trial], Verdict]:
    """A worker is killed, or frozen past its lease and woken, while another one works."""

    def run(trial: Trial) -> Verdict:
        trial.to_the_end("client")
        first = trial.start("worker")
        if how == signal.SIGSTOP:
            trial.allow_repeats = True  # what lay in its sockets is sent when it wakes
            trial.start("worker")
        trial.under_way()
        trial.zygote.kill(first, how)
        if how == signal.SIGSTOP:
            time.sleep(3.0)
            trial.zygote.kill(first, signal.SIGCONT)
        return trial.verdict(rested=trial.heal())

    return run


def race(trial: Trial) -> Verdict:
    """Three clerks submit the same sheet at the same moment; one has done it before, another hears so."""
    pids = [trial.start("client") for _ in range(3)]
    trial.start("worker")
    for pid in pids:
        trial.zygote.wait(pid, 30)
    trial.to_the_end("client")
    verdict = trial.verdict(rested=trial.heal())
    if set(trial.told()) - {"done orders.csv", "plan_moved", "batch_not_open"}:
        verdict.wrong.append(f"clerks were told {dict(trial.told())}")
    return verdict


def contend(trial: Trial) -> Verdict:
    """Three clerks confirm, at the same moment, three sheets that name the same forms."""
    pids = []
    for number in range(3):
        trial.write_sheet(f"{number}.csv", f"sheet {number}")
        pids.append(trial.start("client", sheet=f"{number}.csv", go="go"))
    checked = "SELECT COUNT(*) FROM batch WHERE state = 'checked'"
    trial.until(lambda: trial.one(checked) == len(pids))
    (trial.home / "go").touch()
    for pid in pids:
        trial.zygote.wait(pid, 30)
    verdict = trial.verdict(rested=trial.heal())
    if trial.told() != Counter({f"done {number}.csv": 1 for number in range(3)}):
        verdict.wrong.append(f"clerks were told {dict(trial.told())}")
    return verdict


def calm(trial: Trial) -> Verdict:
    """Nothing happens."""
    trial.start("web")
    trial.to_the_end("client")
    return trial.verdict(rested=trial.heal())


def database_locked(trial: Trial) -> Verdict:
    """Another writer holds SQLite for longer than a write waits, or the server ends every connection."""
    trial.to_the_end("client")
    trial.start("worker", busy=0.3)
    trial.under_way()
    with trial.database.engine.connect() as other:
        if trial.database.engine.dialect.name == "sqlite":
            other.exec_driver_sql("SELECT 1")  # begins IMMEDIATE: see models.database
            time.sleep(1.0)
        else:
            other.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    return trial.verdict(rested=trial.heal())


FAULTS: dict[str, Callable[[Trial], Verdict]] = {
    "calm": calm,
    "race": race,
    "contend": contend,
    "kill": kill_at_random(signal.SIGKILL),
    "stop": kill_at_random(signal.SIGSTOP),
    "database": database_locked,
    "clock:ahead": surroundings.clock(7200),
    "clock:steps ahead": surroundings.clock(7200, step=True),
    "clock:steps back": surroundings.clock(-7200, step=True),
    "clock:behind": surroundings.clock(-7200),
    "redelivery": surroundings.redelivery,
    "callback storm": surroundings.storm,
    "restored": surroundings.database_restored,
    "disk full": surroundings.disk_full,
    "killed in commit": surroundings.server_killed,
    "commit lost": surroundings.commit_lost,
    "card away": surroundings.card_away,
    "card expired": surroundings.unfit_card("card_expired", since=-400, days=-3),
    "card of another enterprise": surroundings.unfit_card(
        "card_of_another_enterprise", enterprise=EXPORTER
    ),
    "card label wrong": surroundings.wrong_label,
    **{f"crash:{p}": surroundings.delivery(p) for p in DELIVERY_POINTS},
    **{f"crash:{p}": crash(p) for p in (*CLIENT_POINTS, *WORKER_POINTS, Point.CALLBACK_STORED)},
    **{f"crash:{p}": night_crash(p) for p in NIGHT_POINTS},
    **{
        f"gateway:{fault}": gateway({"fault": fault, "seconds": seconds})
        for fault, seconds in (
            ("answer_lost", 1), ("error_before", 1), ("error_after", 1), ("too_many", 1),
            ("busy", 1), ("drip", 1), ("truncated", 1), ("wrong_number", 1), ("late", 0.8),
            ("refuse_form", 1), ("refuse_message", 1), ("person_first", 0.5), ("receipt_twice", 1), ("receipt_late", 0.8),
            ("receipt_contradictory", 1), ("receipt_disagrees", 1), ("person_late", 1), ("callback_forged", 1), ("callback_refused", 1),
        )
    },
    "gateway:receipt_never": receipts_never_come,
    "poisoned lists": poisoned_lists,
    "journal disk full": surroundings.journal_full,
    # longer than the product waits before it asks, or would send again
    "gateway:lost_and_silent": gateway(
        {"fault": "answer_lost"}, {"fault": "receipt_late", "seconds": 6.0}
    ),
    "gateway:very_late": gateway({"fault": "late", "seconds": 3.0}, settle="4"),
    "gateway:mixed": gateway(
        {"fault": "answer_lost"}, {"fault": "error_before"}, {"fault": "receipt_twice"},
        {"fault": "receipt_late", "seconds": 0.5},
    ),
}  # fmt: skip

NOT_ON = frozenset({("commit lost", "sqlite")})
"""Faults that a kind of database does not have: SQLite's COMMIT has no answer that could be lost."""

"""The faults of the campaign: what is done to a trial, and how it heals."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from config.crash import Point
from customs.simulator.faults import FaultScript
from tests.faults import surroundings
from tests.faults.rig import Trial, Verdict

ARMED_SECONDS = 10.0
"""How long a process that is to die may take to get there."""

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


def crash(point: Point) -> Callable[[Trial], Verdict]:
    """SIGKILL at a named point, at a pass that the seed chooses."""

    def run(trial: Trial) -> Verdict:
        if point is Point.ASKED_NOT_RECORDED:
            silent = [
                {"fault": "error_after", "times": 2},
                {"fault": "receipt_late", "seconds": 5.0},
            ]
            trial.customs.script = FaultScript(silent)
        web = trial.start("web") if trial.seed % 2 or point is Point.CALLBACK_STORED else None
        passes = f"{point}:{trial.random.randint(1, 2)}"
        trial.to_the_end("client", passes if point in CLIENT_POINTS else "")
        if point is Point.CALLBACK_STORED:
            trial.zygote.kill(web)
            trial.start("web", passes)
        if point in WORKER_POINTS:
            armed = trial.start("worker", passes)
            trial.zygote.wait(armed, ARMED_SECONDS)
            trial.zygote.kill(armed)
        verdict = trial.verdict(rested=trial.heal())
        if passes.endswith(":1") and not verdict.died:
            verdict.slow.append("the point was never reached")
        return verdict

    return run


def night_crash(point: Point) -> Callable[[Trial], Verdict]:
    """SIGKILL in the reconciliation or its repair, and once more to the end."""

    def run(trial: Trial) -> Verdict:
        trial.to_the_end("client")
        rested = trial.heal()
        trial.customs.ledger.settle_by_hand("211014030", "B", "2", trial.rows[0][0])
        trial.to_the_end("night", f"{point}:1")
        verdict = trial.verdict(rested=rested)
        if trial.one("SELECT COUNT(*) FROM form WHERE outside") != 1:
            verdict.wrong.append("what was done outside was not adopted once")
        if trial.one("SELECT COUNT(*) FROM reconciliation WHERE state = 'finished'") != 1:
            verdict.wrong.append("the run is not finished")
        return verdict

    return run


def gateway(*rules: dict, settle: str = "1.2") -> Callable[[Trial], Verdict]:
    """Customs behaves badly for some messages."""

    def run(trial: Trial) -> Verdict:
        trial.environ["SETTLE_SECONDS"] = settle
        made = [{**rule, "rate": 0.5, "times": 4} for rule in rules]
        trial.customs.script = FaultScript([{"seed": trial.seed}, *made])
        trial.allow_refusals = any(r["fault"].startswith("refuse") for r in rules)
        if trial.seed % 2:
            trial.start("web")
        trial.to_the_end("client")
        return trial.verdict(rested=trial.heal())

    return run


def kill_at_random(how: int) -> Callable[[Trial], Verdict]:
    """A worker is killed, or frozen past its lease and woken, while another one works."""

    def run(trial: Trial) -> Verdict:
        trial.to_the_end("client")
        first = trial.start("worker")
        if how == signal.SIGSTOP:
            trial.allow_repeats = True  # what lay in its sockets is sent when it wakes
            trial.start("worker")
        time.sleep(trial.random.uniform(0.02, 0.8))
        trial.zygote.kill(first, how)
        if how == signal.SIGSTOP:
            time.sleep(3.0)
            trial.zygote.kill(first, signal.SIGCONT)
        return trial.verdict(rested=trial.heal())

    return run


def race(trial: Trial) -> Verdict:
    """Two clerks submit the same sheet at the same moment, twice; two workers do the work."""
    pids = [trial.start("client") for _ in range(3)]
    trial.start("worker")
    for pid in pids:
        trial.zygote.wait(pid, 30)
    trial.to_the_end("client")
    return trial.verdict(rested=trial.heal())


def contend(trial: Trial) -> Verdict:
    """Two clerks confirm, at the same moment, two sheets that name the same forms."""
    trial.allow_refusals = True
    pids = []
    for number in range(3):
        trial.write_sheet(f"{number}.csv", f"sheet {number}")
        pids.append(trial.start("client", sheet=f"{number}.csv", go="go"))
    checked = "SELECT COUNT(*) FROM batch WHERE state = 'checked'"
    end = time.monotonic() + 20
    while trial.one(checked) != len(pids) and time.monotonic() < end:
        time.sleep(0.02)
    (trial.home / "go").touch()
    for pid in pids:
        trial.zygote.wait(pid, 30)
    return trial.verdict(rested=trial.heal())


def calm(trial: Trial) -> Verdict:
    """Nothing happens."""
    trial.start("web")
    trial.to_the_end("client")
    return trial.verdict(rested=trial.heal())


def database_locked(trial: Trial) -> Verdict:
    """Another writer holds the database for a second, or the server ends every connection."""
    trial.to_the_end("client")
    trial.start("worker")
    time.sleep(trial.random.uniform(0.05, 0.5))
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
    "clock:behind": surroundings.clock(-7200),
    "redelivery": surroundings.redelivery,
    "callback storm": surroundings.storm,
    "restored": surroundings.restored,
    "disk full": surroundings.disk_full,
    "killed in commit": surroundings.server_killed,
    "commit lost": surroundings.commit_lost,
    "card away": surroundings.card_away,
    **{f"crash:{p}": surroundings.delivery(p) for p in DELIVERY_POINTS},
    **{f"crash:{p}": crash(p) for p in (*CLIENT_POINTS, *WORKER_POINTS, Point.CALLBACK_STORED)},
    **{f"crash:{p}": night_crash(p) for p in NIGHT_POINTS},
    **{
        f"gateway:{fault}": gateway({"fault": fault, "seconds": seconds})
        for fault, seconds in (
            ("answer_lost", 1), ("error_before", 1), ("error_after", 1), ("too_many", 1),
            ("busy", 1), ("drip", 1), ("truncated", 1), ("wrong_number", 1), ("late", 0.8),
            ("refuse_form", 1), ("person_first", 0.5), ("receipt_twice", 1), ("receipt_late", 0.8),
            ("receipt_contradictory", 1), ("callback_forged", 1), ("callback_refused", 1),
        )
    },
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

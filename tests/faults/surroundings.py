"""Faults of what surrounds the processes: clocks, callbacks, the disk, the database server, the card."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from config.crash import Point
from models.rules.errors import DatabaseRestored, NotAdopted
from models.rules.states import NotificationType
from net.webhooks import sign
from tasks.night import repairing, restored
from tasks.night.repair_actions import Order
from tasks.notify import endpoints
from tasks.orders import releasing
from tests.faults.rig import SECRET, Trial, Verdict
from tests.support.factories import SENDER
from tests.support.proxy import proxy, socket_of, through
from tests.support.receiver import receiver
from tests.support.restoring import backup, restore
from tests.support.tokens import LABEL, MODULE, PIN, make_key, make_token

COMMITS_OF_A_BATCH = 40
"""About so many transactions do a trial's work; idle sweeps follow."""


BACKUPS = (None, Point.PREPARE_BEFORE_COMMIT, Point.PREPARED_BEFORE_RING, Point.INTENT_BEFORE_COMMIT,
           Point.INTENT_COMMITTED)  # fmt: skip
"""Where the work stood when the backup was taken; None: before the sheet."""


def clock(seconds: float, *, step: bool = False) -> Callable[[Trial], Verdict]:
    """A worker whose clock is wrong, or steps while it works, is killed; another one goes on.

    Less than an hour ahead cannot be told from customs asking to wait: it costs that long. A sending
    that a fast clock dated into the future is believed lost only when that time has come: the trial
    lets it come.
    """

    def run(trial: Trial) -> Verdict:
        trial.to_the_end("client")
        step_after = trial.random.uniform(0.05, 0.6) if step else 0
        wrong = trial.start("worker", shift=seconds, step_after=step_after)
        time.sleep(step_after + trial.random.uniform(0.2, 1.0))
        trial.zygote.kill(wrong)
        if seconds > 0 and not trial.heal(4):
            trial.kill_all()
            return trial.verdict(rested=trial.heal(shift=seconds + 60))
        return trial.verdict(rested=trial.heal())

    return run


def redelivery(trial: Trial) -> Verdict:
    """Every ring comes five times, to each of two workers."""
    trial.start("web")
    trial.to_the_end("client")
    for _ in range(2):
        trial.start("worker", repeat=5)
    return trial.verdict(rested=trial.heal())


def storm(trial: Trial) -> Verdict:
    """Callbacks twice, in the wrong order, a day old, forged, contradictory, about nothing of ours."""
    web = trial.start("web")
    trial.to_the_end("client")
    trial.start("worker")
    refused: list[str] = []
    answered = 0
    end = time.monotonic() + 20
    while time.monotonic() < end:
        rows = trial.customs.ledger.read("SELECT receipt_id, xml FROM receipt ORDER BY id")
        for row in trial.random.sample(rows, len(rows)):
            answered += _call(trial, row["receipt_id"], row["xml"], refused)
        if trial.settled():
            break
        time.sleep(0.1)
    verdict = trial.verdict(rested=trial.heal())
    verdict.wrong += refused
    if not answered:
        verdict.wrong.append("no callback was answered")
    if trial.zygote.status(web) is not None:
        verdict.wrong.append("the web process ended")
    return verdict


def _call(trial: Trial, receipt_id: str, xml: str, refused: list[str]) -> int:
    """One receipt in every way that a stranger or a confused customs would tell it; how many were answered."""
    answered = 0
    now = int(time.time())
    opposite = re.sub(r"<FormState>\d<", "<FormState>1<", xml).replace(
        "<RepCode>0000<", "<RepCode>2103<"
    )
    unknown = re.sub(r"<EtpsPreentNo>\w+<", "<EtpsPreentNo>NOBODYS<", xml)
    for name, at, body_xml, secret, wanted in (
        ("once", now, xml, SECRET, 202),
        ("again", now, xml, SECRET, 202),
        ("a day old", now - 86400, xml, SECRET, 401),
        ("forged", now, xml, "whsec_" + "AAAA" * 8, 401),
        ("contradictory", now, opposite, SECRET, 202),
        ("unknown", now, unknown, SECRET, 202),
        ("unreadable", now, xml[: len(xml) // 2], SECRET, 202),
    ):
        data = {"receiptId": receipt_id, "xml": body_xml}
        body = json.dumps({"type": "receipt.created", "data": data}).encode()
        headers = {
            "webhook-id": f"msg_{receipt_id}_{name.split()[0]}",
            "webhook-timestamp": str(at),
            "webhook-signature": sign(secret, f"msg_{receipt_id}_{name.split()[0]}", at, body),
        }
        line = http.client.HTTPConnection("127.0.0.1", trial.port, timeout=10)
        try:
            line.request("POST", "/callbacks/customs", body, headers)
            status = line.getresponse().status
        except OSError:
            continue  # the web process is not up yet: customs calls again
        finally:
            line.close()
        answered += 1
        if status != wanted:
            refused.append(f"callback {name}: {status}, not {wanted}")
    return answered


def database_restored(trial: Trial) -> Verdict:
    """An older database comes back, from before the sheet or from the middle of its way.

    Nothing is reserved or sent, every message is listed; then customs is believed.
    """
    point = trial.random.choice(BACKUPS)
    trial.environ["MOVING_MINUTES"] = (
        "15"  # what customs changed just now must be found all the same
    )
    if point is None:
        taken = backup(trial.database)
        trial.to_the_end("client")
    else:
        trial.to_the_end("client")
        trial.until_death(trial.start("worker", f"{point}:1"))
        taken = backup(trial.database)
    verdict = trial.verdict(rested=trial.heal())
    trial.kill_all()
    sent = {n for (n,) in trial.ledger("SELECT number FROM message")}
    restore(trial.database, taken)
    posts = len(trial.customs.posts)
    trial.write_sheet("after.csv", "after the restore")
    trial.zygote.wait(trial.start("client", sheet="after.csv"), 30)
    if not trial.told()[DatabaseRestored.code]:
        verdict.wrong.append(f"clerks were told {dict(trial.told())}, not that it was restored")
    worker = trial.start("worker")
    if point is Point.INTENT_BEFORE_COMMIT:
        closed = "SELECT closed_code FROM customs_link"
        trial.until(lambda: trial.one(closed) == DatabaseRestored.code)
    elif point is Point.INTENT_COMMITTED:  # asking is allowed: customs has them
        sending = "SELECT COUNT(*) FROM submission WHERE state = 'sending'"
        trial.until(lambda: not trial.one(sending))
    listed = {e.number for e in restored.unknown(trial.context())}
    if listed != sent:
        verdict.wrong.append(f"listed {len(listed)} messages, {len(sent)} were sent")
    trial.zygote.kill(worker)
    trial.to_the_end("night")
    if len(trial.customs.posts) != posts:
        verdict.wrong.append(f"{len(trial.customs.posts) - posts} messages sent after the restore")
    _accept(trial)
    if not trial.heal():
        verdict.wrong.append("did not come to rest after the restore")
    if decided := trial.ledger("SELECT serial FROM decision GROUP BY serial HAVING COUNT(*) > 1"):
        verdict.wrong.append(f"asked of customs twice: {decided[:3]}")
    theirs = dict(trial.ledger("SELECT serial, state FROM form"))
    states = {"2": "verified", "3": "voided", "1": "issued"}
    with trial.database.read() as session:
        for serial, state in session.execute(text("SELECT serial, state FROM form")):
            if states[theirs[serial]] != state:
                verdict.wrong.append(f"{serial}: {state} here, {theirs[serial]} at customs")
    return verdict


def _accept(trial: Trial) -> None:
    """As the operator does: what the backup had only reserved is cancelled, repaired, and accepted."""
    context = trial.context()
    try:
        restored.accept(context, "值班")
    except NotAdopted as refusal:
        with trial.database.read() as session:
            working = list(session.scalars(text("SELECT id FROM batch WHERE state = 'working'")))
        for batch_id in working:
            releasing.cancel(context, batch_id)
        repairing.repair(context, refusal.values["run"], [], Order("值班"))
        restored.accept(context, "值班")


def disk_full(trial: Trial) -> Verdict:
    """No page more, or no row more, for a while."""
    trial.to_the_end("client")
    if trial.sqlite:
        worker = trial.start("worker", full=True)
        trial.until(lambda: "database or disk is full" in trial.log())
        trial.zygote.kill(worker)
        return trial.verdict(rested=trial.heal())
    table = trial.random.choice(["attempt", "inbox", "form_event", "receipt_line"])
    with trial.database.write() as session:
        session.execute(text(
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$"))  # fmt: skip
        session.execute(
            text(f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION no_space()")
        )
    trial.start("worker")
    trial.until(lambda: "no space left on device" in trial.log())
    with trial.database.write() as session:
        session.execute(text(f"DROP TRIGGER full_disk ON {table}"))
    return trial.verdict(rested=trial.heal())


def journal_full(trial: Trial) -> Verdict:
    """The send journal's disk takes no byte for a while; nothing leaves that is not noted."""
    trial.to_the_end("client")
    worker = trial.start("worker", no_journal=True)
    closed = "SELECT COUNT(*) FROM customs_link WHERE closed_code = 'journal_unwritable'"
    trial.until(lambda: trial.one(closed) == 1)
    found = (
        [] if trial.ledger("SELECT COUNT(*) FROM message") == [(0,)] else ["sent without a note"]
    )
    trial.zygote.kill(worker)
    with trial.database.write() as session:
        session.execute(text("UPDATE customs_link SET closed_until = NULL"))
    verdict = trial.verdict(rested=trial.heal())
    verdict.wrong += found
    return verdict


def server_killed(trial: Trial) -> Verdict:
    """PostgreSQL loses a backend to SIGKILL: it ends every connection at once and recovers from its WAL."""
    if trial.sqlite:
        return killed_in_commit(trial)
    trial.to_the_end("client")
    trial.start("worker")
    trial.under_way()
    trial.until(lambda: _kill_a_backend(trial))
    trial.database.engine.dispose()
    trial.until(lambda: _answers(trial))
    return trial.verdict(rested=trial.heal())


def _kill_a_backend(trial: Trial) -> bool:
    """Kill another connection's process and wait until the server has ended ours for it."""
    with trial.database.engine.connect() as ours:
        pid = ours.execute(text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend' LIMIT 1")).scalar()  # fmt: skip
        if pid is None:
            return False
        os.kill(int(pid), signal.SIGKILL)
        trial.until(lambda: not _answers(trial, ours))
    return True


def _answers(trial: Trial, connection: Connection | None = None) -> bool:
    """Whether the database answers, on this connection or on a new one."""
    try:
        with nullcontext(connection) if connection else trial.database.engine.connect() as line:
            line.execute(text("SELECT 1"))
    except OperationalError:
        return False
    return True


def killed_in_commit(trial: Trial) -> Verdict:
    """SQLite: killed between the frames of the log and the end of the commit, in `fdatasync`."""
    trial.to_the_end("client")
    for _ in range(3):
        worker = trial.start("worker", kill_in_sync=trial.random.randint(2, 25))
        trial.zygote.wait(worker, 6)
        trial.zygote.kill(worker)
    verdict = trial.verdict(rested=trial.heal())
    if not verdict.died:
        verdict.wrong.append("no commit was struck")
    return verdict


def commit_lost(trial: Trial) -> Verdict:
    """PostgreSQL: the answers to five COMMITs of the work are lost, with their connections."""
    url = trial.environ["DATABASE_URL"]
    trial.to_the_end("client")
    with proxy(socket_of(url)) as line:
        trial.environ["DATABASE_URL"] = through(url, line)
        line.lose_commits = frozenset(trial.random.sample(range(COMMITS_OF_A_BATCH), 5))
        worker = trial.start("worker")
        trial.until(lambda: line.commits > max(line.lose_commits) or trial.zygote.status(worker))
        trial.zygote.kill(worker)
    trial.environ["DATABASE_URL"] = url
    return trial.verdict(rested=trial.heal())


def card_away(trial: Trial) -> Verdict:
    """The key is not there for a while, and comes back."""
    trial.to_the_end("client")
    card, away = trial.home / "card" / "test-key.pem", trial.home / "away.pem"
    card.rename(away)
    worker = trial.start("worker")
    end = time.monotonic() + 15
    while trial.one("SELECT COUNT(*) FROM card") == 0 and time.monotonic() < end:
        time.sleep(0.05)
    said = trial.one("SELECT state FROM card")
    trial.zygote.kill(worker)
    away.rename(card)
    verdict = trial.verdict(rested=trial.heal())
    if (said, trial.one("SELECT state FROM card")) != ("absent", "ready"):
        verdict.wrong.append(f"the card was said to be {said}, and is not said to be back")
    return verdict


def unfit_card(code: str, **certificate: object) -> Callable[[Trial], Verdict]:
    """The key has a certificate that customs would not take: nothing is signed until it has another one."""

    def run(trial: Trial) -> Verdict:
        trial.to_the_end("client")
        file = trial.home / "card" / "test-certificate.pem"
        good = file.read_bytes()
        key = load_pem_private_key((file.parent / "test-key.pem").read_bytes(), None)
        _, made = make_key(**{"enterprise": SENDER, "key": key, **certificate})
        file.write_bytes(made.public_bytes(Encoding.PEM))
        found = _seen_and_nothing_signed(trial, code)
        file.write_bytes(good)
        return _healed(trial, found)

    return run


def wrong_label(trial: Trial) -> Verdict:
    """The settings name another token than the one that is there; later they are right."""
    folder = trial.home / "hsm"
    config = make_token(folder)
    trial.customs.settings.trusted.append((folder / "certificate.der").read_bytes())
    (trial.home / "pin").write_text(PIN)
    trial.environ |= {
        "SOFTHSM2_CONF": str(config), "PKCS11_MODULE": str(MODULE), "PKCS11_KEY_LABEL": "sign",
        "PKCS11_TOKEN_LABEL": "another", "PKCS11_PIN_FILE": str(trial.home / "pin"),
    }  # fmt: skip
    trial.to_the_end("client")
    found = _seen_and_nothing_signed(trial, "card_label_not_found")
    trial.environ["PKCS11_TOKEN_LABEL"] = LABEL
    return _healed(trial, found)


def _seen_and_nothing_signed(trial: Trial, code: str) -> list[str]:
    worker = trial.start("worker")
    trial.until(lambda: trial.one("SELECT COUNT(*) FROM card"))
    said = trial.one("SELECT code FROM card")
    time.sleep(0.3)
    trial.zygote.kill(worker)
    signed = trial.one("SELECT COUNT(*) FROM submission WHERE payload IS NOT NULL")
    wrong = [] if said == code else [f"the card was said to be {said!r}, not {code}"]
    if signed or trial.customs.posts:
        wrong.insert(0, f"{signed} messages were signed with a card that is not fit")
    return wrong


def _healed(trial: Trial, found: list[str]) -> Verdict:
    verdict = trial.verdict(rested=trial.heal())
    verdict.wrong[:0] = found
    if not trial.one("SELECT COUNT(*) FROM card WHERE state = 'ready'"):
        verdict.wrong.append("the card is not said to be ready")
    return verdict


def delivery(point: Point) -> Callable[[Trial], Verdict]:
    """SIGKILL while an endpoint is told; it hears of everything, perhaps twice, under the same id."""

    def run(trial: Trial) -> Verdict:
        with receiver() as ear:
            added = endpoints.add(trial.context(), ear.url, [NotificationType.BATCH_FINISHED])
            ear.secrets.append(added.secret)
            trial.to_the_end("client")
            trial.until_death(trial.start("worker", f"{point}:1"))
            with trial.database.write() as session:  # the lease of the try that was killed runs out
                session.execute(text("UPDATE delivery SET next_attempt_at = created_at FROM notification"
                                     " WHERE notification.id = notification_id AND delivery.state = 'pending'"))  # fmt: skip
            rested = trial.heal()
            end = time.monotonic() + 10
            pending = "SELECT COUNT(*) FROM delivery WHERE state = 'pending'"
            while trial.one(pending) and time.monotonic() < end:
                time.sleep(0.05)
            verdict = trial.verdict(rested=rested)
            ids = {told["id"] for told in ear.got}
            if trial.one(pending) or len(ids) != 1 or ear.bad:
                verdict.wrong.append(f"told {len(ids)} notifications, badly signed {ear.bad[:1]}")
        return verdict

    return run

"""What `doctor` looks at, and what it says of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import func, select

from cli.imports import simulator_ledger
from config.names import Queue
from customs.signing.certificates import certificate_expiry, require_fit
from customs.signing.keyfile import certificate_file
from models.card import seen_cards, trouble_of
from models.errors import BlankformsError, Exit
from models.invariants import (
    broken_against_ledger,
    broken_invariants,
)
from models.language import Text, t
from models.links import line_of
from models.notifications import Endpoint
from models.states import (
    CardState,
    DeliveryState,
    LineReason,
    LineState,
    SubmissionState,
    label,
)
from models.vitals import Vitals, look
from net.secrets import key_mark
from tasks import pipeline
from tasks.app import app, require_broker
from tasks.context import Context

GOOD: Final = "ok"
WARN: Final = "!"
BAD: Final = "✗"

EXPIRY_WARNING: Final = timedelta(days=60)
"""A card takes weeks to renew."""

CLOCK_TOLERANCE: Final = timedelta(seconds=30)
OLD: Final = timedelta(minutes=15)
"""A due row older than that says that nobody works."""

NIGHT_MISSED: Final = timedelta(hours=36)
"""A finished reconciliation older than that: a night was missed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: Text
    verdict: str
    detail: str
    exit: Exit = Exit.FAILURE

    def shown(self) -> dict[str, str]:
        """For `--json`."""
        word = {GOOD: "ok", WARN: "warning", BAD: "failed"}[self.verdict]
        return {"check": self.name.en, "result": word, "detail": self.detail}


def examine(context: Context, *, deep: bool) -> Iterator[Finding]:
    """Look at everything. Each part is looked at even when another is broken."""
    yield _database(context)
    yield _broker()
    yield _gateway(context)
    yield _line(context)
    yield _card(context)
    yield from _card_seen(context)
    yield _clock(context)
    yield from _work(context)
    if deep:
        yield from _invariants(context)


def _database(context: Context) -> Finding:
    name = Text("数据库", "database")
    with context.database.read() as session:  # that it opened at all was checked before
        dialect = session.get_bind().dialect.name
    return Finding(name, GOOD, dialect)


def _broker() -> Finding:
    name = Text("消息队列", "broker")
    try:
        require_broker()
        with app.connection_for_read() as connection:
            channel = connection.channel()
            counts = [f"{queue.value} {_length(channel, queue)}" for queue in Queue]
    except (BlankformsError, OSError) as error:
        return Finding(name, BAD, str(error), Exit.UNREACHABLE)
    return Finding(name, GOOD, ", ".join(counts))


def _length(channel: Any, queue: Queue) -> int:
    return int(channel.queue_declare(queue.value, durable=True).message_count)


def _gateway(context: Context) -> Finding:
    name = Text("海关网关", "gateway")
    simulated = t("模拟海关 ", "simulator ") if context.settings.simulated else ""
    try:
        context.gateway.receipts("", 1)
    except BlankformsError as error:
        return Finding(name, BAD, simulated + str(error), Exit.UNREACHABLE)
    return Finding(name, WARN if simulated else GOOD, simulated + context.settings.gateway_url)


def _line(context: Context) -> Finding:
    """Whether messages leave, and what a person can do when they do not."""
    with context.database.read() as session:
        line = line_of(session, context.now())
    verdict = {LineState.OPEN: GOOD, LineState.PROBING: WARN, LineState.CLOSED: BAD}[line.state]
    detail = line.said(context.settings.zone)
    if line.reason in {LineReason.CARD, LineReason.TOKEN}:
        detail += t(
            "；排除原因后运行 blankforms line open", '; mend the cause, then "blankforms line open"'
        )
    return Finding(Text("到海关的线路", "line"), verdict, detail, Exit.UNREACHABLE)


def _card(context: Context) -> Finding:
    """Token and certificate, looked at without a PIN: doctor never logs in."""
    name = Text("签名卡", "card")
    settings = context.settings
    try:
        if settings.pkcs11_module is None:
            path = certificate_file(settings.key_folder)
            if not path.exists():
                return Finding(name, WARN, t("密钥文件尚未生成", "no key file yet"))
            der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
        else:
            from customs.signing.pkcs11 import token_certificate
            from workers.bootstrap import token_settings

            der = token_certificate(token_settings(settings), settings.key_folder)
        require_fit(der, settings.sender, context.now())
    except BlankformsError as error:
        return Finding(name, BAD, f"{error.code}: {error}", error.exit)
    left = certificate_expiry(der) - context.now()
    detail = t(f"证书剩余 {left.days} 天", f"certificate valid for {left.days} days")
    if settings.pkcs11_module is None:
        return Finding(name, WARN, t("测试密钥文件，", "test key file, ") + detail)
    return Finding(name, WARN if left < EXPIRY_WARNING else GOOD, detail)


def _card_seen(context: Context) -> Iterator[Finding]:
    """What the submitter, who logs in, saw of it last."""
    with context.database.read() as session:
        for card in seen_cards(session):
            name = Text(f"签名卡 {card.label}", f"card {card.label}")
            seen = f"{card.seen_at.astimezone(context.settings.zone):%Y-%m-%d %H:%M:%S}"
            if trouble := trouble_of(card):
                verdict = WARN if card.state is CardState.ABSENT else BAD
                yield Finding(name, verdict, f"{seen} {trouble.code}: {trouble}", trouble.exit)
                continue
            left = card.not_after - context.now() if card.not_after else EXPIRY_WARNING
            verdict = WARN if left < EXPIRY_WARNING else GOOD
            yield Finding(name, verdict, f"{seen} {label(card.state)} {card.certificate_serial}")


def _clock(context: Context) -> Finding:
    name = Text("时间", "time")
    with context.database.read() as session:
        if session.get_bind().dialect.name != "postgresql":
            return Finding(
                name, GOOD, f"{datetime.now(context.settings.zone):%Y-%m-%d %H:%M:%S %Z}"
            )
        theirs = session.scalar(select(func.clock_timestamp()))
    apart = abs(theirs - datetime.now(UTC)) if theirs else timedelta(0)
    detail = t(f"与数据库相差 {apart}", f"{apart} from the database")
    return Finding(name, WARN if apart > CLOCK_TOLERANCE else GOOD, detail)


def _work(context: Context) -> Iterator[Finding]:
    """What is under way, and whether somebody works on it."""
    with context.database.read() as session:
        ages = pipeline.oldest_due(session, context.now())
        vitals = look(session, context.now())
    late = max(ages.values(), default=0.0) > OLD.total_seconds()
    under_way = {s: n for s, n in vitals.submissions.items() if s in _OPEN}
    detail = ", ".join(f"{label(s)} {n}" for s, n in under_way.items()) or "-"
    waiting = ", ".join(f"{task.value} {age:.0f} s" for task, age in sorted(ages.items()))
    due = f" ({t('到期', 'due')}: {waiting})" if waiting else ""
    yield Finding(Text("进行中", "under way"), BAD if late else GOOD, detail + due)
    yield _for_a_person(vitals)
    yield _told(context, vitals)
    yield _night(context, vitals)


_OPEN: Final = frozenset(
    {
        *(SubmissionState.PREPARED, SubmissionState.SIGNED, SubmissionState.SENDING),
        *(SubmissionState.IN_DOUBT, SubmissionState.TAKEN, SubmissionState.PARKED),
    }
)


def _for_a_person(vitals: Vitals) -> Finding:
    quarantined, different = vitals.quarantined, vitals.discrepancies
    parked = vitals.submissions.get(SubmissionState.PARKED, 0)
    detail = t(
        f"待认领回执 {quarantined}，差异 {different}，待人工处理 {parked}",
        f"{quarantined} quarantined receipts, {different} discrepancies, {parked} parked",
    )
    anything = quarantined or different or parked
    return Finding(Text("待人处理", "for a person"), WARN if anything else GOOD, detail)


def _told(context: Context, vitals: Vitals) -> Finding:
    """Whether those who wait are told."""
    name = Text("通知", "notifications")
    pending = vitals.deliveries.get(DeliveryState.PENDING, 0)
    failed = vitals.deliveries.get(DeliveryState.FAILED, 0)
    detail = t(
        f"待送达 {pending}，未能送达 {failed}，无应答的地址 {vitals.endpoints_failing}",
        f"{pending} pending, {failed} failed, {vitals.endpoints_failing} endpoints failing",
    )
    root = context.settings.root_of_secrets
    mark = key_mark(root) if root else ""
    with context.database.read() as session:
        foreign = session.scalar(
            select(func.count()).where(Endpoint.active, Endpoint.key_mark != mark)
        )
    if foreign:
        detail += t(
            f"；{foreign} 个地址的密钥由另一 NOTIFICATION_KEY 而来，本进程不能签名",
            f"; {foreign} endpoints have another NOTIFICATION_KEY, this process cannot sign for them",
        )
        return Finding(name, BAD, detail, Exit.CONFIGURATION)
    return Finding(name, WARN if failed or vitals.endpoints_failing else GOOD, detail)


def _night(context: Context, vitals: Vitals) -> Finding:
    name = Text("对账", "reconciliation")
    if vitals.last_run_finished is None:
        return Finding(name, WARN, t("尚未对账", "never done yet"))
    missed = context.now() - vitals.last_run_finished > NIGHT_MISSED
    counts = ", ".join(f"{k} {n}" for k, n in vitals.last_run_differences.items()) or "-"
    when = f"{vitals.last_run_finished.astimezone(context.settings.zone):%Y-%m-%d %H:%M}"
    return Finding(
        name, WARN if missed or vitals.last_run_differences else GOOD, f"{when}  {counts}"
    )


def _invariants(context: Context) -> Iterator[Finding]:
    name = Text("不变量", "invariants")
    with context.database.read() as session:
        broken = broken_invariants(session)
        wrong: list[str] = []
        for promise, rows in broken.items():
            yield Finding(Text(f"不变量 {promise}", f"invariant {promise}"), BAD, str(rows)[:300])
        if context.settings.simulated:
            ledger = simulator_ledger(context)
            wrong = broken_against_ledger(session, ledger.read)
            for line in wrong[:20]:
                yield Finding(Text("不变量 12", "invariant 12"), BAD, line)
    if not (broken or wrong):
        yield Finding(name, GOOD, t("全部成立", "all hold"))

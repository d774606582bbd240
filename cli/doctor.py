"""What `doctor` looks at, and what it says of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cli.exits import exit_of
from config.exits import Exit
from config.names import Queue
from customs.signing.certificates import certificate_expiry, require_fit
from customs.signing.keyfile import certificate_file
from customs.simulator.ledger import ledger_in
from models.reads.cards import seen_cards, trouble_of
from models.reads.deliveries import endpoints_of_another_key
from models.reads.endorsements import able_persons, known_rules
from models.reads.health import Vitals, look
from models.reads.invariants import broken_against_ledger, broken_invariants
from models.rules.errors import BlankformsError
from models.rules.language import Text, t
from models.rules.states import DeliveryState, LineState, SubmissionState, label
from models.rules.two_persons import ABLE_PERSONS
from net.secrets import key_mark
from tasks import pipeline
from tasks.ability import Area, Hindrance, hindrances
from tasks.app import app
from tasks.context import Context

GOOD: Final = "ok"
WARN: Final = "!"
BAD: Final = "✗"

EXPIRY_WARNING: Final = timedelta(days=60)
"""A card takes weeks to renew."""

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
    found = hindrances(context.settings, context.database, context.now())
    yield from _able(context, found)
    yield _gateway(context)
    yield _card(context)
    yield from _cards_seen(context)
    yield from _work(context)
    if deep:
        yield from _invariants(context)


_AREAS: Final = {
    Area.DATABASE: Text("数据库", "database"),
    Area.BROKER: Text("消息队列", "broker"),
    Area.PROCESSES: Text("进程", "processes"),
    Area.CARD: Text("签名卡", "card"),
    Area.LINE: Text("到海关的线路", "line"),
    Area.JOURNAL: Text("发送日志", "journal"),
    Area.CLOCK: Text("时间", "time"),
}


def _able(context: Context, found: Sequence[Hindrance]) -> Iterator[Finding]:
    """Whether an order can be carried out to its end now, part by part (`tasks.ability`)."""
    for area, name in _AREAS.items():
        of_area = [h for h in found if h.area is area]
        for hindrance in of_area:
            detail = f"{hindrance.code}: {hindrance.error}"
            about = f" {hindrance.about}".rstrip()
            of_it = Text(name.zh + about, name.en + about)
            yield Finding(of_it, BAD, detail, exit_of(hindrance.error))
        if not of_area and area is not Area.CARD:  # the cards that can be used are shown one by one
            yield Finding(name, GOOD, _well(context, area))


def _well(context: Context, area: Area) -> str:
    """What is to be said of a part where nothing hinders."""
    match area:
        case Area.DATABASE:
            return context.database.engine.dialect.name
        case Area.BROKER:
            return _lengths()
        case Area.LINE:
            return label(LineState.OPEN)
        case Area.CLOCK:
            return f"{datetime.now(context.settings.zone):%Y-%m-%d %H:%M:%S %Z}"
    return ""


def _lengths() -> str:
    try:
        with app.connection_for_read() as connection:
            channel: Any = connection.channel()
            return ", ".join(f"{queue.value} {_length(channel, queue)}" for queue in Queue)
    except OSError as error:  # it was there a moment ago
        return str(error)


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
        return Finding(name, BAD, f"{error.code}: {error}", exit_of(error))
    left = certificate_expiry(der) - context.now()
    detail = t(f"证书剩余 {left.days} 天", f"certificate valid for {left.days} days")
    if settings.pkcs11_module is None:
        return Finding(name, WARN, t("测试密钥文件，", "test key file, ") + detail)
    return Finding(name, WARN if left < EXPIRY_WARNING else GOOD, detail)


def _cards_seen(context: Context) -> Iterator[Finding]:
    """What the submitter, who logs in, saw of those that can be used."""
    with context.database.read() as session:
        for card in seen_cards(session):
            if trouble_of(card):
                continue  # said above
            name = Text(f"签名卡 {card.label}", f"card {card.label}")
            seen = f"{card.seen_at.astimezone(context.settings.zone):%Y-%m-%d %H:%M:%S}"
            left = card.not_after - context.now() if card.not_after else EXPIRY_WARNING
            verdict = WARN if left < EXPIRY_WARNING else GOOD
            yield Finding(name, verdict, f"{seen} {label(card.state)} {card.certificate_serial}")


def _work(context: Context) -> Iterator[Finding]:
    """What is under way, and whether somebody works on it."""
    with context.database.read() as session:
        ages = pipeline.oldest_due(session, context.now())
        vitals = look(session, context.now())
    late = max(ages.values(), default=0.0) > OLD.total_seconds()
    under_way = vitals.submissions
    detail = ", ".join(f"{label(s)} {n}" for s, n in under_way.items()) or "-"
    waiting = ", ".join(f"{task.value} {age:.0f} s" for task, age in sorted(ages.items()))
    due = f" ({t('到期', 'due')}: {waiting})" if waiting else ""
    yield Finding(Text("进行中", "under way"), BAD if late else GOOD, detail + due)
    yield _for_a_person(vitals)
    yield _told(context, vitals)
    yield _night(context, vitals)
    if context.settings.blankforms_env == "production":
        yield _two_persons(context)


def _two_persons(context: Context) -> Finding:
    """In production: whether the rules ask for a second person, and there are enough of them."""
    name = Text("复核", "second persons")
    with context.database.read() as session:
        _, rules = known_rules(session)
        able = able_persons(session)
    if not rules.on:
        detail = t(
            "未开启：一人即可作废任意张数(blankforms rules set --on)",
            "off: one person alone may void any number (blankforms rules set --on)",
        )
        return Finding(name, WARN, detail)
    detail = t(f"已开启，可复核 {able} 人", f"on, {able} persons may endorse")
    return Finding(name, GOOD if able >= ABLE_PERSONS else WARN, detail)


def _for_a_person(vitals: Vitals) -> Finding:
    quarantined, different = vitals.quarantined, vitals.discrepancies
    parked = vitals.submissions.get(SubmissionState.PARKED, 0)
    unclear = vitals.unclear
    detail = t(
        f"待认领回执 {quarantined}，差异 {different}，待人工处理 {parked}，超过一小时问不清 {unclear}",
        f"{quarantined} quarantined receipts, {different} discrepancies, {parked} parked, "
        f"{unclear} unclear for an hour",
    )
    anything = quarantined or different or parked or unclear
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
        foreign = endpoints_of_another_key(session, mark)
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
            ledger = ledger_in(context.settings.simulator_folder)
            wrong = broken_against_ledger(session, ledger.read)
            for line in wrong[:20]:
                yield Finding(Text("不变量 12", "invariant 12"), BAD, line)
    if not (broken or wrong):
        yield Finding(name, GOOD, t("全部成立", "all hold"))

"""States and the moves between them, as data (rule 3 of how-it-works.md). Pure: standard library alone.

A move that is not in these tables does not exist. Final states have no way out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from models.rules.language import Text


class Action(StrEnum):
    """What is asked of customs for a form."""

    VERIFY = "verify"
    VOID = "void"


class StockSource(StrEnum):
    """Whose stock a row asks for: the exporter's (出口商) or the agent's (代录入企业)."""

    EXPORTER = "exporter"
    AGENT = "agent"


class PagesMode(StrEnum):
    """What a page count means when the certificate has forms already (guide S-45)."""

    ADDITIONAL = "additional"
    TOP_UP = "top_up"


class FormState(StrEnum):
    """Where a blank form stands; labels are the portal's own words."""

    ISSUED = "issued"
    RESERVED = "reserved"
    VERIFY_SUBMITTED = "verify_submitted"
    VERIFIED = "verified"
    VOID_SUBMITTED = "void_submitted"
    VOIDED = "voided"


class ItemState(StrEnum):
    """One serial of one row: wanted, under way, and what became of it.

    A database index allows one item under way for a form.
    """

    PLANNED = "planned"
    UNDER_WAY = "under_way"
    DECIDED = "decided"
    REFUSED = "refused"
    GIVEN_BACK = "given_back"


class SubmissionState(StrEnum):
    """One message to customs."""

    PREPARED = "prepared"
    SIGNED = "signed"
    SENDING = "sending"
    IN_DOUBT = "in_doubt"
    TAKEN = "taken"
    PARKED = "parked"
    DECIDED = "decided"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class BatchState(StrEnum):
    """One upload or one order from the command line."""

    RECEIVED = "received"
    UNREADABLE = "unreadable"
    ASKED = "asked"
    """Checked, and it has questions that a person must answer before it can be confirmed."""
    CHECKED = "checked"
    AWAITING = "awaiting"
    """A person has said yes; the rules ask for another one. Nothing is reserved."""
    CONFIRMED = "confirmed"
    WORKING = "working"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class RowStatus(StrEnum):
    """What the check says of a row."""

    OK = "ok"
    PROBLEM = "problem"
    SKIPPED = "skipped"


class RowOutcome(StrEnum):
    """What became of a row. Every row of a sheet is in exactly one (features G-1)."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"
    NOT_PROCESSED = "not_processed"
    SKIPPED = "skipped"


class InboxState(StrEnum):
    """What became of something that customs told us."""

    RECEIVED = "received"
    APPLIED = "applied"
    QUARANTINED = "quarantined"
    KEPT = "kept"


class CardState(StrEnum):
    """The card as the submitter last saw it."""

    READY = "ready"
    ABSENT = "absent"
    PIN_REFUSED = "pin_refused"
    UNFIT = "unfit"
    """Something that waiting does not mend (`models.rules.card_errors`)."""


class LineReason(StrEnum):
    """Why the line to customs is closed."""

    BUSY = "customs_busy"
    TOKEN = "token_unknown"  # noqa: S105 - a reason, no secret
    CARD = "card_not_accepted"
    RESTORED = "database_restored"
    JOURNAL = "journal_unwritable"
    JOURNAL_MISSING = "journal_missing"
    PAUSED = "paused"


class LineState(StrEnum):
    """Whether messages leave."""

    OPEN = "open"
    CLOSED = "closed"
    PROBING = "probing"
    """One message at a time, until customs has taken one."""


class AttemptKind(StrEnum):
    """A row of the attempt register: a message sent, or a question asked about it."""

    SEND = "send"
    ASK = "ask"


class NotificationType(StrEnum):
    """What others may ask to be told."""

    BATCH_CHECKED = "batch.checked"
    BATCH_STOPPED = "batch.stopped"
    """Of an order that a program brought: it does not go on by itself."""
    BATCH_FINISHED = "batch.finished"
    FORM_REFUSED = "form.refused"
    RECONCILIATION_FINISHED = "reconciliation.finished"
    STOCK_LOW = "stock.low"
    CARD_UNAVAILABLE = "card.unavailable"
    TEST = "test"
    """Sent by `notify test` alone; nobody subscribes to it."""


class DeliveryState(StrEnum):
    """What became of a notification on its way to one endpoint."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Every try of the schedule was made; `notify redeliver` begins anew."""


class RunState(StrEnum):
    """A reconciliation: waiting for its hour, comparing, or finished for ever."""

    PLANNED = "planned"
    COMPARING = "comparing"
    FINISHED = "finished"


class RepairState(StrEnum):
    """What became of the default action for one difference."""

    PROPOSED = "proposed"
    """One person wants it; a second one must agree."""
    DONE = "done"
    SETTLED = "settled"
    """There was nothing left to do."""
    LEFT = "left"
    """It could not be done yet; a later repair tries again."""


FORM_MOVES: Final[frozenset[tuple[FormState, FormState]]] = frozenset(
    {
        (FormState.ISSUED, FormState.RESERVED),
        (FormState.RESERVED, FormState.ISSUED),  # cancelled or timed out before it left
        (FormState.RESERVED, FormState.VERIFY_SUBMITTED),
        (FormState.RESERVED, FormState.VOID_SUBMITTED),
        (FormState.VERIFY_SUBMITTED, FormState.RESERVED),  # certainly not taken: due again
        (FormState.VOID_SUBMITTED, FormState.RESERVED),
        (FormState.VERIFY_SUBMITTED, FormState.VERIFIED),
        (FormState.VOID_SUBMITTED, FormState.VOIDED),
        (FormState.VERIFY_SUBMITTED, FormState.ISSUED),  # refused by customs, reason kept
        (FormState.VOID_SUBMITTED, FormState.ISSUED),
        (FormState.ISSUED, FormState.VERIFIED),  # done at the portal, adopted from customs' list
        (FormState.ISSUED, FormState.VOIDED),
    }
)

SUBMISSION_MOVES: Final[frozenset[tuple[SubmissionState, SubmissionState]]] = frozenset(
    {
        (SubmissionState.PREPARED, SubmissionState.SIGNED),
        (SubmissionState.PREPARED, SubmissionState.CANCELLED),
        (SubmissionState.SIGNED, SubmissionState.CANCELLED),
        (SubmissionState.SIGNED, SubmissionState.SENDING),
        (SubmissionState.SENDING, SubmissionState.TAKEN),
        (SubmissionState.SENDING, SubmissionState.REFUSED),
        (SubmissionState.SENDING, SubmissionState.SIGNED),
        (SubmissionState.SENDING, SubmissionState.IN_DOUBT),
        (SubmissionState.SENDING, SubmissionState.PARKED),
        (SubmissionState.IN_DOUBT, SubmissionState.TAKEN),
        (SubmissionState.IN_DOUBT, SubmissionState.SIGNED),
        (SubmissionState.IN_DOUBT, SubmissionState.PARKED),
        (SubmissionState.TAKEN, SubmissionState.DECIDED),
        # A receipt proves that customs took it, whatever the lost answer said.
        (SubmissionState.SENDING, SubmissionState.DECIDED),
        (SubmissionState.IN_DOUBT, SubmissionState.DECIDED),
        (SubmissionState.SIGNED, SubmissionState.TAKEN),
        (SubmissionState.SIGNED, SubmissionState.DECIDED),
        # The journal knows a sending that a restored database has forgotten.
        (SubmissionState.SIGNED, SubmissionState.IN_DOUBT),
        (SubmissionState.PREPARED, SubmissionState.IN_DOUBT),
        (SubmissionState.IN_DOUBT, SubmissionState.PREPARED),
        (SubmissionState.PARKED, SubmissionState.TAKEN),  # asked again by a person
        # Customs' list shows every form of it where we want it (reconciliation, `lagging`).
        (SubmissionState.PARKED, SubmissionState.DECIDED),
    }
)

USED_STATES: Final = (
    *(FormState.VERIFY_SUBMITTED, FormState.VERIFIED),
    *(FormState.VOID_SUBMITTED, FormState.VOIDED),
)
"""Forms that the guide's default list shows: those verified or voided, or submitted for it (S-60)."""

FINAL_FORM_STATES: Final = frozenset({FormState.VERIFIED, FormState.VOIDED})

AWAITING_RECEIPT: Final = frozenset(
    {SubmissionState.SENDING, SubmissionState.IN_DOUBT, SubmissionState.TAKEN}
)
"""Submissions that a receipt may decide: those that have left, or may have."""

AT_CUSTOMS: Final = AWAITING_RECEIPT | {SubmissionState.PARKED}
"""Submissions whose forms count as submitted (invariant 8)."""

GIVEN_UP: Final = frozenset({SubmissionState.CANCELLED, SubmissionState.REFUSED})
"""Messages whose forms went back: customs had said, or we had concluded, that nothing was taken."""

NOT_LEFT: Final = frozenset({SubmissionState.PREPARED, SubmissionState.SIGNED})
"""Submissions that can still be taken back: `signed` means certainly not at customs."""

SUBMITTED_STATE: Final = {
    Action.VERIFY: FormState.VERIFY_SUBMITTED,
    Action.VOID: FormState.VOID_SUBMITTED,
}
FINAL_STATE: Final = {Action.VERIFY: FormState.VERIFIED, Action.VOID: FormState.VOIDED}

LABELS: Final[dict[type[StrEnum], dict[StrEnum, Text]]] = {
    Action: {
        Action.VERIFY: Text("核销", "verify"),
        Action.VOID: Text("作废", "void"),
    },
    StockSource: {
        StockSource.EXPORTER: Text("出口商", "exporter"),
        StockSource.AGENT: Text("代录入企业", "agent"),
    },
    FormState: {
        FormState.ISSUED: Text("已领用", "issued"),
        FormState.RESERVED: Text("已预占", "reserved"),
        FormState.VERIFY_SUBMITTED: Text("核销提交", "verify submitted"),
        FormState.VERIFIED: Text("已核销", "verified"),
        FormState.VOID_SUBMITTED: Text("作废提交", "void submitted"),
        FormState.VOIDED: Text("已作废", "voided"),
    },
    BatchState: {
        BatchState.RECEIVED: Text("已接收", "received"),
        BatchState.UNREADABLE: Text("无法读取", "unreadable"),
        BatchState.ASKED: Text("待回答", "asked"),
        BatchState.CHECKED: Text("已预检", "checked"),
        BatchState.AWAITING: Text("待复核", "waits for a second person"),
        BatchState.CONFIRMED: Text("已确认", "confirmed"),
        BatchState.WORKING: Text("处理中", "working"),
        BatchState.FINISHED: Text("已完成", "finished"),
        BatchState.CANCELLED: Text("已取消", "cancelled"),
    },
    SubmissionState: {
        SubmissionState.PREPARED: Text("待签名", "waiting for the card"),
        SubmissionState.SIGNED: Text("待发送", "waiting to be sent"),
        SubmissionState.SENDING: Text("发送中", "sending"),
        SubmissionState.IN_DOUBT: Text("提交存疑", "in doubt"),
        SubmissionState.TAKEN: Text("海关已接收", "taken by customs"),
        SubmissionState.PARKED: Text("待人工处理", "parked for a person"),
        SubmissionState.DECIDED: Text("已有回执", "decided"),
        SubmissionState.REFUSED: Text("整份退回", "refused whole"),
        SubmissionState.CANCELLED: Text("已取消", "cancelled"),
    },
    RowStatus: {
        RowStatus.OK: Text("可提交", "ok"),
        RowStatus.PROBLEM: Text("有问题", "problem"),
        RowStatus.SKIPPED: Text("跳过", "skipped"),
    },
    RowOutcome: {
        RowOutcome.OPEN: Text("处理中", "open"),
        RowOutcome.DONE: Text("成功", "done"),
        RowOutcome.REFUSED: Text("失败", "refused"),
        RowOutcome.NOT_PROCESSED: Text("未处理", "not processed"),
        RowOutcome.SKIPPED: Text("跳过", "skipped"),
    },
    DeliveryState: {
        DeliveryState.PENDING: Text("待送达", "pending"),
        DeliveryState.DELIVERED: Text("已送达", "delivered"),
        DeliveryState.FAILED: Text("未能送达", "failed"),
    },
    RunState: {
        RunState.PLANNED: Text("待开始", "planned"),
        RunState.COMPARING: Text("比对中", "comparing"),
        RunState.FINISHED: Text("已完成", "finished"),
    },
    RepairState: {
        RepairState.PROPOSED: Text("待第二人复核", "waits for a second person"),
        RepairState.DONE: Text("已处理", "done"),
        RepairState.SETTLED: Text("已无差异", "settled already"),
        RepairState.LEFT: Text("未能处理", "left"),
    },
    CardState: {
        CardState.READY: Text("就绪", "ready"),
        CardState.ABSENT: Text("未找到", "absent"),
        CardState.PIN_REFUSED: Text("口令被拒", "PIN refused"),
        CardState.UNFIT: Text("不可用", "cannot be used"),
    },
    LineReason: {
        LineReason.BUSY: Text("海关要求暂停", "customs asked to wait"),
        LineReason.TOKEN: Text(
            "海关不认网关令牌(CUSTOMS_TOKEN)", "customs does not know CUSTOMS_TOKEN"
        ),
        LineReason.CARD: Text("海关不接受签名卡", "customs does not accept the card"),
        LineReason.JOURNAL_MISSING: Text("发送日志不见了", "the send journal is gone"),
        LineReason.PAUSED: Text("人工暂停", "paused by a person"),
        LineReason.JOURNAL: Text("发送日志无法写入", "the send journal cannot be written"),
        LineReason.RESTORED: Text(
            "数据库比发送日志旧", "the database is older than the send journal"
        ),
    },
    LineState: {
        LineState.OPEN: Text("畅通", "open"),
        LineState.CLOSED: Text("暂停发送", "closed"),
        LineState.PROBING: Text("逐份试发", "one message at a time"),
    },
}
"""By enum first: members of two enums with the same value are equal, and mean different things."""


def text_of(value: StrEnum) -> Text:
    """The words for a state or choice. Raises KeyError when it has none."""
    return LABELS[type(value)][value]


def label(value: StrEnum) -> str:
    """The word for a state or choice, in the current language."""
    return str(text_of(value))


class PauseScope(StrEnum):
    """What is stopped."""

    ALL = "all"
    PRINCIPAL = "principal"
    """The messages for certificates of one exporter."""
    BATCH = "batch"

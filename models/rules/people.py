"""Who does something, through which door, and what they may (DESIGN.md section 5). Pure.

An *actor* is whoever acts: a proved person (by a key, or signed in at the pages), an account of the operating
system, or the system itself. One table says which deed needs which role, and of a key which scope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from models.rules.errors import NameUnusable, NotAllowed, ReasonUnusable
from models.rules.language import Text


class Role(StrEnum):
    """What a person is there for."""

    MAKER = "maker"
    CHECKER = "checker"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"


class Scope(StrEnum):
    """What a key may be used for."""

    CHECK = "jobs:check"
    SUBMIT = "jobs:submit"
    IMMEDIATE = "jobs:immediate"
    CANCEL = "jobs:cancel"
    ENDORSE = "endorse"
    STOCK = "stock:write"
    CERTIFICATES = "certificates:write"
    READ = "read"
    NOTIFY = "notify"


SCOPE_WORDS: Final[Mapping[Scope, Text]] = {
    Scope.CHECK: Text("交作业预检", "bring jobs to be checked"),
    Scope.SUBMIT: Text("提交作业", "submit jobs"),
    Scope.IMMEDIATE: Text("不留撤回期", "without time to take back"),
    Scope.CANCEL: Text("撤回作业", "take jobs back"),
    Scope.ENDORSE: Text("复核", "endorse"),
    Scope.STOCK: Text("改库存", "change stock"),
    Scope.CERTIFICATES: Text("导入证书", "import certificates"),
    Scope.READ: Text("查询", "read"),
    Scope.NOTIFY: Text("通知地址", "notification addresses"),
}


class Channel(StrEnum):
    """The door through which something is done."""

    PAGE = "page"
    API = "api"
    COMMAND = "command"
    SCHEDULER = "scheduler"
    CUSTOMS = "customs"


class Deed(StrEnum):
    """What is kept in the log of acts. Values are hashed there: they are never changed."""

    ORDER_CONFIRMED = "order.confirmed"
    ORDER_AT_ONCE = "order.at_once"
    """Confirmed without the time in which it could be taken back."""
    ORDER_ASKED = "order.asked"
    """Confirmed, and a second person is asked."""
    ORDER_LIFTED = "order.lifted"
    """The same once more, or past the certificate's pages, was allowed for an order of anybody."""
    ENDORSED = "endorsed"
    REJECTED = "rejected"
    RULES_SET = "rules.set"
    RULES_ASKED = "rules.asked"
    CHANGE_ASKED = "change.asked"
    """A change of persons, or the release of a lost form, waits for a second person."""
    ORDER_CANCELLED = "order.cancelled"
    FORMS_HELD = "forms.held"
    FORMS_RELEASED = "forms.released"
    FORMS_LOST = "forms.lost"
    STOCK_IMPORTED = "stock.imported"
    CERTIFICATES_IMPORTED = "certificates.imported"
    REPAIR_ORDERED = "repair.ordered"
    REPAIR_APPROVED = "repair.approved"
    DISCREPANCY_CLOSED = "discrepancy.closed"
    RECEIPT_DISMISSED = "receipt.dismissed"
    RESTORE_ACCEPTED = "restore.accepted"
    PAUSED = "paused"
    RESUMED = "resumed"
    ENDPOINT_CHANGED = "endpoint.changed"
    GRACE_SET = "grace.set"
    PERSON_ADDED = "person.added"
    PERSON_CHANGED = "person.changed"
    KEY_MADE = "key.made"
    KEY_REVOKED = "key.revoked"
    PASSWORD_GIVEN = "password.given"  # noqa: S105 - the name of a deed
    """A one-time password, by another: whoever signs in by it chooses their own."""
    PASSWORD_CHOSEN = "password.chosen"  # noqa: S105
    SECOND_FACTOR_SET = "second_factor.set"
    SIGNED_OUT = "signed_out"
    """All sign-ins of a person were ended."""


@dataclass(frozen=True, slots=True)
class Right:
    """Who may: a person with one of these roles, by a key only with this scope (None: by no key of the API; whoever
    gives a command beside a key has the system already).
    """

    roles: frozenset[Role]
    scope: Scope | None


_MAKER: Final = frozenset({Role.MAKER})
_MAKER_OR_CHECKER: Final = frozenset({Role.MAKER, Role.CHECKER})
_CHECKER: Final = frozenset({Role.CHECKER})
_ADMINISTRATOR: Final = frozenset({Role.ADMINISTRATOR})
_ANYONE: Final = frozenset(Role)

RIGHTS: Final[Mapping[Deed, Right]] = {
    Deed.ORDER_CONFIRMED: Right(_MAKER, Scope.SUBMIT),
    Deed.ORDER_AT_ONCE: Right(_MAKER, Scope.IMMEDIATE),
    Deed.ORDER_ASKED: Right(_MAKER, Scope.SUBMIT),
    Deed.ORDER_LIFTED: Right(_MAKER, Scope.SUBMIT),
    Deed.ENDORSED: Right(_CHECKER, Scope.ENDORSE),
    Deed.REJECTED: Right(_CHECKER, Scope.ENDORSE),
    Deed.RULES_SET: Right(_ADMINISTRATOR, None),
    Deed.RULES_ASKED: Right(_ADMINISTRATOR, None),
    Deed.CHANGE_ASKED: Right(_ANYONE, None),
    Deed.ORDER_CANCELLED: Right(_MAKER_OR_CHECKER, Scope.CANCEL),
    Deed.FORMS_HELD: Right(_MAKER_OR_CHECKER, Scope.STOCK),
    Deed.FORMS_RELEASED: Right(_MAKER_OR_CHECKER, Scope.STOCK),
    Deed.FORMS_LOST: Right(_MAKER_OR_CHECKER, Scope.STOCK),
    Deed.STOCK_IMPORTED: Right(_MAKER, Scope.STOCK),
    Deed.CERTIFICATES_IMPORTED: Right(_MAKER, Scope.CERTIFICATES),
    Deed.REPAIR_ORDERED: Right(_MAKER_OR_CHECKER, Scope.SUBMIT),
    Deed.REPAIR_APPROVED: Right(_CHECKER, Scope.ENDORSE),
    Deed.DISCREPANCY_CLOSED: Right(_MAKER_OR_CHECKER, Scope.SUBMIT),
    Deed.RECEIPT_DISMISSED: Right(_MAKER_OR_CHECKER, Scope.SUBMIT),
    Deed.RESTORE_ACCEPTED: Right(_ADMINISTRATOR, None),
    Deed.PAUSED: Right(_MAKER_OR_CHECKER | _ADMINISTRATOR, Scope.CANCEL),
    Deed.RESUMED: Right(_MAKER_OR_CHECKER | _ADMINISTRATOR, Scope.SUBMIT),
    Deed.ENDPOINT_CHANGED: Right(_ADMINISTRATOR, Scope.NOTIFY),
    Deed.GRACE_SET: Right(_ADMINISTRATOR, None),
    Deed.PERSON_ADDED: Right(_ADMINISTRATOR, None),
    Deed.PERSON_CHANGED: Right(_ADMINISTRATOR, None),
    Deed.KEY_MADE: Right(_ANYONE, None),
    Deed.KEY_REVOKED: Right(_ANYONE, None),
    Deed.PASSWORD_GIVEN: Right(_ADMINISTRATOR, None),
    Deed.PASSWORD_CHOSEN: Right(_ANYONE, None),
    Deed.SECOND_FACTOR_SET: Right(_ANYONE, None),
    Deed.SIGNED_OUT: Right(_ANYONE, None),
}

ROLE_WORDS: Final[Mapping[Role, Text]] = {
    Role.MAKER: Text("录入", "maker"),
    Role.CHECKER: Text("复核", "checker"),
    Role.ADMINISTRATOR: Text("管理", "administrator"),
    Role.AUDITOR: Text("审计", "auditor"),
}
CHANNEL_WORDS: Final[Mapping[Channel, Text]] = {
    Channel.PAGE: Text("页面", "page"),
    Channel.API: Text("接口", "API"),
    Channel.COMMAND: Text("命令", "command"),
    Channel.SCHEDULER: Text("系统", "system"),
    Channel.CUSTOMS: Text("海关", "customs"),
}

LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{1,31}")
"""A login: 2 to 32 characters, small letters, so that no two look alike but for case."""

ENTERPRISE: Final = re.compile(r"[0-9A-HJ-NPQRTUWXY]{18}")
"""A unified social credit code (GB 32100-2015)."""

DEED_WORDS: Final[Mapping[Deed, Text]] = {
    Deed.ORDER_CONFIRMED: Text("确认提交", "order confirmed"),
    Deed.ORDER_AT_ONCE: Text("确认提交(不留撤回期)", "order confirmed, at once"),
    Deed.ORDER_ASKED: Text("送复核", "order sent to a second person"),
    Deed.ORDER_LIFTED: Text("允许再办或超出页数", "once more, or past the pages, allowed"),
    Deed.ENDORSED: Text("复核通过", "endorsed"),
    Deed.REJECTED: Text("驳回", "rejected"),
    Deed.RULES_SET: Text("改复核规则", "rules set"),
    Deed.RULES_ASKED: Text("复核规则送复核", "other rules sent to a second person"),
    Deed.CHANGE_ASKED: Text("更改送复核", "a change sent to a second person"),
    Deed.ORDER_CANCELLED: Text("撤回", "order taken back"),
    Deed.FORMS_HELD: Text("停用证单", "forms held"),
    Deed.FORMS_RELEASED: Text("解除停用", "forms released"),
    Deed.FORMS_LOST: Text("报失", "forms reported lost"),
    Deed.STOCK_IMPORTED: Text("登记领用", "stock imported"),
    Deed.CERTIFICATES_IMPORTED: Text("导入证书", "certificates imported"),
    Deed.REPAIR_ORDERED: Text("处理对账差异", "repair ordered"),
    Deed.REPAIR_APPROVED: Text("复核对账处理", "repair approved"),
    Deed.DISCREPANCY_CLOSED: Text("结清差异", "discrepancy closed"),
    Deed.RECEIPT_DISMISSED: Text("搁置回执", "receipt dismissed"),
    Deed.RESTORE_ACCEPTED: Text("认可恢复的备份", "restored backup accepted"),
    Deed.PAUSED: Text("暂停", "paused"),
    Deed.RESUMED: Text("恢复", "resumed"),
    Deed.ENDPOINT_CHANGED: Text("改通知地址", "endpoint changed"),
    Deed.GRACE_SET: Text("设撤回期", "grace set"),
    Deed.PERSON_ADDED: Text("登记人员", "person added"),
    Deed.PERSON_CHANGED: Text("改人员", "person changed"),
    Deed.KEY_MADE: Text("建密钥", "key made"),
    Deed.KEY_REVOKED: Text("废除密钥", "key revoked"),
    Deed.PASSWORD_GIVEN: Text("重置口令", "one-time password given"),
    Deed.PASSWORD_CHOSEN: Text("设置口令", "password chosen"),
    Deed.SECOND_FACTOR_SET: Text("设动态码", "second factor set"),
    Deed.SIGNED_OUT: Text("全部退出", "signed out everywhere"),
}

NAME_LENGTH: Final = 64
"""Characters of a name."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. Proved when `person_id` is there; `scopes` None: not by a key, so none limits."""

    name: str
    channel: Channel
    person_id: int | None = None
    roles: frozenset[Role] = frozenset()
    scopes: frozenset[Scope] | None = None
    key_id: int | None = None
    sign_in_id: int | None = None
    principals: frozenset[str] | None = None
    """The enterprises that the person works for; None: all."""

    @property
    def proved(self) -> bool:
        """Whether the name is known to be right."""
        return self.person_id is not None


SYSTEM: Final = Actor("blankforms", Channel.SCHEDULER)
"""What nobody asked for: the sweep, the night, receipts."""


def may(actor: Actor, deed: Deed) -> bool:
    """Whether this actor may do it.

    An account of the operating system may: who has it has the system. A person may what the roles say, by
    a key what its scopes say too.
    """
    if not actor.proved:
        return True
    right = RIGHTS[deed]
    if not actor.roles & right.roles:
        return False
    if actor.principals is not None and right.roles == _ADMINISTRATOR:
        return False  # what is everybody's is not for a person who works for some enterprises alone
    if actor.scopes is None or right.scope in actor.scopes:
        return True
    return right.scope is None and actor.channel is Channel.COMMAND


def require(actor: Actor, deed: Deed) -> None:
    """Raise `NotAllowed` where the actor may not."""
    if not may(actor, deed):
        right = RIGHTS[deed]
        raise NotAllowed(
            name=actor.name,
            deed=deed.value,
            roles=", ".join(str(ROLE_WORDS[role]) for role in sorted(right.roles)),
            scope=right.scope.value if right.scope else "-",
        )


SCOPE_ROLES: Final[Mapping[Scope, frozenset[Role]]] = {
    Scope.READ: _ANYONE,
    Scope.CHECK: _MAKER,
    **{
        scope: frozenset().union(*(r.roles for r in RIGHTS.values() if r.scope is scope))
        for scope in Scope
        if any(r.scope is scope for r in RIGHTS.values())
    },
}
"""Which roles a scope is of use to: a key does not make its owner more than they are."""


def require_scope(actor: Actor, scope: Scope | None) -> None:
    """Raise `NotAllowed` where the actor's key, or the actor, may not come through this door (None: all may)."""
    if scope is None or actor.scopes is None:
        return
    if scope not in actor.scopes or not actor.roles & SCOPE_ROLES[scope]:
        raise NotAllowed(
            name=actor.name,
            deed=scope.value,
            roles=", ".join(str(ROLE_WORDS[role]) for role in sorted(SCOPE_ROLES[scope])),
            scope=scope.value,
        )


def require_whole(actor: Actor) -> None:
    """Raise `NotAllowed` where the actor works for some enterprises alone: this tells of all of them."""
    if actor.principals is not None:
        everybody = Text("不限定企业的人员", "persons who are not limited to enterprises")
        raise NotAllowed(name=actor.name, deed="*", roles=str(everybody), scope="-")


REASON_LIMIT: Final = 200
"""Characters; what is longer is no reason but a text that went astray."""


def kept_reason(text: str) -> str:
    """A reason as it is kept: something, in characters that can be kept. Raises `ReasonUnusable`."""
    cleaned = _storable(text)
    if not cleaned or len(cleaned) > REASON_LIMIT:
        raise ReasonUnusable(limit=REASON_LIMIT)
    return cleaned


def kept_name(given: str | None, actor: Actor) -> str:
    """The name that is kept with a deed: of a proved person their own, else what is said, by default the account's.

    Raises `NameUnusable`.
    """
    if actor.proved:
        return actor.name
    name = _storable(given or actor.name)
    if not name or len(name) > NAME_LENGTH:
        raise NameUnusable(limit=NAME_LENGTH)
    return name


def account_name(account: str) -> str:
    """The name of an account of the operating system, as it is kept. Raises `NameUnusable`."""
    name = _storable(account)[:NAME_LENGTH]
    if not name:
        raise NameUnusable(limit=NAME_LENGTH)
    return name


def _storable(text: str) -> str:
    """The text without blanks around it; nothing where it holds what no database keeps (a lone surrogate, NUL)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return ""
    return "" if "\0" in text else text.strip()

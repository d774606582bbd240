"""Which orders need a second pair of eyes, and who may be the second (DESIGN.md section 5). Pure.

The rules of a deployment are off until an administrator turns them on; once on they never switch off by
themselves: with nobody who may endorse, what they touch waits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from models.rules.errors import AnotherPersonNeeded
from models.rules.language import Text, t
from models.rules.people import Actor


class Rule(StrEnum):
    """What asks for a second person."""

    VOIDS_PER_BATCH = "voids_per_batch"
    VOIDS_PER_DAY = "voids_per_day"
    REASONS = "reasons"
    AGAIN = "again"
    BEYOND_PAGES = "beyond_pages"
    PEOPLE = "people"
    LOST = "lost"
    CONTRADICTIONS = "contradictions"
    RULES = "rules"


RULE_WORDS: Final[Mapping[Rule, Text]] = {
    Rule.VOIDS_PER_BATCH: Text("一批作废张数", "voids in one batch"),
    Rule.VOIDS_PER_DAY: Text("一人一天作废张数", "voids of one person and day"),
    Rule.REASONS: Text("作废原因", "the reason of a void"),
    Rule.AGAIN: Text("再次提交同样内容", "the same content again"),
    Rule.BEYOND_PAGES: Text("超出证书页数", "past the certificate's pages"),
    Rule.PEOPLE: Text("人员及其角色", "persons and their roles"),
    Rule.LOST: Text("解除遗失", "release of a lost form"),
    Rule.CONTRADICTIONS: Text("处理与海关的矛盾", "repair of a contradiction"),
    Rule.RULES: Text("更改复核规则", "a change of these rules"),
}


class ChangeKind(StrEnum):
    """What else than an order may wait for a second person; values are kept."""

    RULES = "rules"
    PERSON = "person"
    ROLES = "roles"
    DISABLED = "disabled"
    RELEASE = "release"
    PASSWORD = "password"  # noqa: S105 - the name of a change
    PRINCIPALS = "principals"


SECRET: Final = "secret"  # noqa: S105 - the name of a part
"""The part of a change that is shown to nobody."""

CHANGE_WORDS: Final[Mapping[ChangeKind, Text]] = {
    ChangeKind.RULES: Text("更改复核规则", "other rules"),
    ChangeKind.PERSON: Text("登记人员 {about}", "a new person: {about}"),
    ChangeKind.ROLES: Text("更改角色 {about}", "other roles: {about}"),
    ChangeKind.DISABLED: Text("停用或恢复 {about}", "disable or enable: {about}"),
    ChangeKind.PASSWORD: Text("重置口令 {about}", "one-time password of {about}"),
    ChangeKind.PRINCIPALS: Text("限定企业 {about}", "enterprises of {about}"),
    ChangeKind.RELEASE: Text("解除遗失 {about}", "release lost forms: {about}"),
}

ABLE_PERSONS: Final = 2
"""So many who may endorse there must be before the rules can be turned on: one could not endorse their own."""


HOURS_MOST: Final = 24 * 30
"""A request that waits longer is asked for anew: the stock has moved long since."""


class EndorsementState(StrEnum):
    """What became of a request for a second person."""

    WAITING = "waiting"
    ENDORSED = "endorsed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    MOVED = "moved"
    """Endorsed, and the plan could not be carried out as it was: it is asked anew."""
    WITHDRAWN = "withdrawn"


ENDORSEMENT_WORDS: Final[Mapping[EndorsementState, Text]] = {
    EndorsementState.WAITING: Text("待复核", "waits for a second person"),
    EndorsementState.ENDORSED: Text("已复核", "endorsed"),
    EndorsementState.REJECTED: Text("已驳回", "rejected"),
    EndorsementState.EXPIRED: Text("已过期", "expired"),
    EndorsementState.MOVED: Text("已失效", "void: the plan has moved"),
    EndorsementState.WITHDRAWN: Text("已撤回", "withdrawn"),
}


SENT_BACK: Final = (EndorsementState.REJECTED, EndorsementState.EXPIRED, EndorsementState.MOVED)
"""The order is checked as before, and whoever submitted it looks at it again."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a deployment. `hours`: how long a request waits."""

    on: bool = False
    voids_per_batch: int = 10
    voids_per_day: int = 50
    reasons: tuple[str, ...] = ("04", "09")
    again: bool = True
    beyond_pages: bool = True
    people: bool = True
    lost: bool = True
    contradictions: bool = True
    """Their repair takes two names anyway (`tasks.night.repairing`); by this rule two proved ones."""
    hours: int = 24

    def shown(self) -> dict[str, Any]:
        """For JSON, and as it is kept."""
        return asdict(self) | {"reasons": list(self.reasons)}

    def words(self, rule: Rule) -> str:
        """What the rule asks a second person for, with its limit."""
        limits = {
            Rule.VOIDS_PER_BATCH: t(
                f"超过 {self.voids_per_batch} 张", f"more than {self.voids_per_batch}"
            ),
            Rule.VOIDS_PER_DAY: t(
                f"超过 {self.voids_per_day} 张", f"more than {self.voids_per_day}"
            ),
            Rule.REASONS: "、".join(self.reasons),
        }
        return f"{RULE_WORDS[rule]} {limits.get(rule, '')}".strip()

    @property
    def waits(self) -> timedelta:
        """How long a request waits for a second person."""
        return timedelta(hours=self.hours)


def rules_from(kept: Mapping[str, Any]) -> Rules:
    """Rules as they were kept by `shown`."""
    return Rules(**{**kept, "reasons": tuple(kept["reasons"])})


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What the rules look at."""

    voids: int
    voids_today: int
    """Voids on the same business date before: those of the same person, and those of nobody known."""
    reasons: frozenset[str]
    again: bool
    beyond_pages: bool
    any_void: bool = False
    """A row speaks of voiding, right or not: what it comes to may change until it is carried out."""


def touched(rules: Rules, order: OrderFacts) -> tuple[Rule, ...]:
    """The rules that ask for a second person; none while they are off. A number is reached, not passed, freely."""
    if not rules.on:
        return ()
    voids = order.voids
    asked = {
        Rule.VOIDS_PER_BATCH: voids > rules.voids_per_batch,
        Rule.VOIDS_PER_DAY: voids > 0 and voids + order.voids_today > rules.voids_per_day,
        Rule.REASONS: bool(order.reasons & set(rules.reasons)),
        Rule.AGAIN: rules.again and order.again,
        Rule.BEYOND_PAGES: rules.beyond_pages and order.beyond_pages,
    }
    return tuple(rule for rule, asks in asked.items() if asks)


def require_another(makers: Collection[int | None], checker: Actor) -> None:
    """Raise `AnotherPersonNeeded` unless the checker is proved and none of the makers: for every door."""
    if not checker.proved or checker.person_id in makers:
        raise AnotherPersonNeeded(name=checker.name)

"""The rules that ask for a second person, as an administrator sets them: once they are on, under two persons."""

from __future__ import annotations

from models.reads.endorsements import able_persons, known_rules
from models.rules.errors import BadArgument, NoSecondPersons
from models.rules.language import t
from models.rules.people import Deed, require
from models.rules.plan import VOID_REASON_WORDS
from models.rules.two_persons import ABLE_PERSONS, HOURS_MOST, ChangeKind, Rule, Rules
from models.tables.endorsements import RulesVersion
from models.writes.acts import record_act
from models.writes.endorsements import one_at_a_time
from tasks.context import Context
from tasks.people.changes import ask_where_ruled


def set_rules(context: Context, wanted: Rules) -> int | None:
    """Other rules. While they are off they hold at once (None); once on, another person endorses them first:
    gives the number of the request.

    Raises `BadArgument`, `NotAllowed`, `NoSecondPersons` where they are turned on with too few who may endorse, and
    `PersonNeeded` for a change of rules that are on by nobody known.
    """
    actor = context.actor
    least = min(wanted.voids_per_batch, wanted.voids_per_day, wanted.hours - 1)
    if least < 0 or wanted.hours > HOURS_MOST or not set(wanted.reasons) <= set(VOID_REASON_WORDS):
        codes = " ".join(VOID_REASON_WORDS)
        raise BadArgument(
            detail=t(
                f"张数不小于 0，过期 1-{HOURS_MOST} 小时，作废原因为 {codes}",
                f"numbers from 0 on, 1-{HOURS_MOST} hours, reasons of {codes}",
            )
        )
    with context.database.write() as session:
        require(actor, Deed.RULES_SET)
        one_at_a_time(session)
        version, rules = known_rules(session)
        able = able_persons(session)
        if wanted.on and not rules.on and able < ABLE_PERSONS:
            raise NoSecondPersons(needed=ABLE_PERSONS, able=able)
        now = context.now()
        if not rules.on:
            session.add(RulesVersion(version=version + 1, rules=wanted.shown(), set_at=now))
            session.flush()
            record_act(session, actor, Deed.RULES_SET, "rules", now, rules=wanted.shown())
            return None
        return ask_where_ruled(
            session, context, Rule.RULES, Deed.RULES_SET, ChangeKind.RULES, "rules",
            version=version, rules=wanted.shown(),
        )  # fmt: skip

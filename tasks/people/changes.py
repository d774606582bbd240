"""Changes that wait for a second person: of persons and their roles, of the rules, of lost forms.

What a change asks for is kept as it was said, and made as it was said, in the transaction of the endorsement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from models.reads.endorsements import known_rules
from models.rules.errors import PersonNeeded
from models.rules.people import Deed, require
from models.rules.two_persons import RULE_WORDS, SECRET, ChangeKind, Rule
from models.tables.endorsements import RulesVersion
from models.writes.acts import record_act
from models.writes.endorsements import ask_for_endorsement, one_at_a_time
from models.writes.holds import lock_stocks_of, release_forms
from models.writes.people import (
    disable_person,
    give_password,
    give_roles,
    limit_person,
    new_person,
)
from tasks.context import Context


def ask_where_ruled(
    session: Session,
    context: Context,
    rule: Rule,
    deed: Deed,
    kind: ChangeKind,
    about: str,
    **values: Any,
) -> int | None:
    """Ask a second person where the rules want one, instead of doing it now; gives the number of the request,
    None where it may be done.

    Raises `NotAllowed` where the actor may not do it, `PersonNeeded` where nobody knows who they are.
    """
    actor, now = context.actor, context.now()
    require(actor, deed)
    one_at_a_time(session)
    _, rules = known_rules(session)
    if not (rules.on and getattr(rules, rule.value, True)):
        return None
    if actor.person_id is None:
        raise PersonNeeded(rules=str(RULE_WORDS[rule]))
    change = {"kind": kind.value, "about": about, **values}
    asked = ask_for_endorsement(session, actor.person_id, [rule], rules, now, proposal=change)
    number = asked.id
    told = Deed.RULES_ASKED if kind is ChangeKind.RULES else Deed.CHANGE_ASKED
    shown = {name: value for name, value in values.items() if name != SECRET}
    record_act(session, actor, told, about, now, request=number, **shown)
    return number


def _rules(session: Session, context: Context, change: Mapping[str, Any]) -> bool:
    one_at_a_time(session)
    version, _ = known_rules(session)
    if change["version"] != version:
        return False
    session.add(RulesVersion(version=version + 1, rules=change["rules"], set_at=context.now()))
    return True


def _person(session: Session, context: Context, change: Mapping[str, Any]) -> bool:
    return new_person(session, change["about"], change["name"], change["roles"], context.now())


def _roles(session: Session, _context: Context, change: Mapping[str, Any]) -> bool:
    give_roles(session, change["about"], change["roles"])
    return True


def _disabled(session: Session, context: Context, change: Mapping[str, Any]) -> bool:
    disable_person(session, change["about"], context.now() if change["disabled"] else None)
    return True


def _release(session: Session, context: Context, change: Mapping[str, Any]) -> bool:
    lock_stocks_of(session, change["forms"])
    return bool(release_forms(session, change["forms"], context.now(), change["reason"]))


def _password(session: Session, context: Context, change: Mapping[str, Any]) -> bool:
    secret = change[SECRET]
    until = datetime.fromisoformat(secret["until"])
    by = context.actor.name
    give_password(session, change["about"], secret["hash"], until, by, context.now())
    return True


def _principals(session: Session, _context: Context, change: Mapping[str, Any]) -> bool:
    limit_person(session, change["about"], change["principals"])
    return True


_MAKE: Final[Mapping[ChangeKind, Callable[[Session, Context, Mapping[str, Any]], bool]]] = {
    ChangeKind.RULES: _rules,
    ChangeKind.PERSON: _person,
    ChangeKind.ROLES: _roles,
    ChangeKind.DISABLED: _disabled,
    ChangeKind.RELEASE: _release,
    ChangeKind.PASSWORD: _password,
    ChangeKind.PRINCIPALS: _principals,
}


def make_change(session: Session, context: Context, change: Mapping[str, Any]) -> bool:
    """Make an endorsed change; False when things have moved and it does not fit any more."""
    kind = ChangeKind(change.get("kind", ChangeKind.RULES))  # before 0011 only rules were kept
    return _MAKE[kind](session, context, change)

"""待办: what waits for a person, with the act that mends it."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from flask import Response, request

from console.pages.door import acting, forget, moved, page, pages, part, polling
from models.reads.endorsements import came_back, known_rules, list_endorsements
from models.reads.plans import plan_view
from models.reads.to_do import to_do
from models.rules.errors import BadArgument, BlankformsError
from models.rules.people import kept_name, kept_reason, require_whole
from models.rules.to_do import TO_DO_MEANS, TO_DO_WORDS, ToDo
from models.rules.two_persons import CHANGE_WORDS, ChangeKind, Rule, Rules
from models.tables.batches import Batch
from tasks.context import Context
from tasks.notify import endpoints
from tasks.people import endorsing
from tasks.receipts import discrepancies, quarantine, refreshing

MARK_SECONDS: Final = 30
"""So old at most is what moves without anything coming or going: the stock that a plan draws from, ages."""

SHOWN: Final = 50
"""Requests with their plans on one page, the oldest first: who works them off sees the next ones."""


@pages.get("/inbox")
def inbox() -> Response:
    """What waits, each with its age, its cause and its act."""
    context = acting()
    if polling() and request.args.get("as") == _mark(context):
        return Response(status=204)  # as it is shown: no plan need be counted for it
    values = _inbox(context)
    if polling():
        return part("inbox.html", "waiting", **values)
    return page("inbox.html", error=None, said=request.args.get("said"), **values)


def _mark(context: Context) -> str:
    """Of what waits now: it stays the same while the page would."""
    now = context.now()
    with context.database.read() as session:
        asked = list_endorsements(session, limit=SHOWN, sight=context.sight)
        back = came_back(session, context.actor.person_id, SHOWN)
        known = [
            int(now.timestamp()) // MARK_SECONDS,
            [one["id"] for one in asked],
            [one["id"] for one in back],
            [(w.kind, w.number, w.detail) for w in to_do(session, now)]
            if context.sight is None
            else [],
        ]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def _inbox(context: Context) -> dict[str, Any]:
    mark = _mark(context)  # before what it is of: what comes meanwhile has another one
    now = context.now()
    with context.database.read() as session:
        _, rules = known_rules(session)
        asked = [
            _plan_of(session, one, rules)
            for one in list_endorsements(session, limit=SHOWN, sight=context.sight)
        ]
        # what is everybody's is not for a person who works for some enterprises alone
        waiting = list(to_do(session, now)) if context.sight is None else []
        back = list(came_back(session, context.actor.person_id, SHOWN))
    return {
        "asked": asked,
        "back": back,
        "mark": mark,
        "waiting": waiting,
        "words": TO_DO_WORDS,
        "means": TO_DO_MEANS,
    }


def _plan_of(session: Any, one: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """A request with what the second person must see of it."""
    change = one["proposal"]
    words = ""
    if change is not None:
        kind = ChangeKind(change.get("kind", ChangeKind.RULES))
        words = CHANGE_WORDS[kind].fill(about=change.get("about", ""))
    batch = session.get(Batch, one["batch"]) if one["batch"] is not None else None
    return one | {
        "words": words,
        "change": {k: v for k, v in (change or {}).items() if k not in {"kind", "about"}},
        "because": [rules.words(Rule(rule)) for rule in one["rules"]],
        "view": plan_view(session, batch.id) if batch is not None else None,
        "makers": {
            one["asked_by_id"],
            *((batch.made_by_id, batch.confirmed_by_id) if batch else ()),
        },
    }


@pages.post("/inbox/endorsements/<int:id>")
def decide(id: int) -> Response:  # noqa: A002 - the name of the path's parameter
    """同意, exactly the plan that is shown; or 退回, with a reason."""
    context, form = acting(), request.form
    try:
        if form.get("do") == "endorse":
            endorsing.endorse(context, id)
            forget()
            return moved("pages.inbox", said="endorsed")
        endorsing.reject(context, id, kept_reason(form.get("reason", "")))
    except BlankformsError as error:
        return page("inbox.html", 409, error=error, said=None, **_inbox(context))
    forget()
    return moved("pages.inbox", said="rejected")


@pages.post("/inbox/<kind>/<int:id>")
def mend(kind: str, id: int) -> Response:  # noqa: A002
    """The act that mends a thing, in place."""
    context, form = acting(), request.form
    require_whole(context.actor)
    try:
        match ToDo(kind) if kind in set(ToDo) else None, form.get("do"):
            case ToDo.DISCREPANCY, "close":
                by = kept_name(None, context.actor)
                discrepancies.close(context, [id], by, kept_reason(form.get("reason", "")))
            case ToDo.QUARANTINED, "apply":
                quarantine.apply_again(context, [id])
            case ToDo.QUARANTINED, "close":
                by = kept_name(None, context.actor)
                quarantine.dismiss(context, [id], by, kept_reason(form.get("reason", "")))
            case ToDo.UNDELIVERED, "again":
                endpoints.redeliver(context, [id], None)
            case ((ToDo.IN_DOUBT | ToDo.PARKED), "ask"):
                refreshing.refresh_soon(context)
            case _:
                raise BadArgument(detail=kind)
    except BlankformsError as error:
        return page("inbox.html", 409, error=error, said=None, **_inbox(context))
    forget()
    return moved("pages.inbox", said="done")

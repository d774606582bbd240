"""Who the key acts for; and what waits for a second person."""

from __future__ import annotations

from typing import Final

from console.api import shapes
from console.api.cursors import pack, unpack_number
from console.api.door import Answer, Call, Operation
from models.reads.endorsements import list_endorsements
from models.reads.people import list_keys
from models.rules.language import Text
from models.rules.people import Scope, kept_reason
from models.rules.two_persons import EndorsementState
from tasks.people import endorsing


def me(call: Call) -> Answer:
    """The owner of the key, and what it may."""
    actor, settings = call.context.actor, call.context.settings
    with call.context.database.read() as session:
        key = next(list_keys(session, key_id=actor.key_id))
    return Answer(
        {
            "name": actor.name,
            "roles": sorted(actor.roles),
            "scopes": key["scopes"],
            "key": key["key"],
            "expires_at": key["expires_at"],
            "sender": settings.sender,
            "principals": None if actor.principals is None else sorted(actor.principals),
            "simulated": settings.simulated,
        }
    )


def endorsements(call: Call) -> Answer:
    """What waits, the oldest first."""
    asked: shapes.EndorsementQuery = call.query
    with call.context.database.read() as session:
        after, sight = unpack_number(asked.cursor), call.context.sight
        found = list(list_endorsements(session, limit=asked.limit, after=after, sight=sight))
    following = found[-1]["id"] if len(found) == asked.limit else None
    return Answer({"endorsements": found, "next": pack(following)})


def endorse(call: Call, id: int) -> Answer:  # noqa: A002 - the name of the path's parameter
    """Say yes as the second person; exactly that plan is carried out."""
    endorsing.endorse(call.context, id)
    return Answer({"endorsement": id, "state": EndorsementState.ENDORSED})


def reject(call: Call, id: int) -> Answer:  # noqa: A002
    """Say no."""
    endorsing.reject(call.context, id, kept_reason(call.body.reason))
    return Answer({"endorsement": id, "state": EndorsementState.REJECTED})


OPERATIONS: Final = (
    Operation("GET", "/me", None, Text("我是谁", "who I am"), me, shapes.Me),
    Operation("GET", "/endorsements", Scope.READ, Text("待复核", "what waits for a second person"), endorsements, shapes.Endorsements, query=shapes.EndorsementQuery),
    Operation("POST", "/endorsements/{id}/endorse", Scope.ENDORSE, Text("复核通过", "endorse"), endorse, shapes.Decided),
    Operation("POST", "/endorsements/{id}/reject", Scope.ENDORSE, Text("驳回", "reject"), reject, shapes.Decided, body=shapes.Reason),
)  # fmt: skip

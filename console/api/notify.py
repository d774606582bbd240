"""Events, pulled; and the addresses that are told them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from console.api import shapes
from console.api.cursors import pack, unpack_number
from console.api.door import Answer, Call, Operation
from console.api.problems import CursorUnknown
from models.reads.events import events_after, last_place
from models.rules.errors import NotFound
from models.rules.language import Text, t
from models.rules.people import Scope
from models.rules.states import DeliveryState
from models.writes.calls import MadeBefore
from models.writes.feed import give_places, unplaced
from tasks.context import Context
from tasks.notify import endpoints

PLACING_ROUNDS: Final = 5
"""Transactions of a thousand events that one pull gives their places; the next pull goes on."""

POLL_AFTER_SECONDS: Final = 2
"""How often it is worth asking while nothing comes: a pull costs two reads by an index."""


def events(call: Call) -> Answer:
    """The next events. Without a gap and in one order: who goes on from `next` misses none and sees none twice."""
    asked: shapes.EventQuery = call.query
    database = call.context.database
    with database.read() as session:
        waiting = unplaced(session)
    for _ in range(PLACING_ROUNDS if waiting else 0):
        with database.write() as session:
            if not give_places(session):
                break
    with database.read() as session:
        if asked.after > last_place(session):  # of another database, or of a backup's future
            raise CursorUnknown(cursor=str(asked.after))
        found, last = events_after(session, asked.after, asked.limit, call.context.sight)
    wait = 0 if last - asked.after >= asked.limit else POLL_AFTER_SECONDS
    return Answer({"events": found, "next": last, "poll_after_seconds": wait})


def listed(call: Call) -> Answer:
    """Endpoints, never with a secret."""
    with call.context.database.read() as session:
        return Answer({"endpoints": endpoints.list_endpoints(session)})


def added(call: Call) -> Answer:
    """An address that is told of these events from now on."""
    said: shapes.NewEndpoint = call.body
    made = endpoints.add(call.context, said.url, said.events, call.must_once)
    return Answer({"endpoint": made.endpoint_id, "secret": made.secret}, 201)


def added_before(_context: Context, before: MadeBefore) -> Answer:
    """The endpoint that was made; a secret is shown once."""
    return Answer({"endpoint": before.made_id, "secret": None}, 201)


def changed(call: Call, id: int) -> Answer:  # noqa: A002 - the name of the path's parameter
    """Disable an endpoint, or let it be told again."""
    said: shapes.Change = call.body
    endpoints.set_active(call.context, id, active=said.active, reason=said.reason)
    return _one(call, id)


def removed(call: Call, id: int) -> Answer:  # noqa: A002
    """Nobody is told there any more; what was told stays in the list of deliveries."""
    endpoints.set_active(call.context, id, active=False, reason=t("已删除", "removed"))
    return Answer()


def rotated(call: Call, id: int) -> Answer:  # noqa: A002
    """A new secret; the old one signs beside it for a while."""
    overlap = timedelta(hours=call.body.overlap_hours)
    made = endpoints.rotate(call.context, id, overlap, call.must_once)
    return Answer({"endpoint": id, "secret": made.secret})


def rotated_before(_context: Context, before: MadeBefore) -> Answer:
    """The endpoint whose secret was changed then; the secret is shown once."""
    return Answer({"endpoint": before.made_id, "secret": None})


def tested(call: Call, id: int) -> Answer:  # noqa: A002
    """Send a test now."""
    try:
        delivery = endpoints.send_test(call.context, id)
    finally:
        call.context.notifier.close()  # of this call alone
    return Answer(
        {
            "delivered": delivery.state is DeliveryState.DELIVERED,
            "status": delivery.last_status,
            "detail": delivery.last_detail,
        }
    )


def _one(call: Call, endpoint_id: int) -> Answer:
    with call.context.database.read() as session:
        for endpoint in endpoints.list_endpoints(session):
            if endpoint["endpoint"] == endpoint_id:
                return Answer(endpoint)
    raise NotFound(what=str(endpoint_id))


def deliveries(call: Call) -> Answer:
    """What was told, newest first."""
    asked: shapes.DeliveryQuery = call.query
    state = DeliveryState(asked.state) if asked.state else None
    with call.context.database.read() as session:
        below = unpack_number(asked.cursor)
        found = endpoints.list_deliveries(session, asked.endpoint, state, asked.limit, below)
    following = found[-1]["delivery"] if len(found) == asked.limit else None
    return Answer({"deliveries": found, "next": pack(following)})


def redelivered(call: Call, id: int) -> Answer:  # noqa: A002
    """Tell it again: the same body under the same id."""
    again = endpoints.redeliver(call.context, [id], None)
    if not again:
        raise NotFound(what=str(id))
    return Answer({"redelivered": again})


OPERATIONS: Final = (
    Operation("GET", "/events", Scope.READ, Text("取事件", "pull events"), events, shapes.Events, query=shapes.EventQuery),
    Operation("GET", "/endpoints", Scope.NOTIFY, Text("通知地址", "endpoints"), listed, shapes.EndpointsTold, whole=True),
    Operation("POST", "/endpoints", Scope.NOTIFY, Text("新增通知地址", "add an endpoint"), added, shapes.EndpointWithSecret, 201, body=shapes.NewEndpoint, once=True, again=added_before, whole=True),
    Operation("PATCH", "/endpoints/{id}", Scope.NOTIFY, Text("停用或启用", "disable or enable it"), changed, shapes.Endpoint, body=shapes.Change, whole=True),
    Operation("DELETE", "/endpoints/{id}", Scope.NOTIFY, Text("删除", "remove it"), removed, status=204, whole=True),
    Operation("POST", "/endpoints/{id}/rotate", Scope.NOTIFY, Text("换密钥", "a new secret"), rotated, shapes.EndpointWithSecret, body=shapes.Rotation, body_optional=True, once=True, again=rotated_before, whole=True),
    Operation("POST", "/endpoints/{id}/test", Scope.NOTIFY, Text("试发", "send a test"), tested, shapes.Tested, whole=True),
    Operation("GET", "/deliveries", Scope.NOTIFY, Text("通知记录", "what was told"), deliveries, shapes.Deliveries, query=shapes.DeliveryQuery, whole=True),
    Operation("POST", "/deliveries/{id}/redeliver", Scope.NOTIFY, Text("重发", "tell it again"), redelivered, shapes.Redelivered, whole=True),
)  # fmt: skip

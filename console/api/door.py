"""The one way in: who calls, what they may, whether what they say is right, and how they are answered.

An `Operation` is a line of the table of endpoints: method, path, the scope that it needs, and the models of what
is said to it. Validation, the description and the refusals all follow from it; a handler is called with what is
right already and says nothing about HTTP.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, get_origin

from flask import Flask, Response, g, jsonify, request, send_file
from pydantic import BaseModel, ValidationError

from console.api.limits import Limits
from console.api.problems import (
    AuthorizationMissing,
    BodyUnreadable,
    IdempotencyKeyMissing,
    MediaTypeUnknown,
    not_as_described,
)
from console.api.uploads import Upload, parts_of
from models.rules.errors import KeyRefused, NotFound
from models.rules.language import Text
from models.rules.people import Actor, Channel, Scope, require_scope, require_whole
from models.writes.calls import MadeBefore, Once
from tasks.context import Context
from tasks.people import keys

PREFIX: Final = "/api/v1"
JSON: Final = "application/json"
FORM: Final = "multipart/form-data"

LARGEST: Final = (1 << 63) - 1
"""Of a number that a database keeps."""

KEY_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as a handler needs it: the context acts as the owner of the key."""

    context: Context
    query: Any = None
    body: Any = None
    upload: Upload | None = None
    once: Once | None = None

    @property
    def must_upload(self) -> Upload:
        """The file of a call that came with one."""
        if self.upload is None:
            raise MediaTypeUnknown(wanted=FORM)
        return self.upload

    @property
    def must_once(self) -> Once:
        """The key of a call that must have one."""
        if self.once is None:
            raise IdempotencyKeyMissing
        return self.once


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler gives: a document, or a file in a folder of its own, which is removed once it is sent."""

    document: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint. Path parameters in braces: numbers are named `id`, all others are texts."""

    method: str
    path: str
    scope: Scope | None
    """None: whoever has a key."""
    summary: Text
    handler: Callable[..., Answer]
    answer: type[BaseModel] | None = None
    status: int = 200
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_optional: bool = False
    sheet: type[BaseModel] | None = None
    """A spreadsheet may be sent instead: multipart, as `file`, with this beside it as `job`."""
    once: bool = False
    """Repeatable under an Idempotency-Key, which must be given."""
    whole: bool = False
    """It tells of everybody's: not for a person who works for some enterprises alone."""
    again: Callable[[Context, MadeBefore], Answer] | None = None
    """How a call that was made before is answered."""

    @property
    def name(self) -> str:
        """The operationId: `post_jobs_id_confirm`."""
        words = self.path.replace("{", "").replace("}", "").replace(".", "_").split("/")
        return "_".join([self.method.lower(), *filter(None, words)])


def serve(app: Flask, operations: tuple[Operation, ...], context: Context, limits: Limits) -> None:
    """Add the operations to the application."""
    for operation in operations:
        rule = PREFIX + operation.path.replace("{id}", "<int:id>").replace("{", "<").replace(
            "}", ">"
        )
        view = _view(operation, context, limits)
        app.add_url_rule(rule, operation.name, view, methods=[operation.method])


def _view(operation: Operation, context: Context, limits: Limits) -> Callable[..., Response]:
    def view(**path: Any) -> Response:
        if path.get("id", 0) > LARGEST or not all(
            str(part).isprintable() for part in path.values()
        ):
            raise NotFound(what=request.path[:100])
        actor = _actor(context)
        g.actor = actor
        limits.take(actor)
        require_scope(actor, operation.scope)
        if operation.whole:
            require_whole(actor)
        acting = replace(context, actor=actor)
        try:
            call = _call(operation, acting, actor)
            answer = operation.handler(call, **path)
        except MadeBefore as before:
            if operation.again is None:
                raise
            answer = operation.again(acting, before)
            answer = replace(answer, headers={**answer.headers, "Idempotency-Replayed": "true"})
        return _response(operation, answer)

    return view


def _actor(context: Context) -> Actor:
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key.strip():
        raise AuthorizationMissing
    if not key.isascii():
        raise KeyRefused
    return keys.owner_of(context, key, Channel.API)


def _call(operation: Operation, context: Context, actor: Actor) -> Call:
    query = _query(operation.query) if operation.query else None
    body, upload, said = _body(operation)
    once = None
    if operation.once and actor.person_id is not None:
        said_of_call = f"{operation.method} {request.path}\n".encode()
        fingerprint = hashlib.sha256(said_of_call + said).hexdigest()
        once = Once(actor.person_id, _idempotency_key(), fingerprint)
    return Call(context, query, body, upload, once)


def _query(model: type[BaseModel]) -> BaseModel:
    """The query as its model; a name that comes twice is a list, where the model has one."""
    given: dict[str, Any] = {}
    for name, values in request.args.lists():
        of_name = model.model_fields.get(name)
        listed = of_name is not None and get_origin(of_name.annotation) is list
        given[name] = values if listed or len(values) > 1 else values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise not_as_described(error, place="query") from None


def _body(operation: Operation) -> tuple[BaseModel | None, Upload | None, bytes]:
    """The body as its model, the sheet beside it, and what both say, for the fingerprint."""
    if operation.body is None:
        return None, None, b""
    if request.mimetype == FORM and operation.sheet:
        return _sheet(operation.sheet)
    raw = request.get_data()
    if not raw and operation.body_optional:
        raw = b"{}"
    elif request.mimetype != JSON:
        wanted = f"{JSON} | {FORM}" if operation.sheet else JSON
        raise MediaTypeUnknown(wanted=wanted)
    return _read(operation.body, raw), None, raw


def _sheet(model: type[BaseModel]) -> tuple[BaseModel, Upload, bytes]:
    upload, part = parts_of(request)
    body = _read(model, part)
    said = f"{upload.sha256}\n{upload.name}\n{body.model_dump_json()}"
    return body, upload, said.encode("utf-8", "surrogatepass")


def _read(model: type[BaseModel], raw: bytes) -> BaseModel:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        if any(e["type"] == "json_invalid" for e in error.errors(include_url=False)):
            raise BodyUnreadable from None
        raise not_as_described(error, place="body") from None


def _idempotency_key() -> str:
    """The header, plain or as a quoted string (IETF draft). Raises `IdempotencyKeyMissing`."""
    key = request.headers.get("Idempotency-Key", "").strip().removeprefix('"').removesuffix('"')
    if not 0 < len(key) <= KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise IdempotencyKeyMissing
    return key


def _response(operation: Operation, answer: Answer) -> Response:
    if answer.file is not None:
        path = answer.file
        opened = path.open("rb")
        size = path.stat().st_size
        shutil.rmtree(path.parent, ignore_errors=True)  # it is open: the bytes go with the answer
        response = send_file(opened, as_attachment=True, download_name=path.name, conditional=False)
        response.content_length = size
        response.headers.update(dict(answer.headers))
        return response
    if answer.document is None:
        return Response(status=answer.status or 204, headers=dict(answer.headers))
    response = jsonify(answer.document)
    response.status_code = answer.status or operation.status
    response.headers.update(dict(answer.headers))
    if operation.method == "GET":
        response.add_etag()
        response.make_conditional(request)
    return response

"""How a program is told what went wrong: `application/problem+json` (RFC 9457) with our codes and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from flask import Response
from pydantic import ValidationError

from models.rules.errors import BlankformsError, Kind
from models.rules.language import Text, current_language

PROBLEM: Final = "application/problem+json"

RETRY_SECONDS: Final = 5
"""When it is worth calling again after what may work later."""

ERRORS_TOLD: Final = 100
"""Places that one answer names."""

STATUSES: Final[Mapping[Kind, int]] = {
    Kind.WRONG_INPUT: 422,
    Kind.NOT_FOUND: 404,
    Kind.NOT_ALLOWED: 403,
    Kind.CONFLICT: 409,
    Kind.FILE: 422,
    Kind.NOT_NOW: 503,
    Kind.CARD: 503,
    Kind.CONFIGURATION: 503,
    Kind.FAILURE: 500,
}

_OTHERWISE: Final[Mapping[str, int]] = {
    "key_refused": 401,
    "authorization_missing": 401,
    "body_unreadable": 400,
    "idempotency_key_missing": 400,
    "idempotency_key_used": 422,
    "media_type_unknown": 415,
    "body_too_large": 413,
    "called_too_often": 429,
    "method_unknown": 405,
    "host_unknown": 400,
}
"""Where HTTP says it more precisely than the kind does."""


class AuthorizationMissing(BlankformsError):
    code = "authorization_missing"
    kind = Kind.NOT_ALLOWED
    text = Text(
        "请求须带密钥: Authorization: Bearer bf_…", "a key is needed: Authorization: Bearer bf_…"
    )


class BodyUnreadable(BlankformsError):
    code = "body_unreadable"
    kind = Kind.WRONG_INPUT
    text = Text("请求内容不是 JSON", "the body is not JSON")


class IdempotencyKeyMissing(BlankformsError):
    code = "idempotency_key_missing"
    kind = Kind.WRONG_INPUT
    text = Text(
        "须带 Idempotency-Key(1-255 个 ASCII 字符)，同一请求重发时不变",
        "an Idempotency-Key is needed (1-255 ASCII characters), the same in every repeat of this call",
    )


class MediaTypeUnknown(BlankformsError):
    code = "media_type_unknown"
    kind = Kind.WRONG_INPUT
    text = Text("Content-Type 须为 {wanted}", "the Content-Type must be {wanted}")


class BodyTooLarge(BlankformsError):
    code = "body_too_large"
    kind = Kind.WRONG_INPUT
    text = Text("请求内容过大，请拆分后重试", "the body is too large; split it")


class CalledTooOften(BlankformsError):
    code = "called_too_often"
    kind = Kind.NOT_NOW
    text = Text(
        "请求过于频繁(每 {seconds} 秒至多 {limit} 次)，请稍候",
        "too many calls (at most {limit} in {seconds} seconds); wait a little",
    )


class CursorUnknown(BlankformsError):
    code = "cursor_unknown"
    kind = Kind.WRONG_INPUT
    text = Text("不是本接口给出的 cursor: {cursor}", "no cursor of this API: {cursor}")


class MethodUnknown(BlankformsError):
    code = "method_unknown"
    kind = Kind.WRONG_INPUT
    text = Text("该地址不接受此方法", "this address does not take that method")


class HostUnknown(BlankformsError):
    code = "host_unknown"
    kind = Kind.WRONG_INPUT
    text = Text("未知的主机名(CONSOLE_HOSTS)", "unknown host name (CONSOLE_HOSTS)")


class InternalError(BlankformsError):
    code = "internal_error"
    text = Text(
        "程序内部错误，数据未丢失；请把请求号 {request} 告知运维",
        "internal error, no data lost; tell the operator the request id {request}",
    )


class ResultNotYet(BlankformsError):
    code = "result_not_yet"
    kind = Kind.CONFLICT
    text = Text("作业 {batch} 尚未全部有结果", "job {batch} has not ended yet")


class NotAsDescribed(BlankformsError):
    """What was said does not fit the description, place by place."""

    code = "not_as_described"
    kind = Kind.WRONG_INPUT
    text = Text(
        "请求不符合接口说明: {detail}", "not as the description of the API has it: {detail}"
    )


def not_as_described(error: ValidationError, place: str) -> NotAsDescribed:
    """What was said in the body or the query, and does not fit, with a pointer to each place."""
    errors = [
        {"pointer": _pointer(place, e["loc"]), "detail": e["msg"]}
        for e in error.errors(include_url=False, include_input=False, include_context=False)[
            :ERRORS_TOLD
        ]
    ]
    return NotAsDescribed(detail=errors[0]["pointer"], errors=errors)


_SAY_AGAIN: Final = Text(
    "确需再次提交，另交一次并带 again 和原因",
    'to submit it again bring it once more with "again" and the reason',
)

REMEDIES: Final[Mapping[str, Text]] = {
    "file_submitted_before": _SAY_AGAIN,
    "plan_moved": Text(
        "重新取作业，看新的方案，以新的 plan 确认",
        "get the job again, look at its plan, confirm that one",
    ),
    "rows_refused": Text(
        '只提交无误的行: confirm 用 "valid"', 'for the right rows alone confirm "valid"'
    ),
    "sheet_has_questions": Text(
        "把 questions 的回答放在 answers 里，另交一次",
        'send it once more with "answers" to its questions',
    ),
    "batch_not_open": Text("取作业看其状态", "get the job and look at its state"),
    "batch_busy": Text("稍后重试", "try again in a moment"),
    "key_refused": Text(
        "请密钥所有人用 blankforms key list 查看", "its owner can look with blankforms key list"
    ),
    "person_needed": Text("请换用个人的密钥", "use a key of a person"),
}
"""What a program, or who runs it, does about it; where the text itself does not say so already."""


def status_of(error: BlankformsError | type[BlankformsError]) -> int:
    """The HTTP status of an error."""
    return _OTHERWISE.get(error.code, STATUSES[error.kind])


def problem(error: BlankformsError, status: int | None = None) -> Response:
    """The answer for an error; `status` where it is not that of its code."""
    status = status or status_of(error)
    document: dict[str, Any] = {
        "type": f"/api/v1/docs#{error.code}",
        "title": error.code.replace("_", " "),
        "status": status,
        "code": error.code,
        "detail": str(error),
    }
    if error.code in REMEDIES:
        document["remedy"] = str(REMEDIES[error.code])
    if errors := error.values.get("errors"):
        document["errors"] = errors
    response = Response(json.dumps(document, ensure_ascii=False), status, content_type=PROBLEM)
    response.headers["Content-Language"] = current_language().value
    if status == 401:  # noqa: PLR2004 - as RFC 9110 wants it
        response.headers["WWW-Authenticate"] = "Bearer"
    if status in {429, 503} or error.code == "batch_busy":
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _pointer(place: str, parts: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901) into the body, or the name of a parameter of the query."""
    path = "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in parts)
    return path or "/" if place == "body" else "?" + path.removeprefix("/")

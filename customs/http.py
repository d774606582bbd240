"""The line to customs over HTTP (contract section 2).

Connections are kept alive and the number of calls is bounded; every call has a total time limit. Nothing is retried here and no redirect is followed: what a
failure means is decided by `_send_outcome` and the exceptions below, and what is not listed is
`InDoubt`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from config.crash import Point, crash_point, is_armed
from customs import bcm1
from customs.gateway import (
    LONGEST_PAUSE,
    AskOutcome,
    Conflict,
    CustomsCertificate,
    CustomsForm,
    InDoubt,
    NotFound,
    NotTaken,
    RawReceipt,
    ReceiptPage,
    Refused,
    SendOutcome,
    SignedMessage,
    Taken,
    closes_line,
)
from models.rules.errors import AnswerTooLarge, GatewayUnreachable, ListRefused
from models.rules.states import LineReason
from net.calls import Calls
from net.clock import elapsed

CONNECT_SECONDS: Final = 10.0
"""Longer than that to connect means that nobody is there; nothing was sent yet."""

KEEP_ALIVE_SECONDS: Final = 15.0
"""Shorter than servers keep a quiet connection, so that a request seldom meets a closing one."""

ANSWER_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of an answer; 5,000 forms are under 1 MiB."""

_SEQ_NO: Final = re.compile("[0-9]{18}")
"""Customs' own number (contract, bcm1.xsd). Another one is forgotten: receipts tell the right one."""

UNAUTHORISED_PAUSE: Final = 60.0
"""Seconds without sending after 401: a wrong token stays wrong until a person changes it."""

_ODD: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""JSON that is not what the contract says."""

_NOTHING_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


_NOT_GIVEN: Final = frozenset({400, 403, 404, 410, 422})
"""Customs answers, and does not give this list: asking again does not help, asking for others does."""

CURSOR_LENGTH: Final = 255
"""Characters of `next` at most (contract section 2)."""


class _TooLarge(aiohttp.ClientPayloadError):
    """An answer that is not read to its end."""


class HttpGateway:
    """`CustomsGateway` over HTTP. Build it in the process that uses it, after any fork."""

    def __init__(self, url: str, token: str, concurrency: int, deadline_seconds: float) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._limit = concurrency
        self._deadline = deadline_seconds
        self._closings = 0
        """How often an answer closed the line: a call from before the last one does not begin."""
        self._calls: Calls[SendOutcome | AskOutcome] = Calls(lambda error: InDoubt(_say(error)))
        self._session, self._slots = self._calls.run(self._open())

    def closings(self) -> int:
        return self._closings

    def start_send(
        self,
        token: Hashable,
        message: SignedMessage,
        start_before: float,
        closings: int | None = None,
    ) -> None:
        since = self._closings if closings is None else closings
        self._calls.start(token, self._send(message, start_before, since))

    def start_ask(self, token: Hashable, number: str, sha256: str | None) -> None:
        self._calls.start(token, self._ask(number, sha256))

    def completed(
        self, most: int, wait: float | None = None
    ) -> list[tuple[Hashable, SendOutcome | AskOutcome]]:
        return self._calls.completed(most, wait)

    def receipts(self, after: str, limit: int) -> ReceiptPage:
        found = self._get_json("/receipts", after=after, limit=limit)
        with _as_the_contract_says("/receipts"):
            receipts = [_raw(r) for r in found["receipts"]]
            return ReceiptPage(receipts, _next(found["next"] + "", after, moves=bool(receipts)))

    def forms(
        self, holder: str, after: str, limit: int
    ) -> tuple[Sequence[CustomsForm], str | None]:
        found = self._get_json("/forms", holder=holder, after=after, limit=limit)
        with _as_the_contract_says("/forms"):
            forms = [
                CustomsForm(
                    _field(f, "serialNo"),
                    _field(f, "formType"),
                    _field(f, "state"),
                    _field(f, "certNo"),
                    _day(_field(f, "issuedOn")),
                    _field(f, "updatedAt"),
                )
                for f in _records(found, "forms")
            ]
            return forms, None if found["next"] is None else _next(found["next"], after)

    def certificates(
        self, enterprise: str, after: str, limit: int
    ) -> tuple[Sequence[CustomsCertificate], str | None]:
        found = self._get_json("/certificates", enterprise=enterprise, after=after, limit=limit)
        with _as_the_contract_says("/certificates"):
            certificates = [
                CustomsCertificate(
                    _field(c, "certNo"),
                    _field(c, "certType"),
                    _field(c, "ciqRegNo"),
                    _field(c, "aplRegNo"),
                    _day(_field(c, "approvedOn")),
                    _field(c, "pages"),
                    _field(c, "status"),
                )
                for c in _records(found, "certificates")
            ]
            return certificates, None if found["next"] is None else _next(found["next"], after)

    def close(self) -> None:
        self._calls.run(self._session.close())
        self._calls.close()

    # -- inside the loop ------------------------------------------------------------------------

    async def _open(self) -> tuple[aiohttp.ClientSession, asyncio.Semaphore]:
        timeout = aiohttp.ClientTimeout(total=self._deadline, sock_connect=CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
        session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers, raise_for_status=False
        )
        return session, asyncio.Semaphore(self._limit)

    async def _send(
        self, message: SignedMessage, start_before: float, closings: int
    ) -> SendOutcome:
        async with self._slots:
            if closings != self._closings:
                return NotTaken("the line was closed", begun=False)
            if elapsed() >= start_before:
                return NotTaken("no time left in the lease", begun=False)
            try:
                async with self._session.post(
                    f"{self._url}/messages",
                    data=_dying(message.payload) or message.payload,
                    headers={
                        "Content-Type": "application/xml",
                        "Content-Length": str(len(message.payload)),
                    },
                    allow_redirects=False,
                ) as response:
                    body = await _body(response)
                    outcome = _send_outcome(message, response.status, response.headers, body)
                    self._closings += closes_line(outcome)
                    return outcome
            except _NOTHING_SENT as error:
                return NotTaken(_say(error))
            except (aiohttp.ClientError, TimeoutError, OSError, bcm1.NotReadable) as error:
                return InDoubt(_say(error))

    async def _ask(self, number: str, sha256: str | None) -> AskOutcome:
        async with self._slots:
            try:
                async with self._session.get(
                    f"{self._url}/messages/{number}", allow_redirects=False
                ) as response:
                    return _ask_outcome(number, sha256, response.status, await _body(response))
            except (aiohttp.ClientError, TimeoutError, OSError, *_ODD) as error:
                return InDoubt(_say(error))

    async def _get(self, path: str, query: dict[str, str]) -> Any:
        async with self._session.get(
            self._url + path, params=query, allow_redirects=False
        ) as response:
            body = await _body(response)
            if response.status in _NOT_GIVEN:
                raise ListRefused(detail=f"{path}: HTTP {response.status}")
            if response.status != 200:  # noqa: PLR2004 - a status code is its own name
                wait = _retry_after(response.headers)
                raise GatewayUnreachable(detail=f"{path}: HTTP {response.status}", wait=wait)
            return json.loads(body)

    # -- between the caller's thread and the loop ------------------------------------------------

    def _get_json(self, path: str, **query: object) -> dict[str, Any]:
        try:
            found = self._calls.run(self._get(path, {k: str(v) for k, v in query.items()}))
        except _TooLarge as error:
            raise AnswerTooLarge(detail=f"{path}: {_say(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GatewayUnreachable(detail=f"{path}: {_say(error)}") from error
        except (ValueError, RecursionError) as error:
            raise ListRefused(detail=f"{path}: {_say(error)}") from error
        if not isinstance(found, dict):
            raise ListRefused(detail=f"{path}: no JSON object")
        return found


def _dying(payload: bytes) -> AsyncIterator[bytes] | None:
    """The payload in two halves with a crash point behind each, when this process is to die there."""
    if not (is_armed(Point.REQUEST_HALF_WRITTEN) or is_armed(Point.REQUEST_WRITTEN)):
        return None

    async def halves() -> AsyncIterator[bytes]:
        middle = len(payload) // 2
        for half, point in (
            (payload[:middle], Point.REQUEST_HALF_WRITTEN),
            (payload[middle:], Point.REQUEST_WRITTEN),
        ):
            yield half
            crash_point(point)  # the half is in the socket, and leaves without us

    return halves()


def _send_outcome(message: SignedMessage, status: int, headers: Any, body: bytes) -> SendOutcome:
    """The table of contract section 2: what an answer to `POST /messages` means."""
    match status:
        case 200:
            answer = bcm1.parse_answer(body)
            if answer.deal_flag != bcm1.TAKEN or answer.number != message.number:
                return InDoubt(f"200 {answer.deal_flag} {answer.number}")
            return _taken(answer.seq_no, answer.sha256, message.sha256)
        case 409:
            answer = bcm1.parse_answer(body)
            if answer.deal_flag != bcm1.DUPLICATE or answer.number != message.number:
                return InDoubt(f"409 {answer.deal_flag} {answer.number}")
            return _taken(answer.seq_no, answer.sha256, message.sha256)
        case 422:
            answer = bcm1.parse_answer(body)
            if answer.deal_flag in {bcm1.TAKEN, bcm1.DUPLICATE}:
                return InDoubt(f"422 {answer.deal_flag}")
            if answer.number not in {None, message.number}:
                return InDoubt(f"422 {answer.number}")
            return Refused(answer.deal_flag, answer.text)
        case 413:
            return Refused("413", "报文过大")
        case 401:
            return NotTaken(
                "401 unknown token", close_seconds=UNAUTHORISED_PAUSE, why=LineReason.TOKEN
            )
        case 429 | 503 if (seconds := _retry_after(headers)) is not None:
            return NotTaken(f"{status}", close_seconds=seconds)
        case _:
            return InDoubt(f"HTTP {status}")


def _ask_outcome(number: str, sha256: str | None, status: int, body: bytes) -> AskOutcome:
    match status:
        case 200:
            found = json.loads(body)
            if found["etpsPreentNo"] != number:
                return InDoubt(f"200 {found['etpsPreentNo']}")
            theirs = str(found["payloadSha256"] or "").strip()
            taken = _taken(str(found["seqNo"]), theirs, theirs if sha256 is None else sha256)
            if isinstance(taken, Taken):
                return replace(taken, decided=found.get("state") == "decided")
            return taken
        case 404 if json.loads(body).get("error") == "not_found":
            return NotFound()
        case _:
            return InDoubt(f"HTTP {status}")


@contextmanager
def _as_the_contract_says(path: str) -> Iterator[None]:
    try:
        yield
    except _ODD as error:
        raise ListRefused(detail=f"{path}: {_say(error)}") from error


def _next(following: str, after: str, *, moves: bool = True) -> str:
    """Where a list goes on (contract section 2). Raises ValueError for what would go round for ever."""
    if len(following) > CURSOR_LENGTH or not (following.isascii() and following.isprintable()):
        raise ValueError("next is no cursor")
    if moves and following == after:
        raise ValueError("next does not move")
    return following


def _raw(receipt: Any) -> RawReceipt:
    """A receipt as it came. One that is none is kept as text: the inbox judges, and the cursor moves on."""
    try:
        return RawReceipt(receipt["receiptId"] + "", receipt["xml"].encode())
    except _ODD:
        return RawReceipt("", json.dumps(receipt).encode())


def _taken(seq_no: str | None, theirs: str | None, ours: str) -> Taken | Conflict | InDoubt:
    """Taken, when it is our bytes that customs has; hashes compare without case (contract section 2)."""
    theirs = (theirs or "").strip()
    if not theirs:
        return InDoubt("no PayloadSha256")
    if theirs.lower() != ours.lower():
        return Conflict(f"customs has {theirs[:12]}…, we sent {ours[:12]}…")
    return Taken(seq_no if seq_no and _SEQ_NO.fullmatch(seq_no) else "")


def _retry_after(headers: Any) -> float | None:
    """Seconds of a Retry-After header, which gives seconds or an HTTP date (contract section 2)."""
    value = str(headers.get("Retry-After", "")).strip()
    most = LONGEST_PAUSE.total_seconds()
    if value.isascii() and value.isdecimal():
        return float(min(int(value[:9]), most))
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:  # "-0000": a date that does not say where it is from
        until = until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), most)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > ANSWER_LIMIT:
            raise _TooLarge("answer too large")
    return bytes(body)


def _records(found: dict[str, Any], name: str) -> list[Any]:
    records = found[name]
    if not isinstance(records, list):
        raise TypeError(f"{name} is no list")
    return records


def _field(record: Any, name: str) -> Any:
    """A field as it came; a record that is none has none. `customs.records` examines them."""
    return record.get(name) if isinstance(record, dict) else None


def _day(value: Any) -> Any:
    """A day; what is none stays as it came."""
    try:
        return date.fromisoformat(value[:10]) if value else None
    except (ValueError, TypeError):
        return value


def _say(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()[:200]

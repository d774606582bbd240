"""The line to customs over HTTP (contract section 2).

Connections are kept alive and the number of calls is bounded; every call has a total time limit. Nothing is
retried here and no redirect is followed: what a failure means is decided by the wire profile and the exceptions
below, and what is not clear is `InDoubt`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import aiohttp

from config.crash import Point, crash_point, is_armed
from customs.gateway import (
    LONGEST_PAUSE,
    AskOutcome,
    CustomsCertificate,
    CustomsForm,
    InDoubt,
    NotTaken,
    ReceiptPage,
    SendOutcome,
    SignedMessage,
    closes_line,
)
from customs.wire import Call, WireProfile
from models.rules.errors import AnswerTooLarge, GatewayUnreachable, ListRefused
from net.calls import Calls
from net.clock import elapsed

CONNECT_SECONDS: Final = 10.0
"""Longer than that to connect means that nobody is there; nothing was sent yet."""

KEEP_ALIVE_SECONDS: Final = 15.0
"""Shorter than servers keep a quiet connection, so that a request seldom meets a closing one."""

ANSWER_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of an answer; 5,000 forms are under 1 MiB."""

_ODD: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""An answer that is not what the contract says."""

_NOTHING_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


_NOT_GIVEN: Final = frozenset({400, 403, 404, 410, 422})
"""Customs answers, and does not give this list: asking again does not help, asking for others does."""

_Page = TypeVar("_Page")


class _TooLarge(aiohttp.ClientPayloadError):
    """An answer that is not read to its end."""


class HttpGateway:
    """`CustomsGateway` over HTTP. Build it in the process that uses it, after any fork."""

    def __init__(
        self, wire: WireProfile, url: str, token: str, concurrency: int, deadline_seconds: float
    ) -> None:
        self._wire = wire
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
        return self._page(self._wire.receipts_call(after, limit), after, self._wire.receipt_page)

    def forms(
        self, holder: str, after: str, limit: int
    ) -> tuple[Sequence[CustomsForm], str | None]:
        call = self._wire.forms_call(holder, after, limit)
        return self._page(call, after, self._wire.form_page)

    def certificates(
        self, enterprise: str, after: str, limit: int
    ) -> tuple[Sequence[CustomsCertificate], str | None]:
        call = self._wire.certificates_call(enterprise, after, limit)
        return self._page(call, after, self._wire.certificate_page)

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
            path, content_type = self._wire.send_call()
            try:
                async with self._session.post(
                    self._url + path,
                    data=_dying(message.payload) or message.payload,
                    headers={
                        "Content-Type": content_type,
                        "Content-Length": str(len(message.payload)),
                    },
                    allow_redirects=False,
                ) as response:
                    body = await _body(response)
                    wait = _retry_after(response.headers)
                    outcome = self._wire.send_outcome(message, response.status, wait, body)
                    self._closings += closes_line(outcome)
                    return outcome
            except _NOTHING_SENT as error:
                return NotTaken(_say(error))
            except (aiohttp.ClientError, TimeoutError, OSError, *_ODD) as error:
                return InDoubt(_say(error))

    async def _ask(self, number: str, sha256: str | None) -> AskOutcome:
        async with self._slots:
            call = self._wire.ask_call(number)
            try:
                async with self._session.get(
                    self._url + call.path, params=call.query, allow_redirects=False
                ) as response:
                    body = await _body(response)
                    return self._wire.ask_outcome(number, sha256, response.status, body)
            except (aiohttp.ClientError, TimeoutError, OSError, *_ODD) as error:
                return InDoubt(_say(error))

    async def _get(self, call: Call) -> bytes:
        async with self._session.get(
            self._url + call.path, params=call.query, allow_redirects=False
        ) as response:
            body = await _body(response)
            if response.status in _NOT_GIVEN:
                raise ListRefused(detail=f"{call.path}: HTTP {response.status}")
            if response.status != 200:  # noqa: PLR2004 - a status code is its own name
                wait = _retry_after(response.headers)
                raise GatewayUnreachable(detail=f"{call.path}: HTTP {response.status}", wait=wait)
            return body

    # -- between the caller's thread and the loop ------------------------------------------------

    def _page(self, call: Call, after: str, read: Callable[[bytes, str], _Page]) -> _Page:
        try:
            body = self._calls.run(self._get(call))
        except _TooLarge as error:
            raise AnswerTooLarge(detail=f"{call.path}: {_say(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GatewayUnreachable(detail=f"{call.path}: {_say(error)}") from error
        try:
            return read(body, after)
        except _ODD as error:
            raise ListRefused(detail=f"{call.path}: {_say(error)}") from error


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


def _say(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()[:200]

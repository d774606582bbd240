"""Telling endpoints over HTTP, to addresses that are allowed only.

Signed by Standard Webhooks. No redirect is followed, no proxy of the environment is used, and the
address is judged when its socket is made: no name, spelling or changed answer of a DNS server gets
around it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from net.addresses import Network, is_allowed, is_within
from net.calls import Calls
from net.notifier import Ending, Gone, Letter, NotTold, Told
from net.webhooks import sign

TIMEOUT_SECONDS: Final = 15.0
"""For one try in all (Standard Webhooks: 15-30 s)."""

_GONE: Final = 410
_DETAIL_LIMIT: Final = 255


class HttpNotifier:
    """`Notifier` over HTTP. Build it in the process that uses it, after any fork."""

    def __init__(
        self,
        allowed: Sequence[Network],
        timeout_seconds: float = TIMEOUT_SECONDS,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allowed = allowed
        self._timeout = timeout_seconds
        self._resolver = resolver
        self._calls: Calls[Ending] = Calls(lambda error: NotTold(_say(error)))
        self._session = self._calls.run(self._open(self._public))
        self._plain = self._calls.run(self._open(self._private))

    def start(self, token: Hashable, letter: Letter) -> None:
        self._calls.start(token, self._tell(letter))

    def completed(self, most: int, wait: float) -> list[tuple[Hashable, Ending]]:
        return self._calls.completed(most, wait)

    def close(self) -> None:
        self._calls.run(self._session.close())
        self._calls.run(self._plain.close())
        self._calls.close()

    async def _open(
        self, make_socket: Callable[[tuple[Any, ...]], socket.socket]
    ) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            force_close=True,  # a kept connection would outlive the judgement of its address
            use_dns_cache=False,
            resolver=self._resolver,
            socket_factory=make_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _public(self, info: tuple[Any, ...]) -> socket.socket:
        """For https: a public address, or one of the allowed networks."""
        return _socket(info, is_allowed(str(info[4][0]), self._allowed))

    def _private(self, info: tuple[Any, ...]) -> socket.socket:
        """For http, which anybody on the way reads: the allowed networks alone."""
        return _socket(info, is_within(str(info[4][0]), self._allowed))

    async def _tell(self, letter: Letter) -> Ending:
        signatures = [
            sign(secret, letter.key, letter.timestamp, letter.body) for secret in letter.secrets
        ]
        session = self._plain if urlsplit(letter.url).scheme == "http" else self._session
        try:
            async with session.post(
                letter.url,
                data=letter.body,
                headers={
                    "Content-Type": "application/json",
                    "User-Agent": "blankforms",
                    "webhook-id": letter.key,
                    "webhook-timestamp": str(letter.timestamp),
                    "webhook-signature": " ".join(signatures),
                },
                allow_redirects=False,
            ) as response:
                return _ending(response.status)  # whatever its body says, or fails to say
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return NotTold(_say(error))


def _socket(info: tuple[Any, ...], allowed: bool) -> socket.socket:
    family, kind, protocol, _, address = info
    if not allowed:
        raise PermissionError(errno.EACCES, f"address not allowed: {address[0]}")
    return socket.socket(family, kind, protocol)


def _ending(status: int) -> Ending:
    if 200 <= status < 300:  # noqa: PLR2004 - what HTTP calls success
        return Told(status)
    return Gone() if status == _GONE else NotTold(f"HTTP {status}", status)


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_DETAIL_LIMIT]

"""Open job pages: `python -m bench.watchers PORT`, a process of its own, so that what it costs is counted nowhere.

One line on its stdin: JSON, a job and the token of a sign-in for each page. Every page asks as its script does, the
first looks spread evenly. A line is written whenever there were as many answers as pages once more. It ends when
stdin does, and with an error when a page was answered otherwise than one that goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from http import HTTPStatus
from typing import Final

import aiohttp

EVERY_SECONDS: Final = 2.0
"""As `console/templates/job.html` has it."""

_GOES_ON: Final = f"every {EVERY_SECONDS:.0f}s"
"""In the live part of a job that is under way, and of no other."""


class Unforeseen(Exception):
    """A page was answered otherwise than one that goes on."""


async def main(port: int) -> None:
    said = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), sys.stdin)
    pages = json.loads(await said.readline())
    looks = itertools.count(1)

    async def watch(session: aiohttp.ClientSession, job: int, token: str, due: float) -> None:
        url = f"http://127.0.0.1:{port}/jobs/{job}?live=1"
        headers = {"HX-Request": "true", "Cookie": f"blankforms_sign_in={token}"}
        while True:
            await asyncio.sleep(due - loop.time())
            async with session.get(url, headers=headers) as answer:
                text = await answer.text()
            goes_on = answer.status == HTTPStatus.OK and _GOES_ON in text
            if answer.status != HTTPStatus.NOT_MODIFIED and not goes_on:
                raise Unforeseen(f"{url}: {answer.status}, or it has ended\n{text[:500]}")
            headers["If-None-Match"] = answer.headers["ETag"]
            if next(looks) % len(pages) == 0:
                print("once more", flush=True)
            due += EVERY_SECONDS

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        apart = EVERY_SECONDS / len(pages)
        watching = asyncio.gather(
            *(
                watch(session, job, token, loop.time() + n * apart)
                for n, (job, token) in enumerate(pages)
            )
        )
        over = asyncio.create_task(said.read())
        await asyncio.wait([watching, over], return_when=asyncio.FIRST_COMPLETED)
        if not watching.done():
            watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

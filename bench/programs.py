"""The API under load: orders brought one by one and by the thousand, and events pulled beside callbacks."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
import uuid
from typing import Any

import aiohttp

from bench import callbacks
from bench.parts import context_in
from bench.rig import Bench
from models.rules.people import Role, Scope
from tasks.people import keys, persons
from tests.support.factories import certificate_number

PULLERS = 4


def programs(bench: Bench, calls: int, pulls: int) -> None:
    """Times of POST by size of the job, and of pulls beside callbacks; on SQLite, one process of each kind."""
    print("\n## Programs (API, SQLite)\n")
    with bench.served("worker", API_CALLS="0") as system:
        with context_in(system.home) as context:
            persons.add_person(context, "erp", "ERP", (Role.MAKER,))
            key = keys.make_key(context, "erp", (Scope.CHECK, Scope.READ)).key
        api = f"http://127.0.0.1:{system.console_port}/api/v1"
        for orders, goal in ((1, 100), (1000, 500)):
            times = asyncio.run(
                _bring(api, key, orders, calls if orders == 1 else max(3, calls // 10))
            )
            middle, far = statistics.median(times), sorted(times)[int(len(times) * 0.95)]
            print(
                f"POST /jobs of {orders:,}: p50 {middle * 1000:.0f} ms, p95 {far * 1000:.0f} ms (goal {goal})"
            )
        alone = asyncio.run(_pull(api, key, pulls))
        beside: list[callbacks.Load] = []
        called = threading.Thread(
            target=lambda: beside.append(callbacks.load(system.port, pulls, 0))
        )
        called.start()
        among = asyncio.run(_pull(api, key, pulls))
        called.join()
        print(f"GET /events: {alone:,.0f}/s alone, {among:,.0f}/s beside {beside[0].rate:,.0f} callbacks/s"
              f" (goal 200; their p99 {beside[0].p99:.0f} ms)")  # fmt: skip


def _job(orders: int) -> dict[str, Any]:
    return {
        "orders": [
            {"certificate": certificate_number("B", n), "action": "verify", "pages": 1}
            for n in range(1, orders + 1)
        ]
    }


async def _bring(api: str, key: str, orders: int, calls: int) -> list[float]:
    times: list[float] = []
    job = _job(orders)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        for _ in range(calls):
            began = time.perf_counter()
            async with session.post(
                f"{api}/jobs", json=job, headers={"Idempotency-Key": uuid.uuid4().hex}
            ) as answer:
                await answer.read()
                if answer.status != 202:
                    raise SystemExit(f"job: {answer.status}")
            times.append(time.perf_counter() - began)
    return times


async def _pull(api: str, key: str, pulls: int) -> float:
    """Pulls a second by a few programs at once."""
    waiting = iter(range(pulls))

    async def puller(session: aiohttp.ClientSession) -> None:
        for _ in waiting:
            async with session.get(f"{api}/events?after=0&limit=10") as answer:
                await answer.read()
                if answer.status != 200:
                    raise SystemExit(f"events: {answer.status}")

    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        began = time.perf_counter()
        await asyncio.gather(*(puller(session) for _ in range(PULLERS)))
        return pulls / (time.perf_counter() - began)

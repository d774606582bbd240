"""What the API says of itself is true: a tool that reads the description finds no call that breaks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr
from werkzeug.serving import make_server

from console.app import create_app
from models.rules.people import Role
from tasks.app import configure
from tests.support.factories import AGENT_HANDLED, bring_in
from tests.support.programs import program
from tests.support.system import broker

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "12")
"""Calls made up for each operation and phase; `make faults FULL=1` takes many more."""

CONFIGURATION = ("schemathesis.toml", "hooks.py")

ORDER = {"certificate": AGENT_HANDLED, "action": "verify", "serials": ["211014001"]}


@pytest.fixture
def served(world, short_tmp):
    """The API over real HTTP, of a system that has something of everything; gives its address and a key."""
    bring_in(world)
    with broker(short_tmp / "described") as server:
        url = SecretStr(f"redis://127.0.0.1:{server.port}/0")
        more = {"api_calls": 0, "broker_url": url, "notification_key": SecretStr("k" * 40)}
        world.context.settings = world.context.settings.model_copy(update=more)
        configure(world.context.settings)
        yield from _served(world)


def _served(world):
    erp = program(world, roles=tuple(Role))
    erp.post("/jobs", json={"orders": [ORDER], "confirm": "all"})
    world.drain()
    server = make_server("127.0.0.1", 0, create_app(world.context), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", erp.key
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_made_up_call_breaks_the_description(served, tmp_path):
    url, key = served
    for name in CONFIGURATION:  # the tool keeps what it learns where it runs
        shutil.copy(Path(__file__).parent / name, tmp_path)
    tool = Path(sys.executable).parent / "schemathesis"
    done = subprocess.run(
        [
            *(tool, "run", f"{url}/api/v1/openapi.json", "--checks", "all", "--seed", "20261127"),
            *("--max-examples", EXAMPLES, "--no-color", "--continue-on-failure"),
            *("-H", f"Authorization: Bearer {key}"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]

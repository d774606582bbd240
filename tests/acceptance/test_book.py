"""docs/operation.md is executed: a stranger's deployment by the page alone, in a clean folder.

PostgreSQL, a broker with a password, SoftHSM, an account of its own, two homes. The values at the top of the page are
replaced, as it asks; customs is the simulator behind an address; systemd is a stand-in that reads the units.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from config.exits import Exit
from models.rules.card_errors import CARD_ERRORS
from models.rules.errors import AnotherDeployment, BlankformsError
from models.rules.states import LineReason
from tests.acceptance.test_backup import PROGRAMS
from tests.conftest import ROOT, admin
from tests.support.factories import SENDER
from tests.support.proxy import proxy, socket_of
from tests.support.sheets import write_sheets
from tests.support.system import broker, free_port

PAGE = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
ROWS = 3
TOKEN = "the token that customs gave you"

SIMULATOR = """
( export BLANKFORMS_HOME="$WORK/customs" SIMULATOR_PORT={simulator} PORT={web} CUSTOMS_URL=http://unused.invalid \\
    ENTERPRISE_CODE="$SENDER" CUSTOMS_TOKEN={token} CALLBACK_SECRETS_FILE="$ETC/secrets/callback-secrets"
  exec "$PREFIX/bin/blankforms" simulator --stock "$WORK/stock.csv" --certificates "$WORK/certificates.csv" \\
    --trust "$ETC/certificate.pem" ) > "$WORK/simulator.log" 2>&1 & CUSTOMS_PID=$!
until (exec 3<>/dev/tcp/127.0.0.1/{simulator}) 2>/dev/null; do sleep 0.2; kill -0 $CUSTOMS_PID; done
"""
"""The world that the page takes as given: a gateway that answers."""


def python_for_all() -> tuple[str, str]:
    """A Python that another account may run, and that account; root where there is none."""
    for candidate in ("/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.13"):
        if Path(candidate).exists():
            asked = subprocess.run(
                [candidate, "-c", "import ensurepip, venv"], check=False, capture_output=True
            )
            if asked.returncode == 0:
                return candidate, "blankforms"
    return sys.executable, "root"


def with_values(block: str, values: dict[str, str]) -> str:
    """The first block with the stranger's own values; every one must be there."""
    for name, value in values.items():
        block, count = re.subn(
            rf"^{name}=\S+", f"{name}={shlex.quote(value)}", block, flags=re.MULTILINE
        )
        assert count == 1, name
    return block


@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="the page is for root")
def test_a_strangers_deployment_by_the_page_alone(short_tmp, postgres):
    work = short_tmp / "book"
    work.mkdir()
    write_sheets(work, ROWS)
    web, simulator = free_port(), free_port()
    python, account = python_for_all()
    with broker(work / "broker") as server, proxy(socket_of(postgres)) as line:
        Redis(port=server.port).config_set("requirepass", "CHANGE-ME")
        values = {
            "PYTHON": python, "PREFIX": f"{work}/opt", "ETC": f"{work}/etc", "STATE": f"{work}/state",
            "UNITS": f"{work}/units", "BACKUPS": f"{work}/backups", "ACCOUNT": account, "SENDER": SENDER,
            "CUSTOMS": f"http://127.0.0.1:{simulator}", "ADMIN": postgres,
            "DATABASE": f"postgresql://blankforms:CHANGE-ME@127.0.0.1:{line.port}/blankforms",
            "BROKER": f"redis://:CHANGE-ME@127.0.0.1:{server.port}/0",
        }  # fmt: skip
        (work / "units").mkdir()
        try:
            done = run(work, script(values, web, simulator))
        finally:
            admin(postgres, "DROP DATABASE IF EXISTS blankforms WITH (FORCE)")
            admin(postgres, "DROP ROLE IF EXISTS blankforms")
    logs = "".join(
        f"\n== {p.name}\n" + p.read_text()[-1500:] for p in sorted((work / "run").glob("*.log"))
    )
    assert done.returncode == 0, done.stdout[-6000:] + logs
    assert "THE ORDER IS DONE" in done.stdout
    assert "CHANGE-ME" not in done.stdout + logs
    assert TOKEN not in done.stdout + logs
    assert "Traceback" not in done.stdout + logs
    readable = [
        p for p in (work / "state").rglob("*")
        if not p.is_symlink() and stat.S_IMODE(p.stat().st_mode) & 0o077 and "tokens" not in p.parts
    ]  # fmt: skip
    assert readable == []


def script(values: dict[str, str], web: int, simulator: int) -> str:
    """The page's blocks in their order, and between them what is the world's."""
    first, *rest = BLOCKS
    stop = "systemctl stop 'blankforms-*' || true; kill ${CUSTOMS_PID:-} 2>/dev/null || true"
    parts = ["set -euo pipefail", f"trap {shlex.quote(stop)} EXIT",  # else they would serve the next test
             f"cd {shlex.quote(str(ROOT))}", with_values(first, values)]  # fmt: skip
    for block in rest:
        made = (
            block.replace("8650", str(free_port()))
            .replace("8750", str(free_port()))
            .replace("8850", str(free_port()))
        )
        if "ENTERPRISE_CODE=$SENDER" in made:
            quick = f"PORT={web}\nCONSOLE_PORT={free_port()}\nSWEEP_SECONDS=1\nPOLL_SECONDS=1\nSETTLE_SECONDS=3\n"
            made = made.replace("\nENV\n", f"\n{quick}ENV\n")
        if "bf db upgrade" in made and "bf customs show" in made:
            parts.append(SIMULATOR.format(simulator=simulator, web=web, token=shlex.quote(TOKEN)))
        parts.append(made)
        if made.startswith("bf sync"):
            parts.append('install -m 0600 -o "$ACCOUNT" "$WORK/orders.csv" "$STATE/orders.csv"\n'
                         'bf submit "$STATE/orders.csv" --yes --now --wait\necho THE ORDER IS DONE')  # fmt: skip
    parts.append("bf batch show 1\nsystemctl stop 'blankforms-*'\nkill $CUSTOMS_PID\nwait || true")
    return "\n".join(parts)


def run(work: Path, text: str) -> subprocess.CompletedProcess[str]:
    tools = work / "tools"
    tools.mkdir()
    stand_in = tools / "systemctl"
    stand_in.write_text(
        f'#!/bin/sh\nexec {sys.executable} -W ignore {ROOT}/tests/support/systemctl.py "$@"\n'
    )
    stand_in.chmod(0o755)
    kept = {
        k: v
        for k, v in os.environ.items()
        if k in {"LANG", "TMPDIR", "HOME", "PIP_INDEX_URL", "PIP_CONFIG_FILE"}
    }
    environment = {
        **kept, "PATH": f"{tools}:{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin", "WORK": str(work),
        "STAND_IN_UNITS": f"{work}/units", "STAND_IN_RUN": f"{work}/run",
    }  # fmt: skip
    return subprocess.run(["bash", "-c", text], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=800)  # fmt: skip


def test_the_table_of_the_night_names_every_fault_of_the_deployment():
    table = PAGE.partition("## At 02:00")[2].partition("\n## ")[0]

    def kinds(kind: type[BlankformsError]) -> list[str]:
        return [k.code for sub in kind.__subclasses__() for k in (sub, *sub.__subclasses__())]

    deployment = [k.code for k in AnotherDeployment.__subclasses__()]
    schema = [k for k in kinds(BlankformsError) if k.startswith("schema_")]
    assert len(schema) == 3
    for code in (*CARD_ERRORS, *deployment, *schema, *(r.value for r in LineReason)):
        assert f"`{code}`" in table, code
    assert str(int(Exit.CONFIGURATION)) in table

"""A stand-in for `systemctl` where no systemd runs: it reads the units themselves and does what they say.

Type=notify, LoadCredential, Environment and EnvironmentFile, User, ExecStart; the target is all its units. What
it does not know of a unit is systemd's own judge's business (`tests/contract/test_deploy.py`).
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

UNITS = Path(os.environ["STAND_IN_UNITS"])
RUN = Path(os.environ["STAND_IN_RUN"])
READY_SECONDS = 120
STOP_SECONDS = 30


def settings_of(unit: str) -> dict[str, list[str]]:
    """Every line of the section Service, the drop-in's first."""
    found: dict[str, list[str]] = {}
    for path in (UNITS / "blankforms-.service.d" / "common.conf", UNITS / f"{unit}.service"):
        section = path.read_text().partition("[Service]")[2].partition("\n[")[0]
        for key, value in re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE):
            found.setdefault(key, []).append(value)
    return found


def environment_of(unit: str, service: dict[str, list[str]]) -> dict[str, str]:
    credentials = RUN / "credentials" / unit
    shutil.rmtree(credentials, ignore_errors=True)
    credentials.mkdir(parents=True)
    owner = pwd.getpwnam(service["User"][0])
    for line in service.get("LoadCredential", []):
        name, source = line.split(":")
        shutil.copy(source, credentials / name)
        (credentials / name).chmod(0o400)
        os.chown(credentials / name, owner.pw_uid, owner.pw_gid)
    made = {"PATH": "/usr/bin:/bin", "HOME": "/", "PYTHONWARNINGS": "ignore"}
    pairs = [pair for line in service["Environment"] for pair in line.split()]
    pairs += [
        line
        for file in service["EnvironmentFile"]
        for line in Path(file).read_text().splitlines()
        if line and not line.startswith("#")
    ]
    for pair in pairs:
        name, value = pair.split("=", 1)
        made[name] = value.replace("%d", str(credentials))
    return made


def start(unit: str) -> None:
    pid_file = RUN / f"{unit}.pid"
    if pid_file.exists():
        return
    service = settings_of(unit)
    environment = environment_of(unit, service)
    command = re.sub(r"\$\{(\w+)\}", lambda m: environment[m[1]], service["ExecStart"][0])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        path = RUN / f"{unit}.sock"
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        path.chmod(0o777)
        listening.settimeout(1)
        environment["NOTIFY_SOCKET"] = str(path)
        user = service["User"][0]
        with (RUN / f"{unit}.log").open("ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--reuid", user, "--regid", service["Group"][0], "--init-groups",
                 *command.replace("%%", "%").split()],
                env=environment, cwd=service["WorkingDirectory"][0], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        pid_file.write_text(str(process.pid))
        end = time.monotonic() + READY_SECONDS
        while not _ready(listening):
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"{unit} is not ready: {process.poll()}")


def _ready(listening: socket.socket) -> bool:
    try:
        return b"READY=1" in listening.recv(4096)
    except TimeoutError:
        return False


def stop(unit: str) -> None:
    pid_file = RUN / f"{unit}.pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    pid_file.unlink()
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)


def main() -> None:
    os.umask(0o022)  # systemd's own, whatever the shell has
    RUN.mkdir(parents=True, exist_ok=True)
    verb, *names = (a for a in sys.argv[1:] if not a.startswith("--"))
    every = sorted(p.stem for p in UNITS.glob("blankforms-*.service"))
    chosen = [u for u in every for n in names if n == "blankforms.target" or fnmatch(u, n)]
    chosen = list(dict.fromkeys(chosen))
    match verb:
        case "daemon-reload":
            return
        case "enable" | "start":
            for unit in chosen:
                start(unit)
        case "stop":
            for unit in chosen:
                stop(unit)
        case "restart":
            for unit in chosen:
                stop(unit)
                start(unit)
        case _:
            sys.exit(f"no such verb here: {verb}")


if __name__ == "__main__":
    main()

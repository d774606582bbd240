"""`blankforms up` as a test runs it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import psutil

from tests.support.system import System

MARKS = {
    "broker": "valkey-server",
    "simulator": "simulator",
    "web": "webhook.wsgi",
    "console": "console.wsgi",
    "worker": "workers.worker",
    "submitter": "workers.submitter",
    "sender": "workers.sender",
    "scheduler": "workers.scheduler",
}
"""By which word of its command a process of `up` is known."""


@contextmanager
def up(home, **settings):
    """A system under `blankforms up` itself, its output in `up.log`; what is left of it is killed."""
    home.mkdir(parents=True, exist_ok=True)
    made = System(home, **settings)
    try:
        with (home / "up.log").open("ab") as out:
            made.up = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "up"],
                env=made.environment, cwd=home, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        yield made
    finally:
        if made.up.poll() is None:
            made.up.terminate()
            made.up.wait(30)
        for process in family(made):
            process.kill()
        made.stop()


def family(running):
    """Every process that lives on this home, but us."""
    mark = f"BLANKFORMS_HOME={running.home}"
    found = []
    for process in psutil.process_iter():
        try:
            if any(f"{k}={v}" == mark for k, v in process.environ().items()):
                found.append(process)
        except psutil.Error:
            continue  # it has gone, or is not ours
    return found


def one(running, name):
    """The process of a line itself."""
    children = psutil.Process(running.up.pid).children()
    return [p for p in children if any(MARKS[name] in part for part in p.cmdline())]


def said(running):
    return (running.home / "up.log").read_text()


def ready(running):
    running.wait(lambda: "已就绪" in said(running), "ready", 90)

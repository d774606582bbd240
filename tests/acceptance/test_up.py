"""`blankforms up`: whatever is killed comes back, nothing runs unsupervised, and it stops in three seconds."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import time

import pytest

from models.tables.database import Database
from tests.support.sheets import bring_in, ledger, write_sheets
from tests.support.system import System, referee
from tests.support.up import MARKS, family, one, ready, said, up

ROWS = 500


VICTIMS = {
    "each kind once": ("sender", "broker", "worker", "submitter", "web"),
    "the sender": ("sender",) * 5,
    "the worker": ("worker",) * 5,
    "the broker": ("broker",) * 5,
}


def killed_when(running, name, at):
    """SIGKILL to that line's process once customs has taken so many messages."""
    running.wait(
        lambda: ledger(running.home, "SELECT COUNT(*) FROM message")[0][0] >= at, f"{at} taken"
    )
    running.wait(lambda: one(running, name), f"{name} runs")
    for process in one(running, name):
        process.kill()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("victims", VICTIMS.values(), ids=VICTIMS)
def test_a_batch_ends_right_while_processes_are_killed_five_times_in_a_minute(short_tmp, victims):
    home = short_tmp / f"five-{'-'.join(sorted(set(victims)))[:12]}"
    home.mkdir()
    write_sheets(home, ROWS)
    with up(home, SEND_CONCURRENCY="1", SIMULATOR_ANSWER_SECONDS="0.03") as running:
        ready(running)
        bring_in(running, home)
        batch = running.json("submit", str(home / "orders.csv"), "--yes")
        for number, name in enumerate(victims, start=1):
            killed_when(running, name, number * ROWS // 8)
        shown = running.json("batch", "show", str(batch["id"]), "--watch")
        assert shown["state"] == "finished"
        assert shown["counts"]["forms"]["verified"] == 450
        assert shown["counts"]["forms"]["voided"] == 50
        assert said(running).count("已结束(SIGKILL)") >= 5
        assert said(running).count("已就绪") == 1
        database = Database(f"sqlite:///{home}/blankforms.db")
        referee(database, home / "simulator" / "ledger.db")
        database.close()
        began = time.monotonic()
        running.up.send_signal(signal.SIGTERM)
        assert running.up.wait(30) == 0
        assert time.monotonic() - began < 12  # three seconds, on a machine four times slower
        assert family(running) == []


@pytest.mark.timeout(180)
def test_ready_is_said_with_the_addresses_and_the_home_and_a_second_one_is_refused(short_tmp):
    home = short_tmp / "second"
    with up(home) as running:
        ready(running)
        text = said(running)
        for shown in (
            str(home),
            f":{running.port}/callbacks/customs",
            f":{running.console_port}/api/v1/docs",
            f":{running.simulator_port}",
            "模拟",
        ):
            assert shown in text.partition("已就绪")[0]
        running.json("doctor", "--wait", "60")
        running.run("up", expect=1)
        assert "已在运行" in running.stderr


@pytest.mark.timeout(180)
def test_killed_itself_it_leaves_nothing_behind(short_tmp):
    with up(short_tmp / "gone") as running:
        ready(running)
        assert len(family(running)) > len(MARKS)
        running.up.kill()
        running.up.wait()
        running.wait(lambda: family(running) == [], "all have gone", 30)


@pytest.mark.timeout(180)
def test_when_nobody_reads_its_output_any_more_everything_stops(short_tmp):
    home = short_tmp / "head"
    home.mkdir()
    made = System(home)
    try:
        done = subprocess.run(
            f"{sys.executable} -m cli.main up | head -2",
            shell=True, env=made.environment, cwd=home, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert len(done.stdout.splitlines()) == 2
        made.wait(lambda: family(made) == [], "all have gone", 30)
    finally:
        made.stop()


@pytest.mark.timeout(180)
def test_a_reader_that_does_not_read_stops_nothing(short_tmp):
    home = short_tmp / "stalled"
    home.mkdir()
    made = System(home, LOG_LEVEL="DEBUG", SWEEP_SECONDS="0.1", POLL_SECONDS="0.1")
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    try:
        made.up = subprocess.Popen([sys.executable, "-m", "cli.main", "up"], env=made.environment, cwd=home,
                                   stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        os.close(theirs)
        made.wait(lambda: made.listens(made.port), "web listens")
        made.wait(lambda: waiting(ours), "something was said that nobody reads")
        made.json("doctor", "--wait", "60")  # meanwhile they have said more than fits
        began = time.monotonic()
        made.up.terminate()
        assert made.up.wait(30) == 0
        assert time.monotonic() - began < 15  # a few seconds, on a machine four times slower
        made.wait(lambda: family(made) == [], "all have gone", 30)
    finally:
        os.close(ours)
        made.up.kill()
        made.stop()


def waiting(pipe):
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


@pytest.mark.timeout(180)
def test_a_process_whose_settings_are_wrong_is_not_started_again_and_everything_stops(short_tmp):
    home = short_tmp / "wrong"
    with up(home) as running:
        ready(running)
        with sqlite3.connect(home / "blankforms.db") as db:
            db.execute("UPDATE deployment SET customs = 'https://customs.example:443'")
        one(running, "sender")[0].kill()
        assert running.up.wait(60) == 78
        assert "配置有误" in said(running)
        assert "adopt-customs" in said(running)
        assert family(running) == []


def test_a_port_that_is_taken_is_said_by_its_setting(short_tmp):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with up(short_tmp / "port", PORT=str(taken.getsockname()[1])) as running:
            assert running.up.wait(60) == 78
            assert "PORT" in said(running)

"""Runs processes: starts each again when it dies, says when all are ready, stops all in three seconds.

One thread, one loop. A process says that it is ready by sd_notify (`config.supervised`), or `answers`
tells. It is started in a session of its own, and the kernel ends it when this process dies, however
that happens: nothing runs unsupervised.
"""

from __future__ import annotations

import ctypes
import math
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Final

from config.exits import Exit
from config.supervised import NOTIFY_SOCKET
from models.rules.language import t

PAUSE_FIRST: Final = 0.5
PAUSE_MOST: Final = 15.0
"""Seconds before a process that died is started again: it doubles while it dies again soon, so that
what cannot run does not keep the machine busy."""

STEADY_SECONDS: Final = 30.0
"""Whoever has run for so long begins with the first pause again."""

STOP_SECONDS: Final = 1.6
STOP_LAST_SECONDS: Final = 0.6
"""How long processes may take to end, and then those that they talk to: three seconds in all. What is
killed then loses nothing: the database is the truth."""

TICK_SECONDS: Final = 0.2
NOT_READY_SECONDS: Final = 30.0
"""After so long it is said who is not ready yet."""

UNSAID_BYTES: Final = 1 << 20
"""What is kept for a reader that does not read: a minute of a busy system."""

PIECE_BYTES: Final = 4096
"""A pipe that can be written takes so much without waiting (PIPE_BUF)."""

_PR_SET_PDEATHSIG: Final = 1
_READ: Final = 1 << 16


@dataclass
class Child:
    """One process that is to run always."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    answers: Callable[[], bool] | None = None
    """How it is known to be ready; None: it says so itself."""
    embedded: bool = False
    """Started before the others, and stopped after them."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = math.inf
    pause: float = PAUSE_FIRST
    ready: bool = False
    unsaid: bytes = b""
    notified: socket.socket | None = field(default=None, repr=False)


class Supervisor:
    """The loop. `run` gives the exit code: 0 after a signal, 78 when a process cannot be configured."""

    def __init__(self, children: Sequence[Child], announce: Callable[[], None]) -> None:
        self._children = children
        self._announce = announce
        self._selector = selectors.DefaultSelector()
        self._code: int | None = None
        self._mute = False
        self._unsaid = b""
        self._lost = 0
        self._libc = ctypes.CDLL(None)

    def run(self) -> int:
        """Until a signal, the end of our own output, or a process that gives up."""
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it only wakes the loop
        self._selector.register(wake, selectors.EVENT_READ, lambda: wake.recv(_READ))
        try:
            self._bring_up()
            while self._code is None:
                self._turn()
        finally:
            self._stop()
        return self._code or 0

    def say(self, name: str, text: str) -> None:
        """A line of ours, or of a process; said when it can be, and never waited for.

        A reader that is slow loses lines, and is told so. When nobody reads any more, everything stops.
        """
        if self._mute:
            return
        line = f"{name:<10}| {text}\n".encode(sys.stdout.encoding or "utf-8", errors="replace")
        if len(self._unsaid) + len(line) > UNSAID_BYTES:
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self.say("up", t(f"(略去 {lost} 行)", f"({lost} lines left out)"))
        self._unsaid += line
        self._write()

    def _write(self) -> None:
        """As much as goes out at once: what a reader does not take stops nothing."""
        out = sys.stdout.fileno()
        try:
            while self._unsaid and select.select([], [out], [], 0)[1]:
                written = os.write(out, self._unsaid[:PIECE_BYTES])
                self._unsaid = self._unsaid[written:]
        except OSError:
            self._mute, self._unsaid = True, b""
            self._code = int(Exit.FAILURE)
            with suppress(OSError):  # nothing is written at the end of the interpreter either
                os.dup2(os.open(os.devnull, os.O_WRONLY), out)

    def _asked_to_stop(self, *_: object) -> None:
        self._code = 0

    def _bring_up(self) -> None:
        """The embedded parts, then the others; then say that all are ready."""
        for embedded in (True, False):
            for child in self._children:
                if child.embedded is embedded:
                    self._start(child)
            said_at = time.monotonic()
            while self._code is None and not all(
                child.ready for child in self._children if child.embedded is embedded
            ):
                self._turn()
                if time.monotonic() - said_at > NOT_READY_SECONDS:
                    said_at = time.monotonic()
                    names = ", ".join(child.name for child in self._children if not child.ready)
                    self.say("up", t(f"尚未就绪: {names}", f"not ready yet: {names}"))
        if self._code is None:
            self._announce()

    def _turn(self) -> None:
        """Wait for something to happen; then let everything happen that is due."""
        for key, _ in self._selector.select(TICK_SECONDS):
            key.data()
        self._write()
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, child.process.returncode, now)
            elif child.process is None and child.due_at <= now and self._code is None:
                self._start(child)
            elif child.process and not child.ready and child.answers is not None:
                child.ready = child.answers()

    def _start(self, child: Child) -> None:
        environment = dict(child.environment)
        if child.answers is None:
            child.notified = child.notified or self._notifications_of(child)
            environment[NOTIFY_SOCKET] = "@" + str(child.notified.getsockname(), "ascii")[1:]
        child.started_at, child.due_at = time.monotonic(), math.inf
        child.process = subprocess.Popen(  # noqa: S603 - our own commands
            child.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us
            preexec_fn=self._die_with_us,  # noqa: PLW1509 - there is one thread here
        )
        output: Any = child.process.stdout
        os.set_blocking(output.fileno(), False)
        self._selector.register(output, selectors.EVENT_READ, lambda: self._read(child, output))

    def _die_with_us(self) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def _notifications_of(self, child: Child) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.setblocking(False)
        listening.bind(f"\0blankforms-{os.getpid()}-{child.name}")

        def hear() -> None:
            with suppress(BlockingIOError):
                child.ready |= b"READY=1" in listening.recv(_READ)

        self._selector.register(listening, selectors.EVENT_READ, hear)
        return listening

    def _read(self, child: Child, output: IO[bytes]) -> None:
        """Say what a process wrote, by whole lines."""
        try:
            read = os.read(output.fileno(), _READ)
        except BlockingIOError:
            return
        *whole, child.unsaid = (child.unsaid + read).split(b"\n")
        if not read:
            self._selector.unregister(output)
            output.close()
            whole, child.unsaid = [child.unsaid] if child.unsaid else [], b""
        if len(child.unsaid) > _READ:  # a line without an end is said in pieces, not gathered
            whole, child.unsaid = [*whole, child.unsaid], b""
        for text in whole:
            self.say(child.name, text.decode(errors="replace"))

    def _ended(self, child: Child, code: int, now: float) -> None:
        """One process is gone: started again after a pause, unless its settings are wrong."""
        if child.process and child.process.stdout and not child.process.stdout.closed:
            self._read(child, child.process.stdout)
        child.process, child.ready = None, False
        if self._code is not None:
            return
        if code == Exit.CONFIGURATION:
            text = t("配置有误，全部停止", "its settings are wrong: everything stops")
            self.say(child.name, text)
            self._code = code
            return
        if now - child.started_at > STEADY_SECONDS:
            child.pause = PAUSE_FIRST
        child.due_at = now + child.pause
        how = signal.Signals(-code).name if code < 0 else str(code)
        text = t(
            f"已结束({how})，{child.pause:g} 秒后重新启动",
            f"ended ({how}), is started again in {child.pause:g} s",
        )
        self.say(child.name, text)
        child.pause = min(child.pause * 2, PAUSE_MOST)

    def _stop(self) -> None:
        if self._code is None:  # by an exception of our own
            self._code = int(Exit.FAILURE)
        for embedded, seconds in ((False, STOP_SECONDS), (True, STOP_LAST_SECONDS)):
            children = [
                x for x in self._children if x.embedded is embedded and x.process is not None
            ]
            for child in children:
                if child.process:
                    child.process.terminate()
            end = time.monotonic() + seconds
            while any(child.process for child in children) and time.monotonic() < end:
                self._turn()
            for child in children:
                if child.process:
                    with suppress(ProcessLookupError):
                        os.killpg(child.process.pid, signal.SIGKILL)
                    child.process.wait()
                    child.process = None

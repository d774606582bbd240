"""What a process says to whoever supervises it: systemd, or `blankforms up`.

The protocol is sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names. Without one nothing is said.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"


def say_ready() -> None:
    """Say that this process does what it is for from now on. Nobody listening is no error."""
    address = os.environ.get(NOTIFY_SOCKET, "")
    if not address:
        return
    where = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.sendto(b"READY=1", where)

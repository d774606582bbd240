"""The wire profiles: each knows everything that depends on one wire, and nobody else knows it.

Another one is a module here and its name in the settings (`WIRE_PROFILE`).
"""

from __future__ import annotations

from customs.wire import WireProfile


def open_profile(name: str) -> WireProfile:
    """The profile of this name. Raises KeyError."""
    if name != "bcm-1":
        raise KeyError(name)
    from customs.profile.bcm1 import (
        Bcm1,  # reads the schema: a command that asks nothing starts without
    )

    return Bcm1()

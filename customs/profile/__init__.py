"""The wire profiles: each knows everything that depends on one wire, and nobody else knows it.

Another one is a module here, with its class as `PROFILE`, and its name in the settings (`WIRE_PROFILE`).
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from customs.wire import WireProfile


def open_profile(name: str) -> WireProfile:
    """The profile that the settings name: of `bcm-1` the module is `bcm1`. Imported when it is wanted."""
    module = import_module(f"customs.profile.{name.replace('-', '')}")
    return cast("WireProfile", module.PROFILE())

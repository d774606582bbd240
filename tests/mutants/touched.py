"""A plugin of pytest that writes which functions each test goes through, and how long it takes.

`python -m pytest -p tests.mutants.touched` with TOUCHED=FOLDER: a file for each process, a line of JSON for each test.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import CodeType, FrameType

import pytest

ROOT = f"{Path(__file__).parent.parent.parent}/"
PACKAGES = tuple(ROOT + name for name in ("customs/", "models/", "tasks/"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Watch one test, its fixtures and threads."""
    seen: set[CodeType] = set()

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    began = time.monotonic()
    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        return (yield)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        ours = {_name(code) for code in seen if code.co_filename.startswith(PACKAGES)}
        said = {"test": item.nodeid, "seconds": time.monotonic() - began, "functions": sorted(ours)}
        with (Path(os.environ["TOUCHED"]) / f"{os.getpid()}.json").open("a") as file:
            file.write(json.dumps(said, ensure_ascii=False) + "\n")


def _name(code: CodeType) -> str:
    """`models/rules/turns.py Turns.join`; what stands inside a function is of that function."""
    parts = code.co_qualname.split(".")
    return f"{code.co_filename.removeprefix(ROOT)} {'.'.join(p for p in parts if not p.startswith('<'))}"

"""How checking and reserving grow with the sheet. Its steps are processes: `python -m
bench.growth books|work <folder> <rows>`, so that each has its own peak of memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from bench import quiet
from bench.data import UPLOAD_LIMIT, sheet
from bench.night import peak_megabytes
from bench.parts import bring_in, context_in
from models.rules.states import PagesMode
from tasks.orders import confirming, intake, planning


def growing(folder: Path, rows: int) -> dict[str, float]:
    """Seconds and peak memory of one size, in processes of their own."""
    home = folder / f"growth-{rows}"
    for step in ("books", "work"):
        command = [sys.executable, "-m", "bench.growth", step, str(home), str(rows)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(text.splitlines()[-1])
    return found


def _books(home: Path, rows: int) -> None:
    home.mkdir(parents=True)
    sheet(home, rows)
    with context_in(home) as context:
        bring_in(context, rows)


def _work(home: Path, rows: int) -> dict[str, float]:
    path = home / f"orders-{rows}.xlsx"
    with context_in(home, UPLOAD_MAX_MB=str(UPLOAD_LIMIT >> 20)) as context:
        began = time.perf_counter()
        batch = intake.receive_sheet(context, path.read_bytes(), path.name, PagesMode.ADDITIONAL)
        planning.check(context, batch)
        checked = time.perf_counter()
        confirming.confirm(context, batch, confirming.Confirmation())
        ended = time.perf_counter()
    return {
        "rows": rows,
        "check": checked - began,
        "reserve": ended - checked,
        "peak": peak_megabytes(),
    }


if __name__ == "__main__":
    quiet()
    what, where, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if what == "books":
        _books(where, size)
    else:
        print(json.dumps(_work(where, size)))

"""`make bench`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.night import nights
from bench.parts import checking, claiming, end_to_end


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bf-bench-") as name:
        folder = Path(name)
        checking(folder, 100_000)
        claiming(folder, 16, 25)
        end_to_end(folder, 10_000)
        nights(folder, (10_000, 100_000, 1_000_000))


if __name__ == "__main__":
    main()

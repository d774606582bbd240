"""Files that belong to the program and are no code: inside the wheel, or at the root of the source tree."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_INSIDE: Final = Path(__file__).parent / "files"
_ROOT: Final = Path(__file__).parent.parent


def shipped(name: str) -> Path:
    """Where `Procfile`, `samples` or `.env.example` is."""
    inside = _INSIDE / name
    return inside if inside.exists() else _ROOT / name

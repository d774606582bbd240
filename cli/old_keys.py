"""Keys of `--json` as they were before a batch had one shape, kept beside the new ones for scripts that read them.

docs/operation.md lists them. They go with the next release that may break scripts; the API never had them.
"""

from __future__ import annotations

from typing import Any


def batch(document: dict[str, Any]) -> dict[str, Any]:
    """`batch show`: `counts.forms` by state, `counts.outcomes`."""
    counts = document["counts"]
    old = {"forms": counts["by_state"], "outcomes": document["outcomes"]}
    return document | {"counts": counts | old}


def batch_row(row: dict[str, Any]) -> dict[str, Any]:
    """`batch show`: `serials` with their states."""
    return row | {"serials": row["forms"]}


def plan(document: dict[str, Any]) -> dict[str, Any]:
    """`check` and `--dry-run`: `batch`, and `counts.forms` as a number."""
    counts = document["counts"]
    return document | {"batch": document["id"], "counts": counts | {"forms": counts["planned"]}}


def listed(document: dict[str, Any]) -> dict[str, Any]:
    """`batch list`: `rows` as a number."""
    return document | {"rows": document["row_count"]}

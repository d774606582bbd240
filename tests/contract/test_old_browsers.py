"""The pages run in Chrome 109, the last one of Windows 7, and Firefox ESR: nothing newer is used."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.conftest import ROOT

NEWER = (
    # style sheets
    r"&\s*[.:#\[>]", r"@scope", r"@starting-style", r"@layer\s+\w+\.\w", r"light-dark\(", r"color-mix\(", r"oklch\(",
    r"text-wrap", r"field-sizing", r"interpolate-size", r"anchor-name", r"animation-timeline", r":popover-open",
    r"view-transition", r"subgrid",
    # JavaScript
    r"\.toSorted\(", r"\.toReversed\(", r"\.with\(", r"\.findLast\w*\([^)]*\).*with", r"withResolvers", r"groupBy\(",
    r"fromAsync", r"\.isWellFormed\(", r"URL\.canParse", r"URL\.parse", r"\bpopover\b", r"\.moveBefore\(",
    r"new Set\([^)]*\)\.(union|intersection|difference)", r"Iterator\.", r"#!/",
)  # fmt: skip
FILES = [
    *(ROOT / "console" / "static").glob("look.css"),
    *(ROOT / "console" / "static").glob("console.js"),
    *(ROOT / "console" / "templates").glob("*.html"),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_newer_than_chrome_109_is_used(path):
    text = re.sub(r"/\*.*?\*/|\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = text.replace("&nbsp;", "").replace("&amp;", "")
    found = [(pattern, match[0]) for pattern in NEWER if (match := re.search(pattern, text))]
    assert found == []


def test_what_is_vendored_is_what_was_published():
    """htmx 4.0.1 as its package has it (dist/htmx.min.js), with its licence beside it."""
    file = ROOT / "console" / "static" / "htmx-4.0.1.min.js"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == (
        "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
    )
    assert "Zero-Clause BSD" in (file.parent / "htmx-LICENSE.txt").read_text(encoding="utf-8")

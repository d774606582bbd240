"""Files that mean harm: none takes the process down, more than five seconds or a gigabyte."""

from __future__ import annotations

import json
import random
import resource
import struct
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.rules.errors import FileEncrypted, FileError, FileTooLarge, FileUnreadable
from sheets import child, reader, xlsx
from tests.sheets.test_reading import (
    GOOD,
    HEADER,
    ROW,
    parts_of,
    read,
    sparse,
    text,
    zipped,
)

SHEET = "xl/worksheets/sheet1.xml"
SECONDS = 5.0
MEGABYTES = 1024


def with_sheet(xml: bytes) -> bytes:
    return zipped({**parts_of(GOOD), SHEET: xml})


def sheet_of(cells: bytes) -> bytes:
    """The good sheet with more rows behind it."""
    return with_sheet(parts_of(GOOD)[SHEET].replace(b"</sheetData>", cells + b"</sheetData>"))


def lying_sizes() -> bytes:
    """The directory says that the parts are small; they are not."""
    content = bytearray(zipped({**parts_of(GOOD), "xl/big.xml": b"\0" * (64 << 20)}))
    at = content.index(b"PK\x01\x02")
    while at >= 0:
        content[at + 24 : at + 28] = struct.pack("<I", 100)
        at = content.find(b"PK\x01\x02", at + 4)
    return bytes(content)


def encrypted_part() -> bytes:
    content = bytearray(GOOD)
    at = content.index(b"PK\x01\x02")
    while at >= 0:
        content[at + 8] |= 1
        at = content.find(b"PK\x01\x02", at + 1)
    return bytes(content)


def nested() -> bytes:
    """A zip in a zip in a zip is one part like any other."""
    inner = zipped({"a": b"0" * (1 << 20)})
    for _ in range(8):
        inner = zipped({"a": inner})
    return zipped({**parts_of(GOOD), "xl/inner.zip": inner})


def external_links() -> bytes:
    parts = parts_of(GOOD)
    parts["xl/externalLinks/externalLink1.xml"] = b"<externalLink/>"
    parts["xl/externalLinks/_rels/externalLink1.xml.rels"] = (
        b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        b'<Relationship Id="rId1" Type="x" Target="file:///etc/passwd" TargetMode="External"/></Relationships>'
    )
    return zipped(parts)


def dtd(part: str) -> bytes:
    parts = parts_of(GOOD)
    parts[part] = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + parts[part]
    return zipped(parts)


def inline(length: int) -> bytes:
    return b'<row r="3"><c r="A3" t="inlineStr"><is><t>' + b"x" * length + b"</t></is></c></row>"


def merged(areas: int) -> bytes:
    """Merged areas over the whole height of a sheet, one upon another."""
    area = b'<mergeCell ref="A1:A1048576"/>'
    xml = parts_of(GOOD)[SHEET].replace(
        b"</sheetData>", b"</sheetData><mergeCells>" + area * areas + b"</mergeCells>"
    )
    return with_sheet(xml)


CORPUS = {
    "merged a thousand times": merged(1000),
    "sparse": sparse(),
    "one part of zeros": zipped({**parts_of(GOOD), "xl/big.bin": b"\0" * (300 << 20)}),
    "many parts": zipped({**parts_of(GOOD), **{f"x/{n}": b"" for n in range(xlsx.ZIP_PARTS)}}),
    "lying sizes": lying_sizes(),
    "encrypted part": encrypted_part(),
    "zip in zip": nested(),
    "external link": external_links(),
    "dtd in the sheet": dtd(SHEET),
    "dtd in the book": dtd("xl/workbook.xml"),
    "billion laughs": with_sheet(
        b"<!DOCTYPE x [" + b"".join(
            b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"lol") for n in range(10)
        ) + b"]><worksheet>&e9;</worksheet>"
    ),
    "a huge cell": sheet_of(inline(40 << 20)),
    "deep nesting": with_sheet(b"<a>" * 200_000),
    "no end": with_sheet(parts_of(GOOD)[SHEET][:-40]),
    "row numbers from hell": sheet_of(b'<row r="99999999999999999999"><c r="A1"><v>1</v></c></row>'),
    "a column beyond the sheet": sheet_of(b'<row r="3"><c r="ZZZZZZ3"><v>1</v></c></row>'),
    "negative row": sheet_of(b'<row r="-1"><c r="A-1"><v>1</v></c></row>'),
    "shared string out of range": sheet_of(b'<row r="3"><c r="A3" t="s"><v>999999</v></c></row>'),
    "not a number": sheet_of(b'<row r="3"><c r="A3"><v>1e999999</v></c><c r="B3"><v>NaN</v></c></row>'),
    "truncated": GOOD[: len(GOOD) // 2],
    "ole with garbage": child.OLE + bytes(range(256)) * 40,
    "encrypted package": child.OLE + child.ENCRYPTED_PACKAGE * 40,
    "too many columns": text([ROW], "utf-8").replace(HEADER[0].encode(), (HEADER[0] + "," * 300).encode(), 1),
    "one line of 20 MB": text([ROW], "utf-8") + b"\r\n" + b"x," * (10 << 20),
    "a million quotes": text([ROW], "utf-8") + b'\r\n"' + b'""' * 1_000_000,
    "nul bytes": text([ROW], "utf-8") + b"\0" * 1_000_000,
    "a nul behind a mark": text([ROW], "utf-8-sig") + b"\0",
    "utf-16 without its mark": text([ROW], "utf-16-le"),
    "half a surrogate": text([ROW], "utf-16")[:-1],
}  # fmt: skip


HARMLESS = {"merged a thousand times", "zip in zip", "external link", "not a number"}
"""What does no harm is read, and says what it says; all else is refused."""


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_file_is_read_or_refused_and_harms_nobody(name):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    began = time.monotonic()
    try:
        _, rows = read(CORPUS[name])
    except FileError as refused:
        assert name not in HARMLESS
        assert "x.xlsx" in str(refused)
        assert "root:" not in str(refused)
    else:
        assert name in HARMLESS
        assert "root:" not in str([row.cells for row in rows])
        (good,) = read(GOOD)[1]
        assert (rows[0].serials, rows[0].problems) == (good.serials, [])
        assert all(row.problems and not row.serials for row in rows[1:])
    assert time.monotonic() - began < SECONDS
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert max(peak, before) < MEGABYTES * 1024


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("many parts", FileTooLarge),
        ("one part of zeros", FileTooLarge),
        ("encrypted part", FileEncrypted),
        ("encrypted package", FileEncrypted),
        ("too many columns", FileTooLarge),
        ("dtd in the sheet", FileUnreadable),
        ("dtd in the book", FileUnreadable),
        ("billion laughs", FileUnreadable),
        ("lying sizes", FileUnreadable),
        ("a huge cell", FileTooLarge),
        ("one line of 20 MB", FileTooLarge),
        ("a million quotes", FileTooLarge),
        ("truncated", FileUnreadable),
        ("no end", FileUnreadable),
        ("negative row", FileUnreadable),
        ("shared string out of range", FileUnreadable),
        ("ole with garbage", FileUnreadable),
        ("nul bytes", FileUnreadable),
        ("a nul behind a mark", FileUnreadable),
        ("half a surrogate", FileUnreadable),
    ],
)
def test_what_is_certain_to_mean_harm_is_refused_by_its_name(name, error):
    with pytest.raises(error):
        read(CORPUS[name])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_a_sheet_with_bytes_changed_is_read_as_it_was_or_refused(seed):
    """A bent byte never becomes another serial: every part of a workbook has its checksum."""
    chosen = random.Random(seed)
    content = bytearray(GOOD)
    for _ in range(chosen.randint(1, 8)):
        content[chosen.randrange(len(content))] = chosen.randrange(256)
    try:
        _, rows = read(bytes(content))
    except FileError:
        return
    assert [row.serials for row in rows] == [row.serials for row in read(GOOD)[1]]


@pytest.mark.parametrize(
    "cell", [b'<c r="B3" t="e"><v>&x;</v></c>', b'<c r="B3" t="e"><v>#N/A</v></c>']
)
@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("behind", [0, xlsx.PROLOGUE], ids=["at once", "behind what is looked at"])
def test_a_sheet_with_an_entity_is_refused_and_nothing_is_fetched(tmp_path, cell, external, behind):
    secret = tmp_path / "canary"
    secret.write_text("canary-content")
    entity = f"SYSTEM '{secret.as_uri()}'" if external else "'canary-content'"
    xml = parts_of(GOOD)[SHEET].replace(
        b"</sheetData>", b'<row r="3">' + cell + b"</row></sheetData>"
    )
    padding = b"<!--" + b" " * behind + b"-->"
    doctype = b"<!DOCTYPE worksheet [<!ENTITY x " + entity.encode() + b">]>"
    with pytest.raises(FileUnreadable, match="DTD") as refused:
        read(with_sheet(padding + doctype + xml))
    assert "canary" not in str(refused.value)


def test_the_limits_are_set_before_the_first_byte_is_read():
    code = (
        "import json, sys, sheets.child as c; sys.argv = ['child', 'orders']; seen = []\n"
        "c.resource.setrlimit = lambda *limit: seen.append(limit)\n"
        "c.lines = lambda *_: iter([seen])\nc.main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], input=b"", capture_output=True, check=True
    )
    memory, seconds = child.MEMORY_BYTES, child.CPU_SECONDS
    assert json.loads(done.stdout) == [
        [resource.RLIMIT_AS, [memory, memory]],
        [resource.RLIMIT_CPU, [seconds, seconds]],
        [resource.RLIMIT_CORE, [0, 0]],
    ]


def test_a_reader_that_hangs_is_ended_and_the_file_refused(monkeypatch):
    monkeypatch.setattr(reader, "WALL_SECONDS", 0.3)
    big = text([ROW] * 200_000, "utf-8")
    with pytest.raises(FileTooLarge):
        read(big)


def test_the_reader_of_a_strangers_file_has_no_secret_near_it(monkeypatch):
    seen = {}
    real = subprocess.Popen

    def watched(*arguments, **options):
        seen.update(options)
        return real(*arguments, **options)

    monkeypatch.setattr(reader.subprocess, "Popen", watched)
    read(GOOD)
    assert seen["env"] == {}

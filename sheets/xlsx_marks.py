"""Cells of an xlsx sheet that the fast reader shows as blank although they are not.

Error values (`#N/A`) and formulas that were never calculated both come out of calamine as "".
They are found in the sheet's XML, which is parsed only when its bytes hold such a mark at all.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from typing import Any, Final

from lxml import etree

MAIN: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_MAY_BE_MARKED: Final = re.compile(rb"""\bt\s*=\s*["']e["']|<(?:\w+:)?f[\s/>]|encoding=.UTF-16""")
_WINDOW: Final = 1 << 20
_OVERLAP: Final = 64


def marked_cells(archive: zipfile.ZipFile, sheet_name: str) -> dict[int, dict[int, Any]]:
    """`{"error": text}` or `{"formula": true}` by zero-based row and column."""
    part = _part_of(archive, sheet_name)
    if part is None or not _may_be_marked(archive, part):
        return {}
    marks: dict[int, dict[int, Any]] = {}
    row_index = column = -1
    with archive.open(part) as stream:
        parsed = etree.iterparse(
            stream,
            events=("start", "end"),
            tag=(f"{MAIN}row", f"{MAIN}c"),
            resolve_entities=False,
            no_network=True,
            huge_tree=True,
        )
        for event, element in parsed:
            is_row = element.tag == f"{MAIN}row"
            if event == "start" and is_row:
                row_index = int(element.get("r", row_index + 2)) - 1
                column = -1
            elif event == "end" and not is_row:
                reference = element.get("r")
                column = _column(reference) if reference else column + 1
                mark = _mark(element)
                if mark is not None:
                    marks.setdefault(row_index, {})[column] = mark
            elif event == "end":
                element.clear()
    return marks


def _mark(cell: etree._Element) -> dict[str, Any] | None:
    value = cell.findtext(f"{MAIN}v") or ""
    if cell.get("t") == "e":
        return {"error": value or "#ERR"}
    if cell.find(f"{MAIN}f") is not None and not value and cell.get("t") != "str":
        return {"formula": True}
    return None


def _may_be_marked(archive: zipfile.ZipFile, part: str) -> bool:
    before = b""
    with archive.open(part) as stream:
        while window := stream.read(_WINDOW):
            if _MAY_BE_MARKED.search(before + window):
                return True
            before = window[-_OVERLAP:]
    return False


def _part_of(archive: zipfile.ZipFile, sheet_name: str) -> str | None:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    book = etree.fromstring(archive.read("xl/workbook.xml"), parser)
    links = etree.fromstring(archive.read("xl/_rels/workbook.xml.rels"), parser)
    targets = {link.get("Id"): link.get("Target") or "" for link in links}
    for sheet in book.iterfind(f".//{MAIN}sheet"):
        if sheet.get("name") == sheet_name:
            target = targets.get(sheet.get(_RELATION)) or ""
            path = posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")
            return path if path in archive.namelist() else None
    return None


def _column(reference: str) -> int:
    number = 0
    for letter in reference:
        if not letter.isalpha():
            break
        number = number * 26 + ord(letter.upper()) - ord("A") + 1
    return number - 1

"""xlsx workbooks as sheets. What the fast reader does not show comes from `sheets.xlsx_marks`.

Parts are found as the package says (relations, not names), so that the marks of a sheet are those of
the sheet that is read; where they cannot be found for certain the file is refused.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final
from xml.parsers import expat

from sheets.rows import Merged, Refused, Row, Sheet
from sheets.xlsx_marks import MARK_FREE, SheetMarks, SheetScan, Styles, local, parse

ZIP_PARTS: Final = 2000
ZIP_BYTES: Final = 1024**3
ZIP_RATIO: Final = 150
"""Unpacked to packed, for parts over 1 MB: honest sheets are at 7-20."""
ZIP_RATIO_FROM: Final = 1024**2
PROLOGUE: Final = 4096
"""Bytes at the beginning of a part in which a DTD would be."""

_WINDOW: Final = 1 << 20
_WORKBOOK: Final = "xl/workbook.xml"
_WORKBOOK_RELATIONS: Final = "xl/_rels/workbook.xml.rels"
_NOT_XLSX: Final = "不是 xlsx 工作簿 / not an xlsx workbook"
_RELATIONS_NAMESPACE: Final = "http://schemas.openxmlformats.org/package/2006/relationships"


def xlsx_sheets(content: bytes) -> Iterator[Sheet]:
    """The worksheets in their order. Raises `Refused`."""
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        package = _checked(archive)
        styles = package.styles()
        scans = package.read_whole(styles)
        book = CalamineWorkbook.from_filelike(io.BytesIO(package.for_reader(content)))
        if len(book.sheets_metadata) != len(package.sheets):
            raise Refused("file_unreadable", "工作表目录不一致 / the list of sheets is in disorder")
        for known, entry in zip(book.sheets_metadata, package.sheets, strict=True):
            if known.typ is not SheetTypeEnum.WorkSheet:
                continue
            if entry.part is None:
                raise Refused("file_unreadable", f"找不到工作表 / sheet not found: {known.name}")
            marks = scans[entry.part].marks(package.open(entry.part), styles)
            sheet = book.get_sheet_by_name(known.name)
            yield Sheet(
                known.name,
                _rows(sheet, marks),
                hidden=known.visible is not SheetVisibleEnum.Visible,
                hidden_columns=marks.hidden_columns,
                merged_right={
                    (top + 1, left): right
                    for (top, left), (_, right) in sheet.merged_cell_ranges or []
                    if right > left
                },
            )


def _rows(sheet: Any, marks: SheetMarks) -> Iterator[Row]:
    if sheet.start is None:
        return
    left = sheet.start[1]
    merged = Merged(
        (top, left, bottom) for (top, left), (bottom, _) in sheet.merged_cell_ranges or []
    )
    plain_sheet = marks is MARK_FREE
    for index, found in enumerate(sheet.iter_rows()):
        cells: list[Any] = [None] * left + [plain(cell) for cell in found]
        if not plain_sheet:
            for column, mark in marks.cells.get(index, {}).items():
                if column < len(cells):
                    cells[column] = mark
        filled = merged.fill(index, cells)
        if plain_sheet and not filled:
            yield index + 1, cells, None
        else:
            yield index + 1, cells, marks.of_row(index, filled)


def plain(cell: Any) -> Any:
    """A cell of a reading library as a plain value: see `sheets.rows.Row`."""
    kind = type(cell)
    if kind is str:
        if not cell:
            return None
        return cell.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in cell else cell
    if kind is float:
        return int(cell) if cell.is_integer() else cell
    if cell is None or isinstance(cell, (int, bool)):
        return cell
    if isinstance(cell, (datetime, date, time)):
        return {"date": cell.isoformat()}
    return str(cell)


# -- the package ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """A sheet as the workbook lists it; `part` None: it names no part that is there."""

    name: str
    part: str | None


class _Package:
    """The parts of a workbook by the names that they mean: `/`, one case, as related to each other."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._parts = {_key(part.filename): part for part in archive.infolist()}
        self.odd = any("\\" in part.filename for part in archive.infolist())
        self.workbook = self._find_workbook()
        folder, name = posixpath.split(self.workbook)
        self.relations_part = posixpath.join(folder, "_rels", f"{name}.rels")
        self.relations = self._relations(self.relations_part, folder)
        self.odd |= self.workbook != _WORKBOOK
        self.sheets = self._sheets()

    def open(self, part: str) -> Any:
        """The part as a stream of bytes."""
        return self._archive.open(self._parts[part])

    def read(self, part: str) -> bytes:
        """The part whole."""
        return self._archive.read(self._parts[part])

    def _find_workbook(self) -> str:
        if "_rels/.rels" in self._parts:
            for _, kind, target in self._relations("_rels/.rels", ""):
                if kind.rsplit("/", 1)[-1] == "officeDocument" and target in self._parts:
                    return target
        if _WORKBOOK in self._parts:
            return _WORKBOOK
        raise Refused("file_unreadable", _what_it_is(self._archive))

    def _relations(self, part: str, folder: str) -> list[tuple[str, str, str]]:
        """(id, type, part) of every relation inside the package."""
        found: list[tuple[str, str, str]] = []

        def start(name: str, values: dict[str, str]) -> None:
            if local(name) == "Relationship" and values.get("TargetMode") != "External":
                target = values.get("Target", "")
                self.odd |= "\\" in target
                path = posixpath.join("/", folder, target.replace("\\", "/"))
                key = _key(posixpath.normpath(path).lstrip("/"))
                found.append((values.get("Id", ""), values.get("Type", ""), key))

        if part in self._parts:
            parse(self.read(part), start)
        return found

    def _sheets(self) -> list[_Entry]:
        targets = {name: part for name, _, part in self.relations}
        found: list[_Entry] = []

        def start(name: str, values: dict[str, str]) -> None:
            if local(name) == "sheet":
                ids = [v for n, v in values.items() if ":" in n and local(n) == "id"]
                part = targets.get(ids[0]) if ids else None
                found.append(_Entry(values.get("name", ""), part if part in self._parts else None))

        parse(self.read(self.workbook), start)
        return found

    def styles(self) -> Styles:
        """Which styles and which shared strings are struck out."""

        def of(kind: str) -> bytes:
            parts = [p for _, k, p in self.relations if k.rsplit("/", 1)[-1] == kind]
            return self.read(parts[0]) if parts and parts[0] in self._parts else b""

        return Styles(of("styles"), of("sharedStrings"))

    def read_whole(self, styles: Styles) -> dict[str, SheetScan]:
        """Read every part to its checksum, and look in the sheets for whether there is any mark."""
        scans = {entry.part: SheetScan(styles) for entry in self.sheets if entry.part}
        for key, part in self._parts.items():
            scan = scans.get(key)
            try:
                with self._archive.open(part) as stream:
                    while window := stream.read(_WINDOW):
                        if scan is not None:
                            scan.look(window)
            except (zipfile.BadZipFile, EOFError) as error:
                raise Refused("file_unreadable", f"{part.filename}: CRC") from error
        return scans

    def for_reader(self, content: bytes) -> bytes:
        """The workbook for a reader that goes by names: as it came, or with the usual names."""
        if not self.odd:
            return content
        renamed = {self.workbook: _WORKBOOK, self.relations_part: _WORKBOOK_RELATIONS}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
            for key, part in self._parts.items():
                if key == self.relations_part:
                    lines = "".join(
                        f'<Relationship Id="{name}" Type="{kind}" Target="/{target}"/>'
                        for name, kind, target in self.relations
                    )
                    text = f'<Relationships xmlns="{_RELATIONS_NAMESPACE}">{lines}</Relationships>'
                    written.writestr(_WORKBOOK_RELATIONS, text)
                else:
                    written.writestr(renamed.get(key, key), self._archive.read(part))
        return out.getvalue()


def _key(name: str) -> str:
    """Names of parts compare without case (OPC); the usual ones are written as everybody does."""
    path = name.replace("\\", "/")
    return _USUAL.get(path.lower(), path.lower())


_USUAL: Final = {
    name.lower(): name
    for name in ("xl/sharedStrings.xml", "[Content_Types].xml", "docProps/app.xml")
}


def _checked(archive: zipfile.ZipFile) -> _Package:
    """Size limits from the directory, before anything is unpacked; then what may not be in it."""
    parts = archive.infolist()
    if len(parts) > ZIP_PARTS or sum(part.file_size for part in parts) > ZIP_BYTES:
        raise Refused("file_too_large", "zip")
    for part in parts:
        if part.flag_bits & 1:
            raise Refused("file_encrypted")
        if part.file_size > ZIP_RATIO_FROM and part.file_size > ZIP_RATIO * part.compress_size:
            raise Refused("file_too_large", f"{part.filename}: 1:{ZIP_RATIO}")
    if any(part.filename.lower().endswith("vbaproject.bin") for part in parts):
        raise Refused("file_unreadable", "含宏的工作簿不接受 / workbooks with macros are refused")
    for part in parts:
        if part.filename.lower().endswith((".xml", ".rels")) and _declares(archive, part):
            raise Refused("file_unreadable", "DTD")
    try:
        return _Package(archive)
    except (expat.ExpatError, zipfile.BadZipFile) as error:
        raise Refused("file_unreadable", "文件已损坏 / damaged") from error


def _declares(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Whether a part begins with a DTD: no spreadsheet program writes one."""
    with archive.open(part) as stream:
        start = stream.read(PROLOGUE).replace(b"\0", b"")  # UTF-16 too
    return b"<!DOCTYPE" in start or b"<!ENTITY" in start


def _what_it_is(archive: zipfile.ZipFile) -> str:
    names = {part.filename.lower() for part in archive.infolist()}
    if "mimetype" in names and b"opendocument" in archive.read("mimetype"):
        return (
            "这是 OpenDocument(.ods) 表格；请在表格程序中另存为 .xlsx"
            " / an OpenDocument sheet (.ods); save it as .xlsx"
        )
    if "xl/workbook.bin" in names:
        return "这是 .xlsb 工作簿；请另存为 .xlsx / an .xlsb workbook; save it as .xlsx"
    return _NOT_XLSX

"""certificates import, sync, and their list; what an import shares with that of stock."""

from __future__ import annotations

from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json
from cli.orders import read_file
from cli.runtime import (
    opened,
    print_json,
    print_table,
    tell,
    writable_sheet,
    write_table,
)
from cli.sheet_options import Hidden, SheetName
from models.reads.certificates import CertificateFilter, list_certificates
from models.rules.errors import BadArgument
from models.rules.language import t
from models.rules.numbers import clean
from sheets.questions import Answers
from tasks.stock import imports
from workers.simulated import tell_certificates

File = Annotated[Path, typer.Argument(help=t("表格文件", "spreadsheet"))]
Holders = Annotated[
    list[str] | None,
    typer.Option(
        "--holder", help=t("企业代码，可多次；默认全部已知企业", "USCC; default all known")
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help=t("写成表格 .xlsx / .csv", "write as .xlsx / .csv")),
]
DATE_FORMATS = ["%Y-%m-%d"]


def register(app: typer.Typer) -> None:
    """Add the group `certificates` and the command `sync`."""
    certificates = typer.Typer(
        invoke_without_command=True,
    )
    certificates.callback()(certificates_list)
    certificates.command("import", help=t("导入证书(表格)", "import a sheet"))(certificates_import)
    certificates.command("sync", help=t("从海关取证书清单", "take customs' list"))(
        certificates_sync
    )
    app.add_typer(certificates, name="certificates")
    app.command("sync")(sync)


def certificates_import(
    file: File, sheet: SheetName = None, hidden: Hidden = None, json: Json = False
) -> None:
    """Certificates of origin with exporter, entering enterprise and approval."""
    answers = Answers(sheet=sheet, include_hidden=hidden)
    with opened() as context:
        done, records = imports.import_certificates(context, read_file(file), file.name, answers)
        if context.settings.simulated:
            tell_certificates(context.settings.simulator_folder, records)
    told_imported(
        done, json=json, simulated=context.settings.simulated, what=t("证书", "certificates")
    )


def certificates_sync(holder: Holders = None, json: Json = False) -> None:
    """Certificates as customs lists them."""
    with opened() as context:
        if holder:
            done = imports.sync_certificates(context, holder)
        else:
            done = imports.sync_known_certificates(context)
    told_imported(done, json=json, simulated=False, what=t("证书", "certificates"))


def sync(json: Json = False) -> None:
    """Certificates and stock of all enterprises that are known, until nothing new appears."""
    with opened() as context:
        done = imports.sync(context)
    if json:
        print_json(
            {
                "enterprises": done.enterprises,
                "certificates": {"new": done.certificates.new, "known": done.certificates.known},
                "forms": {"new": done.forms.new, "known": done.forms.known},
            }
        )
        return
    tell(t(f"企业: {done.enterprises} 家", f"{done.enterprises} enterprises"))
    for what, part in (
        (t("证书", "certificates"), done.certificates),
        (t("空白证单", "forms"), done.forms),
    ):
        told_imported(part, json=False, simulated=False, what=what)


def told_imported(done: imports.Imported, *, json: bool, simulated: bool, what: str) -> None:
    """Say what an import did."""
    if json:
        print_json({"new": done.new, "known": done.known})
        return
    tell(
        t(
            f"{what}: 新增 {done.new}，已有 {done.known}",
            f"{what}: {done.new} new, {done.known} known",
        )
    )
    if simulated:
        tell(t("(已同时告知模拟海关)", "(the simulator of customs was told too)"))


def certificates_list(
    context: typer.Context,
    number: Annotated[str | None, typer.Option(help=t("证书号", "number"))] = None,
    kind: Annotated[str | None, typer.Option("--type", help=t("证书类型", "type"))] = None,
    approved_from: Annotated[
        datetime | None, typer.Option(formats=DATE_FORMATS, help=t("审核起始日期", "first day"))
    ] = None,
    approved_to: Annotated[
        datetime | None, typer.Option(formats=DATE_FORMATS, help=t("审核截止日期", "last day"))
    ] = None,
    limit: Annotated[int, typer.Option(min=1)] = 200,
    output: Output = None,
    json: Json = False,
) -> None:
    """证书查询: all types unless filtered."""
    if context.invoked_subcommand is not None:
        return
    first, last = day(approved_from), day(approved_to)
    if first and last and first > last:
        raise BadArgument(
            detail=t("审核起始日期晚于截止日期", "approved-from is after approved-to")
        )
    with opened() as opened_context, opened_context.database.read() as session:
        wanted = CertificateFilter(
            clean(number).upper() if number else None,
            clean(kind).upper() if kind else None,
            first,
            last,
        )
        found = list(list_certificates(session, wanted, limit))
    if json:
        print_json({"certificates": found})
        return
    if output is not None:
        writable_sheet(output)
    show = print_table if output is None else partial(write_table, output)
    show(
        (t("证书号", "certificate"), t("类型", "type"), t("出口商", "exporter"),
         t("录入企业", "entered by"), t("审核日期", "approved"), t("页数", "pages"),
         t("状态", "status"), t("空白证单", "forms")),
        (
            (c["certificate"], c["type"], c["exporter"], c["agent"], c["approved_on"], c["pages"],
             c["status"], c["forms"])
            for c in found
        ),
    )  # fmt: skip


def day(moment: datetime | None) -> date | None:
    """A day from an option."""
    return moment.date() if moment else None

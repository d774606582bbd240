"""A spreadsheet that comes with a call. The server has put it on the disk already where it is large."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from flask import Request

from models.rules.errors import BadArgument
from models.rules.language import t

_NAME_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class Upload:
    """The bytes of a file and the name that it came under."""

    name: str
    content: bytes
    sha256: str

    def __repr__(self) -> str:
        return f"Upload({self.name!r}, {len(self.content)} bytes)"


def upload_of(request: Request) -> Upload:
    """The part `file` of a form; what kind of file it is, is seen when it is read. Raises `BadArgument`."""
    part = request.files.get("file")
    if part is None or not part.filename:
        raise BadArgument(detail=t("表单里缺少文件 file", "the form has no part named file"))
    name = PurePosixPath(part.filename.replace("\\", "/")).name[-_NAME_LENGTH:].replace("\0", "")
    content = part.stream.read()
    return Upload(name, content, hashlib.sha256(content).hexdigest())

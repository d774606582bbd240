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


def parts_of(request: Request) -> tuple[Upload, bytes]:
    """The parts of a form: one `file`, and what goes with it as `job`, a field or a file; "{}" when it is left out.

    What kind of file it is, is seen when it is read. Raises `BadArgument` for any other part: nothing that was
    sent is left out in silence.
    """
    files, jobs = request.files.getlist("file"), request.files.getlist("job")
    fields = request.form.getlist("job")
    others = {*request.files, *request.form} - {"file", "job"}
    if len(files) != 1 or not files[0].filename or len(jobs) + len(fields) > 1 or others:
        raise BadArgument(
            detail=t(
                "表单须有一个文件 file，可另有一个 job，不得有其他",
                "a form has one part named file, at most one named job, and no other",
            )
        )
    name = PurePosixPath(files[0].filename.replace("\\", "/")).name[-_NAME_LENGTH:]
    content = files[0].stream.read()
    said = jobs[0].stream.read() if jobs else "".join(fields).encode("utf-8", "surrogatepass")
    kept = "".join(c for c in name if c.isprintable()) or "file"
    return Upload(kept, content, hashlib.sha256(content).hexdigest()), said or b"{}"

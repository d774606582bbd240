"""The submitter with a signer as slow as a real card; notes when it was busy in `card-times`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from config.names import Queue
from config.settings import Settings
from customs.signing.signer import Signer
from workers import bootstrap, process

_open = bootstrap.open_signer


class PacedSigner:
    """Another signer, at most so many a minute."""

    def __init__(self, signer: Signer, folder: Path) -> None:
        self._signer = signer
        self._seconds = 60 / int(os.environ["BENCH_PER_MINUTE"])
        self._log = (folder / "card-times").open("a", buffering=1)

    def sign(self, data: bytes) -> bytes:
        began = time.time()
        signature = self._signer.sign(data)
        time.sleep(max(0.0, began + self._seconds - time.time()))
        self._log.write(f"{began} {time.time()}\n")
        return signature

    def certificate_der(self) -> bytes:
        return self._signer.certificate_der()

    def examine(self) -> None:
        self._signer.examine()

    def close(self) -> None:
        self._signer.close()


def _paced(settings: Settings) -> Signer:
    return PacedSigner(_open(settings), settings.blankforms_home)


bootstrap.open_signer = _paced
app = process.celery_process("submitter", Queue.SIGNING)

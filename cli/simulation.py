"""Running the simulator of customs with the settings of this deployment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cli.orders import read_file
from config.errors import ConfigurationError
from config.settings import Settings
from customs.signing.keyfile import certificate_file, ensure_key_file
from customs.simulator.app import run
from customs.simulator.customs import SimulatorSettings
from customs.simulator.faults import load_script
from customs.simulator.ledger import Ledger
from models.rules.serials import serials_between
from sheets.imports import ISSUED_TOGETHER, read_certificates, read_stock
from tasks.home import prepare_home


def run_simulator(
    settings: Settings,
    stock: Sequence[Path],
    certificates: Sequence[Path],
    trust: Sequence[Path],
    faults: Path | None,
) -> None:
    """Load what customs shall know, then serve on loopback until told to stop."""
    prepare_home(settings)
    limit = settings.upload_max_mb << 20
    ledger = Ledger(settings.simulator_folder / "ledger.db")
    for path in stock:
        ledger.issue(
            (serial, r.form_type, r.owner, r.issued_on)
            for r in read_stock(read_file(path), path.name, limit)
            for serial in serials_between(r.first_serial, r.last_serial, ISSUED_TOGETHER)
        )
    for path in certificates:
        ledger.approve(
            (r.number, r.type, r.exporter, r.agent, r.approved_on and r.approved_on.isoformat(),
             r.pages, r.status)
            for r in read_certificates(read_file(path), path.name, limit)
        )  # fmt: skip
    ensure_key_file(settings.key_folder, settings.sender)
    trusted = [certificate_file(settings.key_folder), *trust]
    secrets = settings.secrets_of_callbacks
    if not secrets:
        raise ConfigurationError("CALLBACK_SECRETS: the simulator signs its callbacks with it")
    run(
        SimulatorSettings(
            folder=settings.simulator_folder,
            trusted=[_der(read_file(path)) for path in trusted],
            token=settings.gateway_token,
            delay_seconds=settings.simulator_delay_seconds,
            answer_seconds=settings.simulator_answer_seconds,
            callback_url=f"http://127.0.0.1:{settings.port}/callbacks/customs",
            callback_secret=secrets[0],
        ),
        load_script(faults or settings.simulator_faults),
        "127.0.0.1",
        settings.simulator_port,
    )


def _der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

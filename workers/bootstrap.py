"""The composition root: settings -> context, in the process that does the work, after any fork."""

from __future__ import annotations

import gc
from typing import Any

from config.settings import Settings
from customs.gateway import CustomsGateway
from customs.profile import open_profile
from customs.signing.keyfile import KeyFileSigner
from customs.signing.signer import Signer
from customs.wire import WireProfile
from models.tables.database import Database
from net.addresses import read_networks
from net.notifier import Notifier
from tasks.app import ring
from tasks.context import Context
from tasks.opening import open_database


def build_context(settings: Settings, *, identified: bool = True) -> Context:
    """The outside world of a command, by its settings. Opens nothing but the database; raises as that."""
    return context_with(settings, open_database(settings, identified=identified))


def context_with(settings: Settings, database: Database) -> Context:
    """The outside world of a process that has its database."""

    def gateway() -> CustomsGateway:
        from customs.http import HttpGateway  # a command that asks nothing starts faster without

        return HttpGateway(
            open_profile(settings.wire_profile),
            settings.gateway_url,
            settings.gateway_token,
            settings.send_concurrency,
            settings.send_deadline_seconds,
        )

    def notifier() -> Notifier:
        from net.notifier_http import HttpNotifier

        return HttpNotifier(read_networks(settings.notify_networks))

    gc.freeze()  # what the imports made lives as long as the process: no collection walks it again

    def wire() -> WireProfile:
        return open_profile(settings.wire_profile)

    def signer() -> Signer:
        return open_signer(settings)

    return Context(settings, database, ring, gateway, signer, notifier, wire)


def open_signer(settings: Settings) -> Signer:
    """The card, or the key file when no card is set."""
    if settings.pkcs11_module is None:
        return KeyFileSigner(settings.key_folder, settings.sender)
    from customs.signing.pkcs11 import Pkcs11Signer

    return Pkcs11Signer(token_settings(settings), settings.key_folder)


def token_settings(settings: Settings) -> Any:
    """Which token and key the settings name."""
    from customs.signing.token import TokenSettings

    if settings.pkcs11_module is None:
        raise ValueError("no PKCS11_MODULE")
    return TokenSettings(
        module=settings.pkcs11_module,
        token_label=settings.pkcs11_token_label,
        key_label=settings.pkcs11_key_label,
        read_pin=settings.read_pin,
        enterprise=settings.sender,
        profile=settings.signature_profile,
        vendor_mechanism=settings.signature_mechanism,
        token_serial=settings.pkcs11_token_serial,
        key_id=settings.pkcs11_key_id,
        certificate_serial=settings.pkcs11_certificate_serial,
    )

"""The port to the card: bytes in, signature out."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """A key that signs, and the certificate that goes with it.

    Opens its key at the first use, in the process that uses it. `sign` may be called from several
    threads; the signer lets one through at a time.
    """

    def sign(self, data: bytes) -> bytes:
        """Signature over `data` (hashed by the mechanism) in the shape of its profile.

        Raises `SigningError` when the card is not there now (try again later), `PinRefused` and
        `CardFault` when a person must act first.
        """

    def examine(self) -> None:
        """Look at token, key and certificate as when they are opened, without another login.

        Safe to call again. Raises as `sign`.
        """

    def certificate_der(self) -> bytes:
        """The signing certificate. Raises as `sign`."""

    def close(self) -> None:
        """Log out and let go; the next `sign` opens again."""

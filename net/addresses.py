"""Which addresses a stranger's URL may lead to. Pure: standard library alone.

The check is on the address that is connected to, not on the name or the spelling in the URL: a decimal
or octal address, a name that resolves to loopback, or that changes its answer, all end here.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

_NAT64: Final = ip_network("64:ff9b::/96")
_LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")
"""Within it an operator chooses the length of the prefix (RFC 8215), and the IPv4 address stands at one of
four places (RFC 6052): bytes 6-7 and 9-10, 7 and 9-11, 9-12, or the last four."""

_EMBEDDED: Final = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
_COMPATIBLE: Final = ip_network("::/96")
_SPECIAL: Final = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "3fff::/20"))
)
"""Special addresses that Python 3.11 takes for global; clouds answer with secrets at one of them."""


def read_networks(text: str) -> list[Network]:
    """Networks separated by blanks, as `10.0.0.0/8 127.0.0.1`. Raises ValueError."""
    return [ip_network(part, strict=False) for part in text.split()]


def is_within(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a numeric address is in one of these networks; an IPv4 one inside IPv6 counts as itself."""
    try:
        real = _unwrapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    return all(any(one in network for network in allowed) for one in real)


def is_allowed(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a notification may be sent to this numeric address.

    Public addresses may; any other (private, loopback, link-local, carrier, multicast, reserved) only
    when a network of `allowed` has it. An IPv4 address inside an IPv6 one counts as itself; where it may
    stand at several places, each that is there must be allowed.
    """
    try:
        real = _unwrapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    return all(_may_be_told(one, allowed) for one in real)


def _may_be_told(address: IPv4Address | IPv6Address, allowed: Sequence[Network]) -> bool:
    if any(address in network for network in allowed):
        return True
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _unwrapped(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address that is meant; several where it cannot be told which."""
    if isinstance(address, IPv4Address):
        return [address]
    if address in _LOCAL_NAT64:
        inside = [IPv4Address(bytes(address.packed[i] for i in at)) for at in _EMBEDDED]
        return [one for one in inside if int(one)] or [address]
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is None and (address in _NAT64 or address in _COMPATIBLE):
        packed = IPv4Address(int(address) & 0xFFFFFFFF)
        inner = packed if int(address) > 1 else None  # :: and ::1 are themselves
    return [inner or address]

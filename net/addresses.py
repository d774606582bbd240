"""Which addresses a stranger's URL may lead to. Pure: standard library alone.

The check is on the address that is connected to, not on the name or the spelling in the URL: a decimal
or octal address, a name that resolves to loopback, or that changes its answer, all end here.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
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
    return any(real in network for network in allowed)


def is_allowed(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a notification may be sent to this numeric address.

    Public addresses may; any other (private, loopback, link-local, carrier, multicast, reserved) only
    when a network of `allowed` has it. An IPv4 address inside an IPv6 one counts as itself.
    """
    try:
        real = _unwrapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    if is_within(address, allowed):
        return True
    if any(real in network for network in _SPECIAL):
        return False
    return real.is_global and not real.is_multicast and not real.is_reserved


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is None and any(address in network for network in (*_NAT64, _COMPATIBLE)):
        packed = IPv4Address(int(address) & 0xFFFFFFFF)
        inner = packed if int(address) > 1 else None  # :: and ::1 are themselves
    return inner or address

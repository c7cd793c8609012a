"""Which network addresses a source may be fetched from (``spec/sources.md`` §5).

``effective_addresses`` unwraps what an IPv6 address carries of IPv4; ``check_address`` says whether a connection may
be made to it. The list of what is not public is closed and stands here, because what the standard library calls global
has changed between its versions and an answer must not.

Not covered: resolving names, and connecting to exactly the address that was checked (``adapters/fetch_https.py``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from holdfast.errors import MalformedError, RefusedError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_CLOSED_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
"""IANA's special-purpose IPv4 blocks (RFC 6890 and its registry), multicast and the reserved class E."""
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")
"""Global unicast: what is outside of it is never public."""
_CLOSED_V6 = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)
"""Special-purpose blocks inside global unicast: protocol assignments with Teredo, documentation, 6to4, AS112."""
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
"""What a translator turns into IPv4 (RFC 6052, RFC 8215)."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def parse_network(text: object) -> Network:
    """A range in its one spelling, like ``10.0.0.0/8``; raises ``sources.address``."""
    try:
        found = ipaddress.ip_network(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    if found is None or str(found) != text:
        raise MalformedError("sources.address", "a range is an address and a prefix length, like 10.0.0.0/8")
    return found


def parse_address(text: str) -> Address | None:
    """An address literal, or None for a name. A scope id (``%eth0``) makes it none."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def effective_addresses(address: Address) -> tuple[Address, ...]:
    """The address and the IPv4 address that a host or a translator on the way would make of it."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    carried: list[Address] = [address]
    number = int(address)
    if any(address in block for block in (*_NAT64, _MAPPED, _COMPATIBLE)):
        carried.append(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    if address.sixtofour is not None:
        carried.append(address.sixtofour)
    if address.teredo is not None:
        carried += address.teredo
    return tuple(carried)


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, however it is written."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in block for block in _CLOSED_V4)
    return address in _OPEN_V6 and not any(address in block for block in _CLOSED_V6)


def check_address(address: Address, ranges: Sequence[Network]) -> None:
    """Whether a source with these ranges may be reached at an address; raises ``source.address``.

    Without ranges only public addresses are good; with ranges exactly what they contain is. An IPv6 address that
    carries an IPv4 address counts as that one too, and is good only where both are.
    """
    for found in effective_addresses(address):
        if ranges and any(found in block for block in ranges if block.version == found.version):
            continue
        if not ranges and is_public(found):
            continue
        if _is_wrapper(found, address):
            continue
        raise RefusedError(
            "source.address",
            f"{address} is not an address that this source may be reached at",
            hint="private ranges have to be named in the source's definition, in addresses",
            status=502,
        )


def _is_wrapper(found: Address, address: Address) -> bool:
    """An IPv4-mapped address is the IPv4 address and nothing of its own."""
    return found is address and isinstance(address, ipaddress.IPv6Address) and address in _MAPPED

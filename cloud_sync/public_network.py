"""Only addresses of the public internet: a webhook must not reach into the store's network (SSRF).

A name is looked up once per connection and the connection goes to the address that was checked, so
a name that answers differently the second time (DNS rebinding) gains nothing. One private address
among a name's answers is enough to refuse them all.
"""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

LOCAL_NAMES = (".localhost", ".local", ".internal", ".home.arpa")  # RFC 6761, 6762, 8375


class PrivateAddress(OSError):  # noqa: N818 - what it is; an OSError, as any failed look-up
    """A name led to an address that is not public."""


def blocked(host: str) -> bool:
    """Whether a host as written in an address is private, whatever a look-up says."""
    name = f".{host.lower().rstrip('.')}"
    if name.endswith(LOCAL_NAMES):
        return True
    try:
        return not _public(host)
    except ValueError:
        return _looks_numeric(host)


class PublicResolver(AbstractResolver):
    """Looks names up as usual and refuses answers that are not public."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises PrivateAddress."""
        found = await self._inner.resolve(host, port, family)
        if blocked(host) or not all(_public(one["host"]) for one in found):
            raise PrivateAddress(f"{host} leads to a private address")
        return found

    async def close(self) -> None:
        await self._inner.close()


def _public(text: str) -> bool:
    """Raises ValueError where the text is no IP address."""
    at = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    if isinstance(at, ipaddress.IPv6Address):
        inner = at.ipv4_mapped or at.sixtofour or (at.teredo or (None, None))[1]
        if inner is not None:
            return _public(str(inner))
        if any(at in network for network in WITH_IPV4):
            return _public(str(ipaddress.IPv4Address(int(at) & 0xFFFF_FFFF)))
        if at in LOCAL_NAT64:
            return False
    return at.is_global and not at.is_multicast


WITH_IPV4 = (  # an IPv4 address in their last 32 bits
    ipaddress.ip_network("64:ff9b::/96"),  # RFC 6052, NAT64
    ipaddress.ip_network("::/96"),  # RFC 4291, "compatible"; some stacks still route it
    ipaddress.ip_network("::ffff:0:0:0/96"),  # RFC 2765, "translated"
)
LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215: the IPv4 address may be anywhere


def _looks_numeric(host: str) -> bool:
    """127.1, 2130706433, 0x7f.1, 017700000001: some C libraries take these for IPv4."""
    parts = host.lower().rstrip(".").split(".")
    return all(p.isdigit() or p.startswith("0x") for p in parts)

"""Where a webhook may be sent: never to an address inside the court's own network.

An URL is somebody else's word. Its host is resolved once, every address found must be public, and
the connection goes to an address that was looked at, so that a name which resolves differently a
moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from contractcourt.errors import ContractCourtError
from tasks.beside import beside

#: Below 1024 only the web's own; there stand most services that must not be talked to.
_WEB_PORTS = frozenset({80, 443})
_FIRST_FREE_PORT = 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}
#: For who sets no limit.
_LONGEST_SECONDS = 60.0
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class DestinationRefused(ContractCourtError):
    """A webhook must not be sent there; the message says why and what would be allowed."""


@dataclass(frozen=True, slots=True)
class Destination:
    """An URL that was looked at, host and port apart."""

    url: str
    host: str
    port: int


def destination(url: str, *, allow_private: bool) -> Destination:
    """Read an URL that webhooks shall go to. Resolves nothing.

    Raises:
        DestinationRefused: another scheme than http and https, a user name, no host name, letters
            that HTTP does not carry, a port of another service, or an address inside the network.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DestinationRefused(f"this is not an URL: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise DestinationRefused("webhooks go to an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise DestinationRefused("an URL for webhooks has no user name: they are signed")
    _refuse_no_name(url, parts.hostname)
    if port is None:
        port = _DEFAULT_PORTS[parts.scheme]
    if not allow_private:
        _refuse_port(port)
        address = _literal(parts.hostname)
        if address is not None and not is_public(address):
            raise _inside(parts.hostname)
    return Destination(url, parts.hostname, port)


def resolve(
    host: str, port: int, *, allow_private: bool, seconds: float = _LONGEST_SECONDS
) -> list[str]:
    """The addresses of `host`, each of them allowed.

    Raises:
        DestinationRefused: one of them lies inside the network.
        OSError: the name does not resolve, or not within `seconds`.
    """
    addresses = _look_up(host, port, seconds)
    if not allow_private:
        for address in addresses:
            literal = _literal(address)
            if literal is None or not is_public(literal):
                raise _inside(host)
    return addresses


def is_public(address: _Address) -> bool:
    """Anybody on the Internet may be reached there. Looks into addresses that hold another one."""
    if isinstance(address, ipaddress.IPv6Address):
        held = address.ipv4_mapped or address.sixtofour
        if held is None and address in _NAT64:
            held = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if held is not None:
            return is_public(held)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class GuardedNetwork(httpcore2.NetworkBackend):
    """Connects to addresses that were looked at, and nowhere else."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._network = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Resolve once, look at all, connect to the first that takes us: in `timeout` for all.

        Each address has its share of what is left, so that one that says nothing hides no other.
        """
        seconds = _LONGEST_SECONDS if timeout is None else timeout
        ends_at = time.monotonic() + seconds
        try:
            addresses = resolve(host, port, allow_private=self._allow_private, seconds=seconds)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} does not resolve: {error}") from error
        refused: Exception | None = None
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = (ends_at - time.monotonic()) / untried
            if share <= 0:
                break
            try:
                return self._network.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                refused = error
        raise refused or httpcore2.ConnectError(f"{host} has no address")


def _look_up(host: str, port: int, seconds: float) -> list[str]:
    """By the system's resolver, which can't be interrupted and may take minutes."""
    found = beside(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), "resolver")
    try:
        entries = found.result(timeout=seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _refuse_no_name(url: str, host: str) -> None:
    """What neither the resolver nor HTTP takes: they would raise at every letter."""
    if not url.isascii() or " " in url.lstrip():
        raise DestinationRefused(
            "an URL for webhooks is ASCII without blanks: write the host as xn--..., the rest as "
            "%XX"
        )
    try:
        host.encode("idna")
    except UnicodeError:
        raise DestinationRefused(
            f"{host} is no host name: between its dots stand 1 to 63 characters"
        ) from None


def _refuse_port(port: int) -> None:
    if port not in _WEB_PORTS and port < _FIRST_FREE_PORT:
        raise DestinationRefused(
            f"port {port} belongs to another service: webhooks go to 80, 443, or from 1024 on"
        )


def _inside(host: str) -> DestinationRefused:
    return DestinationRefused(
        f"{host} is an address inside the network: webhooks go to public addresses, unless "
        "CONTRACTCOURT_ALLOW_PRIVATE_WEBHOOKS is set"
    )

"""Addresses that were told: one that no client could read is refused at the start, by its name.

A client says so later, where a task or a command is half done, and quotes the address with its
password.
"""

from __future__ import annotations

from urllib.parse import urlsplit

_ESCAPED = "with %40 for a @, %2F for a / and so on in user and password"


def of(url: str | None, *schemes: str) -> str | None:
    """`url` as it is. Raises ValueError, without showing it, unless it is one of these schemes'."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        fits = parts.scheme in schemes and parts.netloc != "" and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        begins = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"must be {begins}user:password@host:port, {_ESCAPED}")
    return url


def of_postgres(url: str | None) -> str | None:
    """`url` as it is. Raises ValueError, without showing it, unless libpq can read it."""
    # Here and not above: beat and Flower have no use for it.
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if url is None:
        return None
    try:
        ports = str(conninfo_to_dict(url).get("port") or "")
        fits = all(port.isdecimal() for port in ports.split(",") if port)
    except ProgrammingError:
        fits = False
    if not fits:
        raise ValueError(f"must be postgresql://user:password@host:port/database, {_ESCAPED}")
    return url

"""What each node signs its webhooks with, and the court the ones it sends back.

Sealed: the database alone does not give them. Rows of before that hold a plain one are still read,
until `seal_plain` has been there.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable

from storage.database import Connection
from storage.errors import UnknownNode
from storage.seal import Seal

#: Standard Webhooks: 24 to 64 random bytes.
SECRET_BYTES = 32

INSERT = "INSERT INTO node_secrets (node, sealed) VALUES (%(node)s, %(sealed)s)"
EXPIRE = """
    UPDATE node_secrets
    SET expires_at = clock_timestamp() + make_interval(secs => %(overlap_seconds)s)
    WHERE node = %(node)s AND expires_at IS NULL
"""
IS_VALID = "(expires_at IS NULL OR expires_at > clock_timestamp())"
VALID = f"""
    SELECT secret, sealed FROM node_secrets WHERE node = %(node)s AND {IS_VALID} ORDER BY id DESC
"""
PLAIN = "SELECT id, node, secret FROM node_secrets WHERE secret IS NOT NULL FOR UPDATE"
SEAL = "UPDATE node_secrets SET secret = NULL, sealed = %(sealed)s WHERE id = %(id)s"
COUNTS = f"SELECT node, count(*) FROM node_secrets WHERE {IS_VALID} GROUP BY node"


def issue(conn: Connection, seal: Seal, node: str) -> str:
    """A registered node's first webhook secret, which is shown this once."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    conn.execute(INSERT, {"node": node, "sealed": seal.close(_record(node), secret.encode())})
    return secret


def rotate(conn: Connection, seal: Seal, node: str, overlap_seconds: float) -> str:
    """A new webhook secret; the present one stays valid for `overlap_seconds` more.

    Raises:
        UnknownNode: no node of this name has one.
    """
    expired = conn.execute(EXPIRE, {"node": node, "overlap_seconds": overlap_seconds})
    if not expired.rowcount:
        raise UnknownNode(f"no node {node} is registered")
    return issue(conn, seal, node)


def valid(conn: Connection, seal: Seal, node: str) -> tuple[str, ...]:
    """All that are valid now, the newest first.

    Raises:
        WrongSealKey: they were sealed under another key.
    """
    return opened(seal, node, conn.execute(VALID, {"node": node}))


def opened(
    seal: Seal, node: str, rows: Iterable[tuple[str | None, bytes | None]]
) -> tuple[str, ...]:
    """The secrets of a node's rows, each of which holds a plain one or a sealed one.

    Raises:
        WrongSealKey: they were sealed under another key.
    """
    return tuple(_opened(seal, node, plain, sealed) for plain, sealed in rows)


def seal_plain(conn: Connection, seal: Seal) -> int:
    """Seal what an earlier version stored in plain text; how many there were."""
    found = conn.execute(PLAIN).fetchall()
    for row_id, node, plain in found:
        sealed = seal.close(_record(node), plain.encode())
        conn.execute(SEAL, {"id": row_id, "sealed": sealed})
    return len(found)


def counts(conn: Connection) -> dict[str, int]:
    """How many are valid now, by node."""
    return {str(node): int(count) for node, count in conn.execute(COUNTS)}


def _opened(seal: Seal, node: str, plain: str | None, sealed: bytes | None) -> str:
    if plain is not None:
        return plain
    assert sealed is not None  # so says the table
    return seal.open(_record(node), sealed).decode()


def _record(node: str) -> str:
    """A secret moved to another node does not open there."""
    return f"webhook_secret/{node}"

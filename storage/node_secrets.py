"""What each node signs its webhooks with, and the court the ones it sends back."""

from __future__ import annotations

import base64
import secrets

from storage.database import Connection
from storage.errors import UnknownNode

#: Standard Webhooks: 24 to 64 random bytes.
SECRET_BYTES = 32

INSERT = "INSERT INTO node_secrets (node, secret) VALUES (%(node)s, %(secret)s)"
EXPIRE = """
    UPDATE node_secrets
    SET expires_at = clock_timestamp() + make_interval(secs => %(overlap_seconds)s)
    WHERE node = %(node)s AND expires_at IS NULL
"""
_VALID = "(expires_at IS NULL OR expires_at > clock_timestamp())"
VALID = f"SELECT secret FROM node_secrets WHERE node = %(node)s AND {_VALID} ORDER BY id DESC"
COUNTS = f"SELECT node, count(*) FROM node_secrets WHERE {_VALID} GROUP BY node"


def issue(conn: Connection, node: str) -> str:
    """A registered node's first webhook secret, which is shown this once."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    conn.execute(INSERT, {"node": node, "secret": secret})
    return secret


def rotate(conn: Connection, node: str, overlap_seconds: float) -> str:
    """A new webhook secret; the present one stays valid for `overlap_seconds` more.

    Raises:
        UnknownNode: no node of this name has one.
    """
    expired = conn.execute(EXPIRE, {"node": node, "overlap_seconds": overlap_seconds})
    if not expired.rowcount:
        raise UnknownNode(f"no node {node} is registered")
    return issue(conn, node)


def valid(conn: Connection, node: str) -> tuple[str, ...]:
    """All that are valid now, the newest first."""
    return tuple(row[0] for row in conn.execute(VALID, {"node": node}))


def counts(conn: Connection) -> dict[str, int]:
    """How many are valid now, by node."""
    return {str(node): int(count) for node, count in conn.execute(COUNTS)}

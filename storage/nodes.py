"""The nodes the court works for, where their money may go, and their webhook secrets."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import args_row

from contractcourt.codec import decode, encode
from contractcourt.policy import Policy
from contractcourt.units import Script
from storage.database import Connection
from storage.errors import NodeExists, UnknownNode

#: Standard Webhooks: 24 to 64 random bytes.
SECRET_BYTES = 32

INSERT_NODE = """
    INSERT INTO nodes (name, sweep_scripts, webhook_url)
    VALUES (%(name)s, %(sweep_scripts)s, %(webhook_url)s)
    ON CONFLICT (name) DO NOTHING
"""
INSERT_SECRET = "INSERT INTO node_secrets (node, secret) VALUES (%(node)s, %(secret)s)"
EXPIRE_SECRETS = """
    UPDATE node_secrets
    SET expires_at = clock_timestamp() + make_interval(secs => %(overlap_seconds)s)
    WHERE node = %(node)s AND expires_at IS NULL
"""
SET_POLICY = "UPDATE nodes SET policy = %(policy)s WHERE name = %(name)s"
SELECT_NODES = """
    SELECT n.name, n.sweep_scripts, n.webhook_url, n.created_at, n.policy,
           ARRAY(SELECT s.secret FROM node_secrets AS s
                 WHERE s.node = n.name
                   AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
                 ORDER BY s.id DESC) AS secrets
    FROM nodes AS n
    WHERE %(name)s::text IS NULL OR n.name = %(name)s
    ORDER BY n.name
"""


@dataclass(frozen=True, slots=True)
class Node:
    """One registered node. `secrets` are all that are valid now, the newest first.

    `policy` is None until its operator chose one.
    """

    name: str
    sweep_scripts: tuple[Script, ...]
    webhook_url: str | None
    secrets: tuple[str, ...]
    created_at: datetime
    policy: Policy | None


def add_node(
    conn: Connection, name: str, sweep_scripts: Sequence[Script], webhook_url: str | None = None
) -> str:
    """Register a node and answer its webhook secret, which is shown this once.

    Raises:
        NodeExists: the name is taken.
    """
    inserted = conn.execute(
        INSERT_NODE,
        {"name": name, "sweep_scripts": list(sweep_scripts), "webhook_url": webhook_url},
    )
    if not inserted.rowcount:
        raise NodeExists(f"node {name} is registered already")
    return _add_secret(conn, name)


def get_node(conn: Connection, name: str) -> Node | None:
    """The node of this name with its valid secrets."""
    with conn.cursor(row_factory=args_row(_node)) as cursor:
        return cursor.execute(SELECT_NODES, {"name": name}).fetchone()


def list_nodes(conn: Connection) -> list[Node]:
    """All nodes by name."""
    with conn.cursor(row_factory=args_row(_node)) as cursor:
        return cursor.execute(SELECT_NODES, {"name": None}).fetchall()


def rotate_secret(conn: Connection, name: str, overlap_seconds: float) -> str:
    """A new webhook secret; the present one stays valid for `overlap_seconds` more.

    Raises:
        UnknownNode: no node of this name.
    """
    expired = conn.execute(EXPIRE_SECRETS, {"node": name, "overlap_seconds": overlap_seconds})
    if not expired.rowcount:
        raise UnknownNode(f"no node {name} is registered")
    return _add_secret(conn, name)


def set_policy(conn: Connection, name: str, policy: Policy) -> None:
    """What the node's channels are opened with from now on.

    Raises:
        UnknownNode: no node of this name.
    """
    facts = {"name": name, "policy": encode(policy).decode()}
    if not conn.execute(SET_POLICY, facts).rowcount:
        raise UnknownNode(f"no node {name} is registered")


def _add_secret(conn: Connection, name: str) -> str:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    conn.execute(INSERT_SECRET, {"node": name, "secret": secret})
    return secret


def _node(
    name: str,
    sweep_scripts: list[bytes],
    webhook_url: str | None,
    created_at: datetime,
    policy: str | None,
    valid_secrets: list[str],
) -> Node:
    return Node(
        name=name,
        sweep_scripts=tuple(Script(script) for script in sweep_scripts),
        webhook_url=webhook_url,
        secrets=tuple(valid_secrets),
        created_at=created_at,
        policy=None if policy is None else decode(policy, Policy),
    )

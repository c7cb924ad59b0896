"""The nodes the court works for, and where their money may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import args_row

from contractcourt.codec import decode, encode
from contractcourt.policy import Policy
from contractcourt.units import Script
from storage.database import Connection
from storage.errors import NodeExists, UnknownNode

INSERT_NODE = """
    INSERT INTO nodes (name, sweep_scripts, webhook_url)
    VALUES (%(name)s, %(sweep_scripts)s, %(webhook_url)s)
    ON CONFLICT (name) DO NOTHING
"""
SET_POLICY = "UPDATE nodes SET policy = %(policy)s WHERE name = %(name)s"
KEEP_POLICY = """
    SELECT true FROM nodes WHERE name = %(name)s AND policy = %(policy)s FOR SHARE
"""
#: No row when it is so already.
SET_WEBHOOK_URL = """
    UPDATE nodes SET webhook_url = %(url)s
    WHERE name = %(name)s AND webhook_url IS DISTINCT FROM %(url)s::text
"""
SELECT_NODES = """
    SELECT n.name, n.sweep_scripts, n.webhook_url, n.created_at, n.policy
    FROM nodes AS n
    WHERE %(name)s::text IS NULL OR n.name = %(name)s
    ORDER BY n.name
"""


@dataclass(frozen=True, slots=True)
class Node:
    """One registered node. `policy` is None until its operator chose one."""

    name: str
    sweep_scripts: tuple[Script, ...]
    webhook_url: str | None
    created_at: datetime
    policy: Policy | None


def add_node(
    conn: Connection, name: str, sweep_scripts: Sequence[Script], webhook_url: str | None = None
) -> None:
    """Register a node. Its webhook secret is issued by `node_secrets`.

    Raises:
        NodeExists: the name is taken.
    """
    inserted = conn.execute(
        INSERT_NODE,
        {"name": name, "sweep_scripts": list(sweep_scripts), "webhook_url": webhook_url},
    )
    if not inserted.rowcount:
        raise NodeExists(f"node {name} is registered already")


def get_node(conn: Connection, name: str) -> Node | None:
    """The node of this name."""
    with conn.cursor(row_factory=args_row(node_row)) as cursor:
        return cursor.execute(SELECT_NODES, {"name": name}).fetchone()


def list_nodes(conn: Connection) -> list[Node]:
    """All nodes by name."""
    with conn.cursor(row_factory=args_row(node_row)) as cursor:
        return cursor.execute(SELECT_NODES, {"name": None}).fetchall()


def set_policy(conn: Connection, name: str, policy: Policy) -> None:
    """What the node's channels are opened with from now on.

    Raises:
        UnknownNode: no node of this name.
    """
    facts = {"name": name, "policy": encode(policy).decode()}
    if not conn.execute(SET_POLICY, facts).rowcount:
        raise UnknownNode(f"no node {name} is registered")


def keep_policy(conn: Connection, name: str, policy: Policy) -> bool:
    """Whether it is this one still; then nobody sets another one in this transaction's time."""
    facts = {"name": name, "policy": encode(policy).decode()}
    return conn.execute(KEEP_POLICY, facts).fetchone() is not None


def set_webhook_url(conn: Connection, name: str, url: str | None) -> bool:
    """Where the node takes our webhooks from now on; False when it is so already.

    Raises:
        UnknownNode: no node of this name.
    """
    if get_node(conn, name) is None:
        raise UnknownNode(f"no node {name} is registered")
    return conn.execute(SET_WEBHOOK_URL, {"name": name, "url": url}).rowcount == 1


def node_row(
    name: str,
    sweep_scripts: list[bytes],
    webhook_url: str | None,
    created_at: datetime,
    policy: str | None,
) -> Node:
    """A row of `nodes`."""
    return Node(
        name=name,
        sweep_scripts=tuple(Script(script) for script in sweep_scripts),
        webhook_url=webhook_url,
        created_at=created_at,
        policy=None if policy is None else decode(policy, Policy),
    )

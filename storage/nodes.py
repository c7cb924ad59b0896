"""The nodes the court works for, and where their money may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import args_row

from contractcourt.codec import MalformedRecord, decode, decode_whole, encode
from contractcourt.policy import Policy
from contractcourt.units import Script
from storage import turns
from storage.database import Connection
from storage.errors import NodeExists, UnknownNode, UnreadableRecord

INSERT_NODE = """
    INSERT INTO nodes (name, sweep_scripts, webhook_url)
    VALUES (%(name)s, %(sweep_scripts)s, %(webhook_url)s)
    ON CONFLICT (name) DO NOTHING
"""
SET_POLICY = """
    UPDATE nodes
    SET policy = %(policy)s, policy_told_to = 0, policy_told_at = clock_timestamp()
    WHERE name = %(name)s
"""
LOCK_HALF_TOLD = """
    SELECT policy, policy_told_to FROM nodes
    WHERE name = %(name)s AND policy_told_to IS NOT NULL
    FOR NO KEY UPDATE
"""
NOTE_TOLD = """
    UPDATE nodes SET policy_told_to = %(up_to)s, policy_told_at = clock_timestamp()
    WHERE name = %(name)s
"""
CUT_OFF = """
    SELECT name FROM nodes
    WHERE policy_told_to IS NOT NULL
      AND (policy_told_at <= clock_timestamp() - make_interval(secs => %(seconds)s)
           -- Of before the clock was set back.
           OR policy_told_at > clock_timestamp())
    ORDER BY policy_told_at
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
    """What the node's channels are opened with from now on; none of those there are has heard.

    Whoever opens one meanwhile is waited for.

    Raises:
        UnknownNode: no node of this name.
    """
    turns.take(conn, _policy_of(name))
    facts = {"name": name, "policy": encode(policy).decode()}
    if not conn.execute(SET_POLICY, facts).rowcount:
        raise UnknownNode(f"no node {name} is registered")


def policy_to_open_with(conn: Connection, name: str) -> Policy | None:
    """What its operator chose, if anything. Nobody chooses anew until this transaction ends, so
    whoever does meets the channel that it opens.
    """
    turns.share(conn, _policy_of(name))
    node = get_node(conn, name)
    return None if node is None else node.policy


def lock_half_told(conn: Connection, name: str) -> tuple[Policy, int] | None:
    """The policy and the last channel's id that heard of it; None when all have.

    Raises:
        UnreadableRecord: only a newer version can read it.
    """
    row = conn.execute(LOCK_HALF_TOLD, {"name": name}).fetchone()
    if row is None:
        return None
    try:
        return decode_whole(row[0], Policy), int(row[1])
    except MalformedRecord as error:
        raise UnreadableRecord(f"the policy of {name}: {error}") from error


def note_told(conn: Connection, name: str, up_to: int | None) -> None:
    """The node's channels up to this id have heard of its policy; None: all of them."""
    conn.execute(NOTE_TOLD, {"name": name, "up_to": up_to})


def cut_off(conn: Connection, seconds: float) -> list[str]:
    """Nodes with channels to whom nobody has told its policy for so long."""
    return [row[0] for row in conn.execute(CUT_OFF, {"seconds": seconds})]


def set_webhook_url(conn: Connection, name: str, url: str | None) -> bool:
    """Where the node takes our webhooks from now on; False when it is so already.

    Raises:
        UnknownNode: no node of this name.
    """
    if get_node(conn, name) is None:
        raise UnknownNode(f"no node {name} is registered")
    return conn.execute(SET_WEBHOOK_URL, {"name": name, "url": url}).rowcount == 1


def _policy_of(name: str) -> str:
    return f"policy {name}"


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

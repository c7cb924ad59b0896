"""Who sends a webhook, and what is known of it before it is read: one look for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import args_row

from storage import node_secrets, nodes, receipts
from storage.database import Connection
from storage.nodes import Node
from storage.receipts import Receipt
from storage.seal import Seal

FIND = f"""
    SELECT n.name, n.sweep_scripts, n.webhook_url, n.created_at, n.policy,
           s.plain, s.sealed, r.digest, c.channel_point, r.seq
    FROM nodes AS n
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(secret ORDER BY id DESC), '{{}}') AS plain,
               coalesce(array_agg(sealed ORDER BY id DESC), '{{}}') AS sealed
        FROM node_secrets
        WHERE node = n.name AND {node_secrets.IS_VALID}
    ) AS s
    LEFT JOIN webhook_receipts AS r ON r.node = n.name AND r.message_id = %(message_id)s
    LEFT JOIN channels AS c ON c.id = r.channel_id
    WHERE n.name = %(name)s
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """A node that is said to have sent a message.

    `secrets`: those that are valid now, the newest first; `earlier`: what the message id was used
    for before.
    """

    node: Node
    secrets: tuple[str, ...]
    earlier: Receipt | None


def find(conn: Connection, seal: Seal, name: str, message_id: str) -> Caller | None:
    """The node of this name, its valid secrets, and the first use of the message id.

    Raises:
        WrongSealKey: the secrets were sealed under another key.
    """

    def caller(
        name: str,
        sweep_scripts: list[bytes],
        webhook_url: str | None,
        created_at: datetime,
        policy: str | None,
        plain: list[str | None],
        sealed: list[bytes | None],
        digest: bytes | None,
        channel_point: bytes | None,
        seq: int | None,
    ) -> Caller:
        return Caller(
            nodes.node_row(name, sweep_scripts, webhook_url, created_at, policy),
            node_secrets.opened(seal, name, zip(plain, sealed, strict=True)),
            None if digest is None else receipts.receipt_row(digest, channel_point, seq),
        )

    with conn.cursor(row_factory=args_row(caller)) as cursor:
        return cursor.execute(FIND, {"name": name, "message_id": message_id}).fetchone()

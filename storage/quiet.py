"""Whether a court is at rest, and what it has said: for whoever waits for it from outside."""

from __future__ import annotations

from typing import Any

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.codec import decode
from contractcourt.effects import NotifyNode
from contractcourt.units import BlockHeight
from storage import sweep_rounds
from storage.database import Connection

#: Rows tried in vain are not work in hand: they wait for something else to change. Nobody waits for
#: letters to a node that does not listen: `reconcile` puts them away.
AT_REST = f"""
    SELECT EXISTS (SELECT 1 FROM chain_cursor WHERE height = %(height)s)
       AND NOT EXISTS (SELECT 1 FROM unapplied)
       AND NOT EXISTS (SELECT 1 FROM sweep_rounds AS r WHERE {sweep_rounds.DUE})
       AND NOT EXISTS (
           SELECT 1
           FROM outbox AS o
           LEFT JOIN nodes AS n ON n.name = o.endpoint
           WHERE o.sent_at IS NULL AND o.attempts = 0 AND o.kind <> 'notify_operator'
             AND (o.kind <> 'notify_node' OR n.webhook_url IS NOT NULL))
       AND NOT EXISTS (SELECT 1 FROM deadlines WHERE height <= %(height)s)
       AND NOT EXISTS (SELECT 1 FROM watches WHERE NOT looked_back AND removed_at IS NULL)
       AND NOT EXISTS (
           SELECT 1
           FROM chain_cursor AS k
           JOIN blocks AS tip ON tip.hash = k.hash
           JOIN broadcasts AS b ON b.state = 'open'
           WHERE b.last_attempt_at IS NULL
              OR (b.last_attempt_at < tip.connected_at AND b.last_outcome <> 'missing_inputs'))
"""
TOLD = """
    SELECT o.effect
    FROM outbox AS o
    JOIN channels AS c ON c.id = o.channel_id
    WHERE c.channel_point = %(channel_point)s AND o.kind = 'notify_node'
    ORDER BY o.id
"""


def at_rest(conn: Connection, height: BlockHeight) -> bool:
    """The watcher is at `height`; nothing waits to be applied, carried out, woken, looked
    back for or sent again."""
    row = conn.execute(AT_REST, {"height": height}).fetchone()
    return bool(row and row[0])


def told(conn: Connection, channel_point: OutPoint, event_type: str) -> list[dict[str, Any]]:
    """The data of every webhook of this type to the channel's node, sent or not, in order."""
    rows = conn.execute(TOLD, {"channel_point": bytes(channel_point)})
    effects = (decode(row[0], NotifyNode) for row in rows)
    return [effect.data for effect in effects if effect.event_type == event_type]

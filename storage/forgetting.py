"""Deleting what is long over and that nothing asks for again; the docket keeps what led to it.

So many rows at a time, so that no statement takes long; done again until nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable

from contractcourt.units import BlockHeight
from storage.database import Connection

#: Rows of one statement.
AT_ONCE = 10_000

SENT = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox
        WHERE sent_at < clock_timestamp() - make_interval(days => %(days)s)
        ORDER BY sent_at
        LIMIT %(limit)s)
"""
_OLD = """
    DELETE FROM {table} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {table}
        WHERE {since} < clock_timestamp() - make_interval(days => %(days)s)
        LIMIT %(limit)s))
"""
RECEIPTS = _OLD.format(table="webhook_receipts", since="received_at")
TOLD_PREIMAGES = _OLD.format(table="told_preimages", since="told_at")
#: Of channels that ended in that block or before it. Channel by channel on purpose: no plan may
#: read all of `revoked_states`, the largest table but the docket.
REVOKED_STATES = """
    DELETE FROM revoked_states WHERE ctid = ANY(ARRAY(
        SELECT s.ctid
        FROM channel_resolutions AS r
        CROSS JOIN LATERAL (
            SELECT ctid FROM revoked_states WHERE channel_id = r.channel_id OFFSET 0
        ) AS s
        WHERE r.fully_resolved_height <= %(height)s
        LIMIT %(limit)s))
"""

Forget = Callable[[Connection], int]


def sent_effects(days: int, limit: int = AT_ONCE) -> Forget:
    """Effects that were carried out, and webhooks that were taken, so many days ago."""
    return lambda conn: conn.execute(SENT, {"days": days, "limit": limit}).rowcount


def receipts(days: int, limit: int = AT_ONCE) -> Forget:
    """Webhooks of nodes that came so many days ago: no node repeats a message for as long.

    One that did would be heard as a new message, which its channel's docket knows, or the law.
    """
    return lambda conn: conn.execute(RECEIPTS, {"days": days, "limit": limit}).rowcount


def told_preimages(days: int, limit: int = AT_ONCE) -> Forget:
    """Preimages that nodes told so many days ago; those of HTLCs stand in their channels' cases."""
    return lambda conn: conn.execute(TOLD_PREIMAGES, {"days": days, "limit": limit}).rowcount


def revoked_states(up_to: BlockHeight, limit: int = AT_ONCE) -> Forget:
    """What would punish old states of channels that were fully resolved by that height."""
    return lambda conn: conn.execute(REVOKED_STATES, {"height": up_to, "limit": limit}).rowcount

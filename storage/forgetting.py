"""Deleting what is long over and that nothing asks for again; the docket keeps what led to it.

So many rows at a time, so that no statement takes long; done again until nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHeight
from storage.database import Connection

#: Rows of one statement.
AT_ONCE = 10_000

#: What says when rows came (BRIN) serves a bitmap alone, which no other look is to have
#: (docs/decisions/0029-newest-version-first.md).
BY_ARRIVAL = "SET LOCAL enable_bitmapscan = on"
BLOCKS_A_DAY = 144
#: By the clock, and by the blocks since, as far as they are kept: by a clock that is years ahead
#: all would be old, and a preimage that a node told a moment ago. `clock_timestamp()` would be
#: another with each row, so no index could say what is older.
_LONG_AGO = f"""
    least(statement_timestamp() - make_interval(days => %(days)s),
          (SELECT min(b.connected_at) FROM chain_cursor AS k
           JOIN blocks AS b ON b.height >= k.height - %(days)s * {BLOCKS_A_DAY}))
"""
SENT = f"""
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox
        WHERE sent_at < {_LONG_AGO}
        ORDER BY sent_at
        LIMIT %(limit)s)
"""
_OLD = f"""
    DELETE FROM {{table}} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {{table}}
        WHERE {{since}} < {_LONG_AGO}
        LIMIT %(limit)s))
"""
RECEIPTS = _OLD.format(table="webhook_receipts", since="received_at")
TOLD_PREIMAGES = _OLD.format(table="told_preimages", since="told_at")
#: Channels that ended in that block or before it, and of which something may be left.
_ENDED = """
    SELECT channel_id FROM channel_resolutions
    WHERE fully_resolved_height <= %(height)s AND NOT forgotten
    ORDER BY fully_resolved_height, channel_id
    LIMIT %(limit)s
"""
#: Channel by channel on purpose: no plan may read all of `revoked_states`, the largest table but
#: the docket.
REVOKED_STATES = f"""
    DELETE FROM revoked_states WHERE ctid = ANY(ARRAY(
        SELECT s.ctid
        FROM ({_ENDED}) AS r
        CROSS JOIN LATERAL (
            SELECT ctid FROM revoked_states WHERE channel_id = r.channel_id OFFSET 0
        ) AS s
        LIMIT %(limit)s))
"""
#: Coins of fee wallets that were spent in that block or before it.
SPENT_COINS = """
    DELETE FROM fee_wallet_coins WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM fee_wallet_coins WHERE spent_height <= %(height)s LIMIT %(limit)s))
    RETURNING outpoint
"""
#: What made them, unless another coin of it is left.
PARENTS = """
    DELETE FROM fee_wallet_parents AS p
    WHERE p.txid = ANY(%(txids)s) AND NOT EXISTS (
        SELECT 1 FROM fee_wallet_coins AS c
        WHERE c.outpoint BETWEEN p.txid || '\\x00000000'::bytea AND p.txid || '\\xffffffff'::bytea)
"""
#: They are looked at no more, however many they become.
FORGOTTEN = f"""
    UPDATE channel_resolutions AS r SET forgotten = true
    WHERE r.channel_id = ANY(ARRAY({_ENDED}))
      AND (SELECT true FROM revoked_states WHERE channel_id = r.channel_id LIMIT 1) IS NULL
"""

Forget = Callable[[Connection], int]


def sent_effects(days: int, limit: int = AT_ONCE) -> Forget:
    """Effects that were carried out, and webhooks that were taken, so many days ago."""
    return lambda conn: conn.execute(SENT, {"days": days, "limit": limit}).rowcount


def receipts(days: int, limit: int = AT_ONCE) -> Forget:
    """Webhooks of nodes that came so many days ago: no node repeats a message for as long.

    One that did would be heard as a new message, which its channel's docket knows, or the law.
    """
    return lambda conn: _by_arrival(conn, RECEIPTS, days, limit)


def told_preimages(days: int, limit: int = AT_ONCE) -> Forget:
    """Preimages that nodes told so many days ago; those of HTLCs stand in their channels' cases."""
    return lambda conn: _by_arrival(conn, TOLD_PREIMAGES, days, limit)


def revoked_states(up_to: BlockHeight, limit: int = AT_ONCE) -> Forget:
    """What would punish old states of channels that were fully resolved by that height.

    Counts the states that go, and the channels that are done with.
    """
    facts = {"height": up_to, "limit": limit}
    return lambda conn: sum(
        conn.execute(statement, facts).rowcount for statement in (REVOKED_STATES, FORGOTTEN)
    )


def spent_coins(up_to: BlockHeight, limit: int = AT_ONCE) -> Forget:
    """Coins of fee wallets that were spent by that height, with what proved their worth."""
    return lambda conn: _spent_coins(conn, up_to, limit)


def _spent_coins(conn: Connection, up_to: BlockHeight, limit: int) -> int:
    rows = conn.execute(SPENT_COINS, {"height": up_to, "limit": limit}).fetchall()
    if rows:
        conn.execute(PARENTS, {"txids": list({OutPoint(coin).txid for (coin,) in rows})})
    return len(rows)


def _by_arrival(conn: Connection, old: LiteralString, days: int, limit: int) -> int:
    conn.execute(BY_ARRIVAL)
    return conn.execute(old, {"days": days, "limit": limit}).rowcount

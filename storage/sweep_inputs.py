"""What is to be swept, for each node: wanted by the law, and what was offered for it so far.

A row is free when it is wanted, no open broadcast spends it, and nobody has spent it on chain.
What the sweeper makes of one is written by `storage.sweep_progress`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec
from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import Channel
from contractcourt.codec import MalformedRecord, decode, encode
from contractcourt.effects import BumpCommitment, SweepOutput
from contractcourt.errors import MalformedTransaction
from contractcourt.policy import Policy
from contractcourt.sweeping.inputs import SweepInput, value_at_stake
from contractcourt.units import BlockHeight, Blocks, FeeratePerKw, Satoshi
from storage.database import ROW_BY_ROW, Connection

#: Rows of one page of what is free.
PAGE = 2_000
WANT = """
    INSERT INTO sweep_inputs AS w (outpoint, channel_id, node, want, urgent, deadline, value_sat,
                                   started_height)
    SELECT given.outpoint, given.channel_id, given.node, given.want,
           given.deadline IS NOT NULL, given.deadline, given.value_sat,
           coalesce((SELECT height FROM chain_cursor), 0)
    FROM unnest(%(outpoints)s::bytea[], %(channel_ids)s::bigint[], %(nodes)s::text[],
                %(wants)s::text[], %(deadlines)s::integer[], %(values)s::bigint[])
        AS given (outpoint, channel_id, node, want, deadline, value_sat)
    ON CONFLICT (outpoint) DO UPDATE
    SET want = EXCLUDED.want, urgent = EXCLUDED.urgent, deadline = EXCLUDED.deadline,
        value_sat = EXCLUDED.value_sat, changed_in = pg_current_xact_id(),
        state = CASE w.state WHEN 'dropped' THEN 'wanted' ELSE w.state END,
        started_height = CASE w.state WHEN 'dropped' THEN EXCLUDED.started_height
                                      ELSE w.started_height END
"""
KEEP_ONLY = """
    UPDATE sweep_inputs
    SET state = 'dropped', reason = NULL, alone = false, changed_in = pg_current_xact_id()
    WHERE channel_id = ANY(%(channel_ids)s) AND outpoint <> ALL(%(kept)s) AND state <> 'dropped'
"""
#: Whoever took a part of what spent it could take a part of the next one too, block by block.
_SELECT = """
    SELECT w.outpoint, w.channel_id, w.want, w.state, w.feerate_per_kw, w.started_height,
           w.alone OR EXISTS (
               SELECT 1 FROM broadcast_inputs AS i JOIN broadcasts AS b ON b.id = i.broadcast_id
               WHERE i.outpoint = w.outpoint AND b.state = 'conflicted'),
           w.reason, w.created_at
    FROM sweep_inputs AS w
"""
_UNSPENT = """
    NOT EXISTS (SELECT 1 FROM spends AS s WHERE s.outpoint = w.outpoint AND NOT s.stale)
"""
_IN_NO_BROADCAST = """
    NOT EXISTS (
        SELECT 1 FROM broadcast_inputs AS i JOIN broadcasts AS b ON b.id = i.broadcast_id
        WHERE i.outpoint = w.outpoint AND b.state = 'open')
"""
_IS_FREE = f"w.node = %(node)s AND w.state = 'wanted' AND {_UNSPENT} AND {_IN_NO_BROADCAST}"
_PAGE_OF_FREE = f"""
    WHERE {_IS_FREE} AND w.urgent = %(urgent)s
      AND (%(after_at)s::timestamptz IS NULL
           OR (w.created_at, w.outpoint) > (%(after_at)s, %(after)s))
    ORDER BY w.created_at, w.outpoint
    LIMIT %(limit)s
"""
FREE = _SELECT + _PAGE_OF_FREE
#: By what changed, however many others the node has that wait as they did.
FREE_OF_CHANGED = f"""
    WITH changed AS MATERIALIZED (
        SELECT * FROM sweep_inputs
        WHERE node = %(node)s AND changed_in >= %(since)s::bigint::text::xid8
    )
    {_SELECT.replace("sweep_inputs AS w", "changed AS w")} {_PAGE_OF_FREE}
"""
SUM_FREE = f"""
    SELECT count(*), coalesce(sum(w.value_sat), 0)::bigint FROM sweep_inputs AS w WHERE {_IS_FREE}
"""
_IS_OF_THESE = f"w.outpoint = ANY(%(outpoints)s) AND w.state = 'wanted' AND {_UNSPENT}"
THESE = f"{_SELECT} WHERE {_IS_OF_THESE}"
FREE_OF = f"{THESE} AND {_IN_NO_BROADCAST}"
#: Held until the broadcast that spends them is stored.
LOCK = f"""
    SELECT w.outpoint FROM sweep_inputs AS w
    WHERE {_IS_OF_THESE}
    ORDER BY w.outpoint
    FOR UPDATE OF w
"""
OF_CHANNEL = f"{_SELECT} WHERE w.channel_id = %(channel_id)s ORDER BY w.outpoint"
QUARANTINED = f"{_SELECT} WHERE w.state = 'quarantined' ORDER BY w.outpoint LIMIT %(limit)s"
#: Contracts that wait for a sweep which nobody holds: their wish was lost (users_ask L1). Channel
#: by channel of those in court, for the contracts of all others stay in their table.
FORGOTTEN = f"""
    SELECT c.channel_id, c.outpoint
    FROM channels AS h
    CROSS JOIN LATERAL (
        SELECT channel_id, outpoint FROM contracts
        WHERE channel_id = h.id AND stage = 'sweeping'
        OFFSET 0
    ) AS c
    WHERE h.state IN ('CONTRACT_CLOSED', 'WAITING_FULL_RESOLUTION')
      AND NOT EXISTS (SELECT 1 FROM sweep_inputs AS w
                      WHERE w.outpoint = c.outpoint AND w.state <> 'dropped')
      AND NOT EXISTS (SELECT 1 FROM broadcast_inputs AS i WHERE i.outpoint = c.outpoint)
      AND NOT EXISTS (SELECT 1 FROM outbox AS o
                      WHERE o.channel_id = c.channel_id AND o.kind = 'publish_htlc_transaction'
                        AND o.sent_at IS NULL)
      AND {_UNSPENT.replace("w.outpoint", "c.outpoint")}
    LIMIT %(limit)s
"""


class SweepState(StrEnum):
    """What the sweeper makes of a wish."""

    WANTED = "wanted"
    #: It can't be signed or is refused for its own sake; the operator releases it.
    QUARANTINED = "quarantined"
    #: It never paid for its own sweep.
    GIVEN_UP = "given_up"
    #: The law wants it no more: it is spent, or its transaction left the chain.
    DROPPED = "dropped"


class Wish(msgspec.Struct, frozen=True):
    """What the law wants, with what a transaction needs to be built without the case."""

    channel: Channel
    effect: SweepOutput | BumpCommitment
    policy: Policy


@dataclass(frozen=True, slots=True)
class StoredSweep:
    """One row. `alone`: it travels with no other, for somebody else spends of what it was in."""

    outpoint: OutPoint
    channel_id: int
    wish: Wish
    state: SweepState
    feerate_per_kw: FeeratePerKw
    started_height: BlockHeight
    alone: bool
    reason: str | None
    created_at: datetime

    @property
    def input(self) -> SweepInput:
        """As the law groups and prices it."""
        return SweepInput(
            channel=self.wish.channel,
            want=self.wish.effect,
            started_height=self.started_height,
            max_feerate_per_kw=self.wish.policy.max_feerate_per_kw,
            feerate_per_kw=self.feerate_per_kw,
            patience_ends=self.patience_ends(),
        )

    def patience_ends(self) -> BlockHeight:
        """When it is given up, if it can't pay for itself until then; else it waits no longer."""
        patience: Blocks = self.wish.policy.give_up_blocks
        return BlockHeight(self.started_height + patience)


@dataclass(frozen=True, slots=True)
class Illegible:
    """A row that only another version can read, or that is damaged, and why."""

    outpoint: OutPoint
    channel_id: int
    created_at: datetime
    why: str


def want(conn: Connection, wishes: Sequence[tuple[int, Wish]]) -> None:
    """Store wishes by (channel, wish); one that is known is brought up to date."""
    # A statement can't touch a row twice: the last wish for an output counts.
    latest = {wish.effect.contract.outpoint: (channel_id, wish) for channel_id, wish in wishes}
    if latest:
        facts = {
            "outpoints": list(latest),
            "channel_ids": [channel_id for channel_id, _ in latest.values()],
            "nodes": [wish.channel.node for _, wish in latest.values()],
            "wants": [encode(wish).decode() for _, wish in latest.values()],
            "deadlines": [wish.effect.deadline for _, wish in latest.values()],
            "values": [value_at_stake(wish.effect) for _, wish in latest.values()],
        }
        conn.execute(WANT, facts)


def keep_only(conn: Connection, kept: Sequence[tuple[int, Collection[OutPoint]]]) -> None:
    """Drop every wish of these channels but for the named outputs."""
    if kept:
        facts = {
            "channel_ids": [channel_id for channel_id, _ in kept],
            "kept": [outpoint for _, outpoints in kept for outpoint in outpoints],
        }
        conn.execute(KEEP_ONLY, facts)


def free(
    conn: Connection,
    node: str,
    *,
    urgent: bool = False,
    since: int | None = None,
    after: StoredSweep | Illegible | None = None,
    limit: int = PAGE,
) -> list[StoredSweep | Illegible]:
    """What waits to be swept for a node, the oldest first; `after` is the last one of a page.

    `urgent`: what has a deadline; else all the rest. `since`: only what changed in that
    transaction or a later one (`sweep_rounds.Claim`).
    """
    facts: dict[str, object] = {
        "since": since,
        "node": node,
        "urgent": urgent,
        "limit": limit,
        "after_at": None if after is None else after.created_at,
        "after": None if after is None else after.outpoint,
    }
    return _read(conn, FREE if since is None else FREE_OF_CHANGED, facts)


def free_of(conn: Connection, outpoints: Sequence[OutPoint]) -> list[StoredSweep | Illegible]:
    """Those of these outputs that wait to be swept."""
    return _read(conn, FREE_OF, {"outpoints": list(outpoints)})


def sum_free(conn: Connection, node: str) -> tuple[int, Satoshi]:
    """What waits to be swept for a node, urgent or not: how many outputs, of how much together."""
    count, value = conn.execute(SUM_FREE, {"node": node}).fetchall()[0]
    return int(count), Satoshi(value)


def these(conn: Connection, outpoints: Sequence[OutPoint]) -> list[StoredSweep | Illegible]:
    """Those of these outputs that are still wanted and unspent."""
    return _read(conn, THESE, {"outpoints": list(outpoints)})


def lock(conn: Connection, outpoints: Sequence[OutPoint]) -> set[OutPoint]:
    """Which ones `these` would read, held until the transaction ends."""
    rows = conn.execute(LOCK, {"outpoints": list(outpoints)})
    return {OutPoint(outpoint) for (outpoint,) in rows}


def of_channel(conn: Connection, channel_id: int) -> list[StoredSweep]:
    """All of one channel that can be read, dropped ones too."""
    return _legible(_read(conn, OF_CHANNEL, {"channel_id": channel_id}))


def quarantined(conn: Connection, limit: int = 1_000) -> list[StoredSweep]:
    """What waits for the operator and can be read."""
    return _legible(_read(conn, QUARANTINED, {"limit": limit}))


def forgotten(conn: Connection, limit: int) -> list[tuple[int, OutPoint]]:
    """(channel, output) of contracts in stage SWEEPING that nobody sweeps."""
    conn.execute(ROW_BY_ROW)
    rows = conn.execute(FORGOTTEN, {"limit": limit})
    return [(channel_id, OutPoint(outpoint)) for channel_id, outpoint in rows]


def _legible(rows: Sequence[StoredSweep | Illegible]) -> list[StoredSweep]:
    return [row for row in rows if isinstance(row, StoredSweep)]


def _read(conn: Connection, query: str, facts: dict[str, object]) -> list[StoredSweep | Illegible]:
    with conn.cursor(row_factory=args_row(_stored)) as cursor:
        return cursor.execute(query, facts).fetchall()


def _stored(
    outpoint: bytes,
    channel_id: int,
    want: str,
    state: str,
    feerate_per_kw: int,
    started_height: int,
    alone: bool,
    reason: str | None,
    created_at: datetime,
) -> StoredSweep | Illegible:
    try:
        wish = decode(want, Wish)
        if isinstance(wish.effect, BumpCommitment):
            Transaction.parse(wish.effect.commitment.tx)
    except (MalformedRecord, MalformedTransaction) as error:
        return Illegible(OutPoint(outpoint), channel_id, created_at, str(error))
    return StoredSweep(
        outpoint=OutPoint(outpoint),
        channel_id=channel_id,
        wish=wish,
        state=SweepState(state),
        feerate_per_kw=FeeratePerKw(feerate_per_kw),
        started_height=BlockHeight(started_height),
        alone=alone,
        reason=reason,
        created_at=created_at,
    )

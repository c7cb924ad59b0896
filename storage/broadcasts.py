"""Every transaction the court has signed, as it was stored, and what was answered to sending it.

`storage.signed` stores them before they are sent, and `storage.settling` ends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import TAKEN, PublishOutcome
from contractcourt.units import FeeratePerKw, HexBytes, Satoshi, Txid, WeightUnits
from storage.database import Connection

_SELECT = """
    SELECT b.id, b.channel_id, b.purpose, b.txid, b.raw_tx,
           ARRAY(SELECT i.outpoint FROM broadcast_inputs AS i
                 WHERE i.broadcast_id = b.id ORDER BY i.position),
           b.state, b.last_outcome, b.last_reason, b.attempts, b.created_at,
           b.first_attempt_at, b.last_attempt_at, b.node, b.fee_sat, b.weight, b.feerate_per_kw,
           b.parent_txid
    FROM broadcasts AS b
"""
FIND = f"{_SELECT} WHERE b.txid = ANY(%(txids)s)"
_TENDED = """
    b.state = 'open' AND b.node = %(node)s AND b.purpose = ANY(%(sweeper)s)
    AND b.urgent = %(urgent)s
"""
#: Whoever is interrupted goes on with those that were sent longest ago.
_LONGEST_AGO = "ORDER BY b.last_attempt_at NULLS FIRST, b.id"
OPEN = f"""
    SELECT b.id FROM broadcasts AS b
    WHERE b.state = 'open' AND b.purpose <> ALL(%(sweeper)s) {_LONGEST_AGO}
"""
OPEN_OF = f"{_SELECT} WHERE b.id = ANY(%(ids)s) AND b.state = 'open' {_LONGEST_AGO}"
TO_TEND = f"{_SELECT} WHERE {_TENDED} {_LONGEST_AGO}"
_OF_LANE = (
    "SELECT id FROM broadcasts WHERE state = 'open' AND node = %(node)s AND urgent = %(urgent)s"
)
#: Where nothing changed, one that the node took is left alone for a while. Each part is a range of
#: an index, however many are out; `clock_timestamp()`, another for each row, would end none.
TO_TEND_OF_CHANGED = f"""{_SELECT}
    WHERE {_TENDED} AND b.id = ANY(ARRAY(
        {_OF_LANE} AND last_outcome IS NULL
        UNION {_OF_LANE} AND last_outcome = ANY(%(not_taken)s)
        UNION {_OF_LANE} AND last_outcome = ANY(%(taken)s)
            AND last_attempt_at < statement_timestamp() - make_interval(secs => %(at_rest)s)
        UNION
        SELECT i.broadcast_id FROM sweep_inputs AS w
        JOIN broadcast_inputs AS i ON i.outpoint = w.outpoint
        WHERE w.node = %(node)s AND w.changed_in >= %(since)s::bigint::text::xid8))
    {_LONGEST_AGO}
"""
_HURRY = """
    UPDATE broadcasts SET urgent = true
    WHERE state = 'open' AND NOT urgent AND id = ANY(ARRAY(
        SELECT i.broadcast_id FROM sweep_inputs AS w
        JOIN broadcast_inputs AS i ON i.outpoint = w.outpoint
        WHERE w.node = %(node)s AND w.urgent AND w.state = 'wanted'
"""
HURRY = f"{_HURRY}))"
HURRY_CHANGED = f"{_HURRY} AND w.changed_in >= %(since)s::bigint::text::xid8))"
OF_CHANNEL = f"""{_SELECT}
    WHERE b.id IN (SELECT id FROM broadcasts WHERE channel_id = %(channel_id)s
                   UNION
                   SELECT broadcast_id FROM broadcast_inputs WHERE channel_id = %(channel_id)s)
    ORDER BY b.id
"""
SPENDING = """
    SELECT i.outpoint FROM broadcast_inputs AS i JOIN broadcasts AS b ON b.id = i.broadcast_id
    WHERE i.outpoint = ANY(%(outpoints)s) AND b.state = 'open'
      AND b.id <> ALL(%(besides)s)
"""
KNOWN = "SELECT txid FROM broadcasts WHERE txid = ANY(%(txids)s)"
FEES_OF_CHANNELS = """
    SELECT i.channel_id, i.outpoint, i.fee_sat
    FROM broadcast_inputs AS i JOIN broadcasts AS b ON b.id = i.broadcast_id
    WHERE i.channel_id = ANY(%(channel_ids)s) AND b.state = 'confirmed' AND i.fee_sat IS NOT NULL
      AND b.purpose <> 'commitment'
"""
RECORD_ATTEMPTS = """
    WITH answered AS (
        SELECT id, b.last_outcome AS outcome_before, given.outcome, given.reason
        FROM unnest(%(ids)s::bigint[], %(outcomes)s::text[], %(reasons)s::text[])
            AS given (id, outcome, reason)
        JOIN broadcasts AS b USING (id)
        ORDER BY id FOR UPDATE OF b
    )
    UPDATE broadcasts AS b
    SET last_outcome = answered.outcome, last_reason = answered.reason, attempts = b.attempts + 1,
        first_attempt_at = coalesce(b.first_attempt_at, clock_timestamp()),
        last_attempt_at = clock_timestamp()
    FROM answered
    WHERE b.id = answered.id
    RETURNING b.id, b.attempts, answered.outcome_before
"""
#: The purposes of what goes as both sides signed it.
COMMITMENT, HTLC_TRANSACTION = "commitment", "htlc_transaction"
#: The purposes of what the sweeper builds, and may build anew at another fee.
SWEEP, BUMP = "sweep", "bump"
SWEEPER = [SWEEP, BUMP]
#: A node that lost its mempool is given a sweep again after this long, without a block too.
_AT_REST_SECONDS = 300


class BroadcastState(StrEnum):
    """What the chain has made of a broadcast."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    CONFLICTED = "conflicted"
    #: The court gave it up itself, for a better one.
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One signed transaction and what came of sending it."""

    id: int
    channel_id: int
    purpose: str
    txid: Txid
    raw_tx: HexBytes
    inputs: tuple[OutPoint, ...]
    state: BroadcastState
    last_outcome: PublishOutcome | None
    last_reason: str | None
    attempts: int
    created_at: datetime
    first_attempt_at: datetime | None
    last_attempt_at: datetime | None
    node: str | None
    fee_sat: Satoshi | None
    weight: WeightUnits | None
    #: Of parent and child together where there is a parent.
    feerate_per_kw: FeeratePerKw | None
    #: Sent together with this one, as a package.
    parent_txid: Txid | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a broadcast was sent, counted from 1, and what was said the time before."""

    number: int
    outcome_before: PublishOutcome | None


def find(conn: Connection, txid: Txid) -> Broadcast | None:
    """The broadcast with this txid."""
    return find_many(conn, [txid]).get(txid)


def find_many(conn: Connection, txids: Sequence[Txid]) -> dict[Txid, Broadcast]:
    """The broadcasts with these txids, by txid."""
    with conn.cursor(row_factory=args_row(_broadcast)) as cursor:
        found = cursor.execute(FIND, {"txids": list(txids)}).fetchall()
    return {broadcast.txid: broadcast for broadcast in found}


def known(conn: Connection, txids: Sequence[Txid]) -> set[Txid]:
    """Those of these transactions that are the court's own."""
    return {Txid(txid) for (txid,) in conn.execute(KNOWN, {"txids": list(txids)})}


def fees_paid(conn: Connection, channel_id: int) -> dict[OutPoint, Satoshi]:
    """What our mined transactions paid for each output of this channel that they spent.

    Our commitment is left out: its fee is what the channel's capacity exceeds its outputs by.
    """
    return fees_paid_many(conn, [channel_id]).get(channel_id, {})


def fees_paid_many(
    conn: Connection, channel_ids: Sequence[int]
) -> dict[int, dict[OutPoint, Satoshi]]:
    """`fees_paid` of many channels, by channel id, in one statement."""
    found: dict[int, dict[OutPoint, Satoshi]] = {}
    for channel_id, outpoint, fee_sat in conn.execute(
        FEES_OF_CHANNELS, {"channel_ids": list(channel_ids)}
    ):
        found.setdefault(channel_id, {})[OutPoint(outpoint)] = Satoshi(fee_sat)
    return found


def open_ids(conn: Connection) -> list[int]:
    """All that is open but for the sweeper's own, what was sent longest ago first."""
    return [row[0] for row in conn.execute(OPEN, {"sweeper": SWEEPER})]


def open_of(conn: Connection, ids: Sequence[int]) -> list[Broadcast]:
    """Those of these that are open still, in the same order."""
    with conn.cursor(row_factory=args_row(_broadcast)) as cursor:
        return cursor.execute(OPEN_OF, {"ids": list(ids)}).fetchall()


def to_tend(
    conn: Connection, node: str, *, urgent: bool = False, since: int | None = None
) -> list[Broadcast]:
    """The sweeper's open broadcasts for a node that may need another look, the oldest first.

    `urgent`: those ones, or else the others. `since`: only what was not taken, and what spends
    something that changed in that transaction or later: rounds follow each other quickly when
    many channels close.
    """
    facts = {
        "node": node,
        "sweeper": SWEEPER,
        "urgent": urgent,
        "since": since,
        "taken": sorted(TAKEN),
        "not_taken": sorted(set(PublishOutcome) - TAKEN),
        "at_rest": _AT_REST_SECONDS,
    }
    query = TO_TEND if since is None else TO_TEND_OF_CHANGED
    with conn.cursor(row_factory=args_row(_broadcast)) as cursor:
        return cursor.execute(query, facts).fetchall()


def hurry(conn: Connection, node: str, *, since: int | None = None) -> None:
    """What went out before it had a deadline is tended with what has one; `since` as above."""
    conn.execute(HURRY if since is None else HURRY_CHANGED, {"node": node, "since": since})


def for_channel(conn: Connection, channel_id: int) -> list[Broadcast]:
    """All broadcasts that spend an output of one channel, oldest first."""
    with conn.cursor(row_factory=args_row(_broadcast)) as cursor:
        return cursor.execute(OF_CHANNEL, {"channel_id": channel_id}).fetchall()


def spending(
    conn: Connection, outpoints: Sequence[OutPoint], *, besides: Sequence[int] = ()
) -> set[OutPoint]:
    """Those of these that an open broadcast spends, other than those with the ids `besides`."""
    facts = {"outpoints": list(outpoints), "besides": list(besides)}
    return {OutPoint(outpoint) for (outpoint,) in conn.execute(SPENDING, facts)}


def record_attempts(
    conn: Connection, answers: Sequence[tuple[int, PublishOutcome, str]]
) -> dict[int, Attempt]:
    """A node answered, by (id, outcome, reason), at most once for each broadcast; by id which
    attempt that was.

    An outcome is data on the attempt, and settles nothing (users_ask L4).
    """
    if not answers:
        return {}
    ids, outcomes, reasons = zip(*answers, strict=True)
    facts = {
        "ids": list(ids),
        "outcomes": [outcome.value for outcome in outcomes],
        "reasons": list(reasons),
    }
    return {
        broadcast_id: Attempt(number, _outcome(before))
        for broadcast_id, number, before in conn.execute(RECORD_ATTEMPTS, facts)
    }


def _outcome(told: str | None) -> PublishOutcome | None:
    """One that only a newer version knows is as none: the transaction is sent again."""
    return PublishOutcome(told) if told in set(PublishOutcome) else None


def _broadcast(
    broadcast_id: int,
    channel_id: int,
    purpose: str,
    txid: bytes,
    raw_tx: bytes,
    inputs: list[bytes],
    state: str,
    last_outcome: str | None,
    last_reason: str | None,
    attempts: int,
    created_at: datetime,
    first_attempt_at: datetime | None,
    last_attempt_at: datetime | None,
    node: str | None,
    fee_sat: int | None,
    weight: int | None,
    feerate_per_kw: int | None,
    parent_txid: bytes | None,
) -> Broadcast:
    return Broadcast(
        id=broadcast_id,
        channel_id=channel_id,
        purpose=purpose,
        txid=Txid(txid),
        raw_tx=HexBytes(raw_tx),
        inputs=tuple(OutPoint(outpoint) for outpoint in inputs),
        state=BroadcastState(state),
        last_outcome=_outcome(last_outcome),
        last_reason=last_reason,
        attempts=attempts,
        created_at=created_at,
        first_attempt_at=first_attempt_at,
        last_attempt_at=last_attempt_at,
        node=node,
        fee_sat=None if fee_sat is None else Satoshi(fee_sat),
        weight=None if weight is None else WeightUnits(weight),
        feerate_per_kw=None if feerate_per_kw is None else FeeratePerKw(feerate_per_kw),
        parent_txid=None if parent_txid is None else Txid(parent_txid),
    )

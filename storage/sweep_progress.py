"""How far the sweeper has come with what is wanted: offered, not out and why, set aside, given up.

What was offered for an output is remembered for ever, so that an offer never falls (users_ask L7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import FeeratePerKw
from storage.database import Connection

OFFERED = """
    UPDATE sweep_inputs AS w
    SET feerate_per_kw = greatest(w.feerate_per_kw, given.feerate), reason = NULL
    FROM unnest(%(outpoints)s::bytea[], %(feerates)s::bigint[]) AS given (outpoint, feerate)
    WHERE w.outpoint = given.outpoint
"""
NOTE = """
    UPDATE sweep_inputs AS w SET reason = given.reason
    FROM unnest(%(outpoints)s::bytea[], %(reasons)s::text[]) AS given (outpoint, reason)
    WHERE w.outpoint = given.outpoint AND w.reason IS DISTINCT FROM given.reason
"""
SET_FREE = """
    UPDATE sweep_inputs SET alone = alone OR %(alone)s, changed_in = pg_current_xact_id()
    WHERE outpoint = ANY(%(outpoints)s)
"""
RECONSIDER = """
    UPDATE sweep_inputs SET changed_in = pg_current_xact_id()
    WHERE channel_id = %(channel_id)s AND state = 'wanted'
"""
QUARANTINE = """
    UPDATE sweep_inputs SET state = 'quarantined', reason = %(reason)s
    WHERE outpoint = %(outpoint)s AND state = 'wanted'
"""
RELEASE = """
    UPDATE sweep_inputs
    SET state = 'wanted', reason = NULL, changed_in = pg_current_xact_id()
    WHERE outpoint = %(outpoint)s AND state = 'quarantined'
    RETURNING node
"""
GIVE_UP = """
    UPDATE sweep_inputs SET state = 'given_up', reason = %(reason)s
    WHERE outpoint = %(outpoint)s AND state = 'wanted'
"""


def offered(conn: Connection, feerates: Mapping[OutPoint, FeeratePerKw]) -> None:
    """A transaction that offers so much for each of them is stored."""
    facts = {"outpoints": list(feerates), "feerates": list(feerates.values())}
    conn.execute(OFFERED, facts)


def note(conn: Connection, reasons: Mapping[OutPoint, str]) -> None:
    """Why each of them is not out."""
    if reasons:
        conn.execute(NOTE, {"outpoints": list(reasons), "reasons": list(reasons.values())})


def set_free(conn: Connection, outpoints: Sequence[OutPoint], *, alone: bool) -> None:
    """No transaction spends them any more.

    `alone`: from now on each goes in one of its own, because one of them is contested.
    """
    conn.execute(SET_FREE, {"outpoints": list(outpoints), "alone": alone})


def reconsider(conn: Connection, channel_id: int) -> None:
    """Something that the sweeps of this channel wait for has come about."""
    conn.execute(RECONSIDER, {"channel_id": channel_id})


def quarantine(conn: Connection, outpoint: OutPoint, reason: str) -> None:
    """Keep it from holding up the others; never forgotten (users_ask L6)."""
    conn.execute(QUARANTINE, {"outpoint": outpoint, "reason": reason})


def release(conn: Connection, outpoint: OutPoint) -> str | None:
    """The operator says that it can be tried again; its node, None when it is not quarantined."""
    row = conn.execute(RELEASE, {"outpoint": outpoint}).fetchone()
    return None if row is None else str(row[0])


def give_up(conn: Connection, outpoint: OutPoint, reason: str) -> None:
    """It will not pay for its own sweep."""
    conn.execute(GIVE_UP, {"outpoint": outpoint, "reason": reason})

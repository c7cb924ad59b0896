"""The HTLCs of the peer's revoked commitments: all that punishing them needs beside the secrets.

A commitment without HTLC outputs needs no row, since its main outputs follow from the revocation
secret. 53 bytes an HTLC: id, direction, amount, payment hash, expiry.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence

from contractcourt.channel import Direction, Htlc
from contractcourt.units import BlockHeight, Millisatoshi, PaymentHash
from storage.database import Connection

REMEMBER = """
    INSERT INTO revoked_states (channel_id, number, htlcs)
    SELECT * FROM unnest(%(channel_ids)s::bigint[], %(numbers)s::bigint[], %(htlcs)s::bytea[])
    ON CONFLICT (channel_id, number) DO NOTHING
"""
#: Row by row by the key, however many rows of these channels there are.
RECALL = """
    SELECT given.channel_id, given.number,
           (SELECT htlcs FROM revoked_states AS r
            WHERE r.channel_id = given.channel_id AND r.number = given.number)
    FROM unnest(%(channel_ids)s::bigint[], %(numbers)s::bigint[]) AS given (channel_id, number)
"""

_LAYOUT = struct.Struct(">Q?Q32sI")


def remember(conn: Connection, states: Sequence[tuple[int, int, tuple[Htlc, ...]]]) -> None:
    """Keep HTLCs of revoked commitments, as (channel, number, HTLCs); twice is once."""
    if states:
        facts = {
            "channel_ids": [channel_id for channel_id, _, _ in states],
            "numbers": [number for _, number, _ in states],
            "htlcs": [b"".join(_pack(htlc) for htlc in htlcs) for _, _, htlcs in states],
        }
        conn.execute(REMEMBER, facts)


def recall(
    conn: Connection, states: Collection[tuple[int, int]]
) -> dict[tuple[int, int], tuple[Htlc, ...]]:
    """The HTLCs that these revoked commitments, (channel, number), had outputs for."""
    if not states:
        return {}
    facts = {
        "channel_ids": [channel_id for channel_id, _ in states],
        "numbers": [number for _, number in states],
    }
    return {
        (channel_id, number): tuple(_unpack(item) for item in _LAYOUT.iter_unpack(htlcs or b""))
        for channel_id, number, htlcs in conn.execute(RECALL, facts)
    }


def _pack(htlc: Htlc) -> bytes:
    offered = htlc.direction is Direction.OFFERED
    return _LAYOUT.pack(
        htlc.id, offered, htlc.amount_msat, bytes(htlc.payment_hash), htlc.cltv_expiry
    )


def _unpack(item: tuple[int, bool, int, bytes, int]) -> Htlc:
    htlc_id, offered, amount_msat, payment_hash, cltv_expiry = item
    return Htlc(
        id=htlc_id,
        direction=Direction.OFFERED if offered else Direction.RECEIVED,
        amount_msat=Millisatoshi(amount_msat),
        payment_hash=PaymentHash(payment_hash),
        cltv_expiry=BlockHeight(cltv_expiry),
    )

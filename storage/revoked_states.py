"""The HTLCs of the peer's revoked commitments: all that punishing them needs beside the secrets.

A commitment without HTLC outputs needs no row, since its main outputs follow from the revocation
secret. 53 bytes an HTLC: id, direction, amount, payment hash, expiry.
"""

from __future__ import annotations

import struct

from contractcourt.channel import Direction, Htlc
from contractcourt.units import BlockHeight, Millisatoshi, PaymentHash
from storage.database import Connection

REMEMBER = """
    INSERT INTO revoked_states (channel_id, number, htlcs)
    VALUES (%(channel_id)s, %(number)s, %(htlcs)s)
    ON CONFLICT (channel_id, number) DO NOTHING
"""
RECALL = """
    SELECT htlcs FROM revoked_states
    WHERE channel_id = %(channel_id)s AND number = %(number)s
"""

_LAYOUT = struct.Struct(">Q?Q32sI")


def remember(conn: Connection, channel_id: int, number: int, htlcs: tuple[Htlc, ...]) -> None:
    """Keep the HTLCs of a revoked commitment; keeping them twice is once."""
    packed = b"".join(_pack(htlc) for htlc in htlcs)
    conn.execute(REMEMBER, {"channel_id": channel_id, "number": number, "htlcs": packed})


def recall(conn: Connection, channel_id: int, number: int) -> tuple[Htlc, ...]:
    """The HTLCs that this revoked commitment had outputs for."""
    row = conn.execute(RECALL, {"channel_id": channel_id, "number": number}).fetchone()
    return () if row is None else tuple(_unpack(item) for item in _LAYOUT.iter_unpack(row[0]))


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

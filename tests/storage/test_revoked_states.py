"""What is kept to punish a revoked commitment, and what it costs."""

from __future__ import annotations

import hashlib

from contractcourt.channel import Direction, Htlc
from contractcourt.units import BlockHeight, Millisatoshi, PaymentHash
from storage import revoked_states
from storage.database import Database
from tests.storage import examples


def _htlcs(count: int) -> tuple[Htlc, ...]:
    return tuple(
        Htlc(
            id=number,
            direction=Direction.OFFERED if number % 2 else Direction.RECEIVED,
            amount_msat=Millisatoshi(2**40 + number),
            payment_hash=PaymentHash(hashlib.sha256(number.to_bytes(2, "big")).digest()),
            cltv_expiry=BlockHeight(900_000 + number),
        )
        for number in range(count)
    )


def test_what_was_remembered_is_recalled(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
        kept = {(channel_id, 7): _htlcs(5), (channel_id, 9): _htlcs(1), (other, 7): _htlcs(2)}
        told = [(channel, number, htlcs) for (channel, number), htlcs in kept.items()]
        revoked_states.remember(conn, [*told, told[0]])
        revoked_states.remember(conn, told)
        assert revoked_states.recall(conn, kept) == kept
        assert revoked_states.recall(conn, [(channel_id, 8)]) == {(channel_id, 8): ()}
        revoked_states.remember(conn, [])
        assert revoked_states.recall(conn, []) == {}


def test_l18_an_htlc_of_a_revoked_state_costs_no_more_than_64_bytes(
    db: Database, channel_id: int
) -> None:
    sizes = "SELECT sum(pg_column_size(r.*)) FROM revoked_states AS r WHERE number = %s"
    with db.transaction() as conn:
        for number, count in ((1, 1), (2, 483)):
            revoked_states.remember(conn, [(channel_id, number, _htlcs(count))])
        one, many = (int(conn.execute(sizes, (n,)).fetchall()[0][0]) for n in (1, 2))
    assert one <= 256 + 64
    assert many <= 256 + 64 * 483

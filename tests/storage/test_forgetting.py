"""What is long over is deleted, what is not stays, and all of it some rows at a time."""

from __future__ import annotations

from datetime import timedelta

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.case import State
from contractcourt.channel import Direction, Htlc
from contractcourt.effects import AskLocalPoint
from contractcourt.units import (
    BlockHeight,
    HexBytes,
    Millisatoshi,
    PaymentHash,
    Satoshi,
    Script,
    Secret,
)
from storage import (
    blocks,
    channels,
    fee_coins,
    fee_wallets,
    forgetting,
    outbox,
    parents,
    receipts,
    revoked_states,
    told_preimages,
)
from storage.database import Connection, Database
from storage.fee_coins import NewCoin, Parent
from tests.storage import examples
from tests.storage.plans import plan

_HTLC = Htlc(1, Direction.OFFERED, Millisatoshi(9), PaymentHash(bytes(32)), BlockHeight(900))


def age(conn: Connection, table: str, column: str, days: int, where: str) -> None:
    sql = f"UPDATE {table} SET {column} = {column} - %s WHERE {where}"
    conn.execute(sql, [timedelta(days=days)])


def test_effects_that_were_carried_out_long_ago_are_forgotten(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        old, young, unsent = (
            outbox.put_many(conn, [(channel_id, AskLocalPoint(n))])[0] for n in range(3)
        )
        outbox.mark_sent_many(conn, [old, young])
        age(conn, "outbox", "sent_at", 31, f"id = {old}")
        age(conn, "outbox", "created_at", 90, f"id = {unsent}")
        assert forgetting.sent_effects(30)(conn) == 1
        left = {row[0] for row in conn.execute("SELECT id FROM outbox")}
    assert left == {young, unsent}


def test_receipts_are_forgotten_some_at_a_time(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        for number in range(5):
            name, digest = f"message {number}", bytes(32)
            first = receipts.claim(
                conn, examples.NODE, name, digest, channel_id=channel_id, seq=None
            )
            assert first is None
        age(conn, "webhook_receipts", "received_at", 31, "message_id <> 'message 4'")
        some = forgetting.receipts(30, limit=3)
        assert [some(conn), some(conn), some(conn)] == [3, 1, 0]
        assert receipts.find(conn, examples.NODE, "message 3") is None
        assert receipts.find(conn, examples.NODE, "message 4") is not None


def test_a_preimage_waits_so_long_for_its_htlc(db: Database) -> None:
    old, young = (PaymentHash(bytes([number]) * 32) for number in (1, 2))
    with db.transaction() as conn:
        examples.add_node(conn)
        for told in (old, young):
            told_preimages.remember(conn, examples.NODE, told, Secret(bytes(32)))
        age(conn, "told_preimages", "told_at", 31, "get_byte(payment_hash, 0) = 1")
        assert forgetting.told_preimages(30)(conn) == 1
        left = told_preimages.recall(conn, [(examples.NODE, old), (examples.NODE, young)])
    assert left.keys() == {(examples.NODE, young)}


def test_by_a_clock_that_is_years_ahead_nothing_is_old(db: Database) -> None:
    """All that Postgres has written, the blocks too, seems to be years old."""
    told = PaymentHash(bytes(32))
    with db.transaction() as conn:
        examples.add_node(conn)
        blocks.init_cursor(conn, BlockHeight(9_000), examples.block_hash(1))
        told_preimages.remember(conn, examples.NODE, told, Secret(bytes(32)))
        age(conn, "blocks", "connected_at", 1_000, "true")
        age(conn, "told_preimages", "told_at", 999, "true")
        assert forgetting.told_preimages(30)(conn) == 0
        age(conn, "told_preimages", "told_at", 2, "true")
        assert forgetting.told_preimages(30)(conn) == 1


def test_what_punishes_old_states_stays_until_its_channel_is_long_resolved(db: Database) -> None:
    with db.transaction() as conn:
        examples.add_node(conn)
        long_over, just_over, still_open = (examples.open_channel(conn, n) for n in (1, 2, 3))
        for channel_id in (long_over, just_over, still_open):
            revoked_states.remember(conn, [(channel_id, 7, (_HTLC,))])
        for channel_id, height in ((long_over, 300), (just_over, 301)):
            channels.mark_closed_many(conn, [(channel_id, examples.closed())])
            channels.mark_fully_resolved_many(conn, [(channel_id, BlockHeight(height))])
            examples.set_state(conn, channel_id, State.FULLY_RESOLVED)
        forget = forgetting.revoked_states(BlockHeight(300))
        assert [forget(conn), forget(conn)] == [2, 0], "its one state, and itself"
        asked = [(c, 7) for c in (long_over, just_over, still_open)]
        kept = revoked_states.recall(conn, asked)
    assert [kept[each] for each in asked] == [(), (_HTLC,), (_HTLC,)]


def test_a_coin_that_was_spent_long_ago_goes_and_the_last_one_takes_what_made_them(
    db: Database,
) -> None:
    script, at = Script(bytes(22)), (BlockHeight(1), examples.block_hash(1))
    two, one = (_paying(script, count) for count in (2, 1))
    first, second, young = (
        OutPoint.of(made.txid(), vout) for made, vout in ((two, 0), (two, 1), (one, 0))
    )
    with db.transaction() as conn:
        examples.add_node(conn)
        fee_wallets.put_scripts(conn, examples.NODE, [script])
        fee_coins.add(
            conn, [NewCoin(coin, script, Satoshi(9), *at) for coin in (first, second, young)]
        )
        fee_coins.add_parents(conn, [Parent(tx.txid(), _bare(tx)) for tx in (two, one)])
        fee_coins.spend(conn, [first], BlockHeight(300), examples.block_hash(3))
        fee_coins.spend(conn, [young], BlockHeight(301), examples.block_hash(4))
        some = forgetting.spent_coins(BlockHeight(300), limit=1)
        assert [some(conn), some(conn)] == [1, 0]
        assert parents.find(conn, [], [two.txid(), one.txid()]).keys() == {two.txid(), one.txid()}
        assert fee_coins.outpoints(conn) == {second}
        fee_coins.spend(conn, [second], BlockHeight(299), examples.block_hash(2))
        assert [some(conn), some(conn)] == [1, 0]
        assert parents.find(conn, [], [two.txid(), one.txid()]).keys() == {one.txid()}
        # What may still be taken back is, whatever was forgotten.
        fee_coins.disconnect(conn, examples.block_hash(4))
        [left] = fee_coins.unspent(conn, examples.NODE)
    assert (left.outpoint, left.proved) == (young, True)


def _paying(script: Script, count: int) -> Transaction:
    return Transaction(2, (TxIn(examples.outpoint(count)),), (TxOut(9, bytes(script)),) * count)


def _bare(tx: Transaction) -> HexBytes:
    return HexBytes(tx.serialize(with_witness=False))


def test_what_is_not_old_is_not_read_however_much_there_is(db: Database) -> None:
    facts = {"days": 30, "limit": 10}
    with db.transaction() as conn:
        by_key = plan(conn, forgetting.SENT, facts)
    assert "Index Cond: (sent_at < " in by_key, by_key
    for some, statement, index in (
        (forgetting.receipts, forgetting.RECEIPTS, "webhook_receipts_received"),
        (forgetting.told_preimages, forgetting.TOLD_PREIMAGES, "told_preimages_told"),
    ):
        with db.transaction() as conn:
            some(30)(conn)
            by_arrival = plan(conn, statement, facts)
        assert f"Bitmap Index Scan on {index}" in by_arrival, by_arrival

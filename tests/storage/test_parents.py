"""What made the outputs that are swept is found by channel, however it was spent."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.effects import WatchOutpoint
from contractcourt.units import BlockHeight, HexBytes, Script
from storage import fee_coins, parents, spends, watches
from storage.database import Connection, Database
from storage.fee_coins import MOST_PARENT_BYTES, Parent
from tests.storage import examples
from tests.storage.plans import plan


def _spending(outpoint: OutPoint, size: int = 22) -> Transaction:
    return Transaction(2, (TxIn(outpoint, witness=(b"\x01",)),), (TxOut(9, bytes(size)),))


def _spent(conn: Connection, channel_id: int, tx: Transaction, height: int) -> None:
    for spent in tx.inputs:
        watches.add(conn, channel_id, WatchOutpoint(spent.outpoint, Script(b"")))
        block, at = examples.block_hash(height), BlockHeight(height)
        spends.record(conn, channel_id, spent.outpoint, tx.txid(), tx.serialize(), at, block)


def test_what_spent_an_outpoint_of_a_channel_is_found_without_witness(
    db: Database, channel_id: int
) -> None:
    other_id = db.run(lambda conn: examples.open_channel(conn, 2))
    close, second = _spending(examples.outpoint(7)), _spending(examples.outpoint(8))
    coin, stranger = _spending(examples.outpoint(9)), _spending(examples.outpoint(10))
    point = examples.channel(1).channel_point

    def store(conn: Connection) -> None:
        _spent(conn, channel_id, close, 5)
        _spent(conn, channel_id, second, 6)
        _spent(conn, other_id, stranger, 7)
        # What a reorg took away made its outputs all the same, and may come back.
        spends.mark_stale(conn, examples.block_hash(6))
        fee_coins.add_parents(conn, [_parent(coin), _parent(coin)])

    db.run(store)
    txids = [tx.txid() for tx in (close, second, coin, stranger)]
    found = db.run(lambda conn: parents.find(conn, [point], txids))
    bare = {tx.txid(): tx.serialize(with_witness=False) for tx in (close, second, coin)}
    assert found == bare
    assert db.run(lambda conn: parents.find(conn, [], txids)).keys() == {coin.txid()}


def test_what_no_node_relays_is_not_kept(db: Database) -> None:
    large = _spending(examples.outpoint(1), size=MOST_PARENT_BYTES)
    db.run(lambda conn: fee_coins.add_parents(conn, [_parent(large)]))
    assert db.run(lambda conn: parents.find(conn, [], [large.txid()])) == {}


def _parent(tx: Transaction) -> Parent:
    return Parent(tx.txid(), HexBytes(tx.serialize(with_witness=False)))


def test_they_are_found_by_indexes_however_many_channels_were_closed(db: Database) -> None:
    facts = {"channel_points": [examples.outpoint(1)], "txids": [examples.txid(1)]}
    told = db.run(lambda conn: plan(conn, parents.FIND, facts))
    assert "Seq Scan" not in told
    assert "watches_of_channel" in told

"""The watcher and the fee wallets: their coins by the best chain, whatever it does."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.errors import BlockUnavailable, ChainUnavailable
from chain.view import Scan
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.units import BlockHash, BlockHeight, Satoshi, Script, Txid
from storage import alarms, fee_coins, fee_wallets, parents
from storage.fee_coins import NewCoin
from tests.chain.devnet_money import ANYONE, OP_TRUE, fund
from tests.contractcourt.bitcoin.test_block import block_of
from tests.workers.watching import Watched, Watcher, mine, reorg, spending
from workers.watcher import wallet_coins

#: Scripts of the wallet that anybody may spend, so that the tests need no keys.
OTHER = bytes(p2wsh(b"\x51\x51"))


def import_wallet(court: Watched) -> None:
    with court.db.transaction() as conn:
        fee_wallets.put_scripts(conn, "alice", [Script(ANYONE), Script(OTHER)])


def values(court: Watched) -> list[int]:
    """What the court takes the wallet to hold, the largest coin first."""
    with court.db.transaction() as conn:
        return [coin.value_sat for coin in fee_coins.unspent(conn, "alice")]


def settle_scan(watcher: Watcher, court: Watched) -> None:
    """Rounds until the scan, which runs beside them, has been taken in."""
    for _ in range(2_000):
        watcher.step()
        with court.db.transaction() as conn:
            if all(one.scanned for one in fee_wallets.scripts(conn)):
                return
    raise AssertionError("the scan never ended")


def unproved(court: Watched) -> list[int]:
    """Of which coins it is not known what made them, the largest first."""
    with court.db.transaction() as conn:
        return [c.value_sat for c in fee_coins.unspent(conn, "alice") if not c.proved]


def settle_parents(watcher: Watcher, court: Watched) -> None:
    """Rounds until what made each coin has been looked for, which goes on beside them."""
    for _ in range(2_000):
        watcher.step()
        if not unproved(court):
            return
    raise AssertionError("what made a coin was never found")


def paying(outpoint: OutPoint, *outputs: tuple[int, bytes]) -> Transaction:
    spends = TxIn(outpoint, b"", 0xFFFFFFFD, (OP_TRUE,))
    return Transaction(2, (spends,), tuple(TxOut(value, script) for value, script in outputs), 0)


def test_coins_come_and_go_with_their_blocks(court: Watched, watcher: Watcher) -> None:
    coin = fund(court.devnet, 50_000)
    watcher.settle()
    import_wallet(court)
    settle_scan(watcher, court)
    assert 50_000 in values(court)
    before = values(court)
    mine(court.devnet, paying(coin, (30_000, OTHER), (10_000, ANYONE)))
    watcher.settle()
    assert sorted(values(court)) == sorted([*[v for v in before if v != 50_000], 30_000, 10_000])


def test_what_makes_a_coin_is_kept_with_it(court: Watched, watcher: Watcher) -> None:
    import_wallet(court)
    settle_scan(watcher, court)
    settle_parents(watcher, court)
    made = paying(fund(court.devnet, 50_000), (30_000, OTHER), (10_000, ANYONE))
    mine(court.devnet, made)
    watcher.settle()
    assert {30_000, 10_000} <= set(values(court))
    assert unproved(court) == []
    with court.db.transaction() as conn:
        found = parents.find(conn, [], [made.txid()])
        # Once, though it made two.
        (count,) = conn.execute(
            "SELECT count(*) FROM fee_wallet_parents WHERE txid = %s", (made.txid(),)
        ).fetchall()[0]
    assert found == {made.txid(): made.serialize(with_witness=False)}
    assert count == 1


def test_what_made_a_coin_from_before_is_read_from_its_block(
    court: Watched, chain: BitcoinCore
) -> None:
    """Of a coin that the search found, and of one that an older version kept without."""
    fund(court.devnet, 77_000)
    mine(court.devnet, spending(fund(court.devnet, 66_000), pays=65_000), count=3)
    import_wallet(court)
    watcher = Watcher(court.db, chain)
    settle_scan(watcher, court)
    settle_parents(watcher, court)
    with court.db.transaction() as conn:
        conn.execute("DELETE FROM fee_wallet_parents")
        conn.execute("UPDATE fee_wallet_coins SET block_hash = NULL WHERE value_sat = 77000")
    assert {77_000, 65_000} <= set(unproved(court))
    again = Watcher(court.db, chain)
    watcher.watcher.stand_down()
    settle_parents(again, court)


def test_a_coin_whose_block_is_pruned_stays_without_proof(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fund(court.devnet, 77_000)
    mine(court.devnet, count=2)
    import_wallet(court)
    asked: list[BlockHash] = []

    def pruned(block_hash: BlockHash) -> bytes:
        asked.append(block_hash)
        raise BlockUnavailable("pruned")

    watcher = Watcher(court.db, chain)
    watcher.settle()
    monkeypatch.setattr(chain, "raw_block", pruned)
    settle_scan(watcher, court)
    for _ in range(100):
        watcher.step()
    assert 77_000 in unproved(court)
    assert len(asked) == len(set(asked)) > 0


def test_what_made_a_coin_is_looked_for_again_when_the_node_did_not_answer(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it pays alone until another watcher leads, though the node was away for a moment."""
    fund(court.devnet, 77_000)
    mine(court.devnet, count=2)
    import_wallet(court)
    watcher = Watcher(court.db, chain)
    watcher.settle()
    raw_block, failing = chain.raw_block, [True]

    def away_once(block_hash: BlockHash) -> bytes:
        if failing:
            failing.clear()
            raise ChainUnavailable("away")
        return raw_block(block_hash)

    monkeypatch.setattr(chain, "raw_block", away_once)
    settle_scan(watcher, court)
    settle_parents(watcher, court)
    assert not failing


def test_a_coin_made_and_spent_in_one_block_is_spent(court: Watched, watcher: Watcher) -> None:
    import_wallet(court)
    settle_scan(watcher, court)
    coin = fund(court.devnet, 50_000)
    parent = paying(coin, (40_000, ANYONE))
    child = paying(OutPoint.of(parent.txid(), 0), (35_000, OTHER))
    mine(court.devnet, parent, child)
    watcher.settle()
    assert 35_000 in values(court)
    assert not {50_000, 40_000} & set(values(court))


def test_p8_a_reorg_takes_coins_back_and_gives_spent_ones_again(
    court: Watched, watcher: Watcher
) -> None:
    import_wallet(court)
    settle_scan(watcher, court)
    coin = fund(court.devnet, 50_000)
    watcher.settle()
    before = values(court)
    assert 50_000 in before
    mine(court.devnet, paying(coin, (44_000, OTHER)))
    watcher.settle()
    assert 44_000 in values(court)
    reorg(court.devnet, 1)
    watcher.settle()
    assert values(court) == before
    other = paying(coin, (43_000, OTHER))
    mine(court.devnet, other)
    watcher.settle()
    assert 43_000 in values(court)
    assert 50_000 not in values(court)


def test_a_coinbase_is_no_coin(court: Watched, watcher: Watcher) -> None:
    import_wallet(court)
    settle_scan(watcher, court)
    before = values(court)
    court.devnet.rpc("generatetodescriptor", 1, f"raw({ANYONE.hex()})")
    watcher.settle()
    assert values(court) == before


def test_b4_a_damaged_coin_is_a_damaged_block(court: Watched, watcher: Watcher) -> None:
    """More than can ever be: the watcher lives on, tells it, and asks again."""
    import_wallet(court)
    settle_scan(watcher, court)
    settle_parents(watcher, court)
    fund(court.devnet, 50_000)
    raw = bytes.fromhex(court.devnet.rpc("getblock", court.devnet.rpc("getbestblockhash"), 0))
    paid = (50_000).to_bytes(8, "little") + bytes([len(ANYONE)]) + ANYONE
    assert paid in raw
    damaged = raw.replace(paid, b"\xff" * 8 + paid[8:]).hex()
    court.devnet.rpc("devnet_set_fault", method="rest", calls=1, http_status=404)
    court.devnet.rpc("devnet_set_fault", method="getblock", calls=1, result=damaged)
    watcher.step()
    with court.db.transaction() as conn:
        assert [alarm.kind for alarm in alarms.list_open(conn)] == ["block_unavailable"]
    assert 50_000 not in values(court)
    for _ in range(3):
        watcher.settle()
    assert 50_000 in values(court)


def test_coins_from_before_the_first_start_are_found(court: Watched, chain: BitcoinCore) -> None:
    coin = fund(court.devnet, 77_000)
    mine(court.devnet, spending(fund(court.devnet, 66_000), pays=65_000), count=3)
    import_wallet(court)
    watcher = Watcher(court.db, chain)
    settle_scan(watcher, court)
    assert {77_000, 65_000} <= set(values(court))
    with court.db.transaction() as conn:
        [found] = [c for c in fee_coins.unspent(conn, "alice") if c.outpoint == coin]
    assert (found.index, found.script_pubkey) == (0, ANYONE)


def after_each_scan(
    chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]
) -> None:
    """Something happens while the node still searches, each time."""
    scan = chain.scan

    def long_scan(scripts: Sequence[Script]) -> Scan:
        found = scan(scripts)
        happens()
        return found

    monkeypatch.setattr(chain, "scan", long_scan)


def test_a_scan_that_takes_longer_than_a_block_counts(
    court: Watched, chain: BitcoinCore, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow node every one of them does."""
    kept, spent = fund(court.devnet, 60_000), fund(court.devnet, 50_000)
    watcher.settle()
    after_each_scan(
        chain, monkeypatch, lambda: mine(court.devnet, paying(spent, (44_000, OTHER)), count=2)
    )
    import_wallet(court)
    settle_scan(watcher, court)
    watcher.settle()
    assert {60_000, 44_000} <= set(values(court))
    assert 50_000 not in values(court)
    with court.db.transaction() as conn:
        [found] = [c for c in fee_coins.unspent(conn, "alice") if c.outpoint == kept]
    assert found.height == court.cursor.height - 3
    reorg(court.devnet, 5)
    watcher.settle()
    assert not {60_000, 44_000} & set(values(court))


def test_p8_a_scan_whose_tip_a_reorg_took_is_begun_anew(
    court: Watched, chain: BitcoinCore, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    coin = fund(court.devnet, 50_000)
    moved = paying(coin, (44_000, OTHER))
    watcher.settle()
    happened: list[int] = []

    def once() -> None:
        if not happened:
            happened.append(1)
            reorg(court.devnet, 1, holding=[])

    after_each_scan(chain, monkeypatch, once)
    mine(court.devnet, moved)
    watcher.settle()
    import_wallet(court)
    settle_scan(watcher, court)
    watcher.settle()
    assert 50_000 in values(court)
    assert 44_000 not in values(court)


def test_a_wallet_that_anybody_fills_with_coins_does_not_stop_the_watcher(court: Watched) -> None:
    """A transaction that says nothing to Postgres for 15 s is over, at every try again."""
    import_wallet(court)
    some = random.Random(1)
    noise = some.randbytes(3_900_000)
    raw = block_of(paying(OutPoint.of(Txid(bytes(32)), 0), (0, noise)))
    with court.db.transaction() as conn:
        made = [
            NewCoin(
                OutPoint.of(Txid(some.randbytes(32)), 0),
                Script(ANYONE),
                Satoshi(330),
                BlockHeight(1),
                BlockHash(bytes(32)),
            )
            for _ in range(60_000)
        ]
        fee_coins.add(conn, made)
        wallet_coins.connect(conn, BlockHeight(2), BlockHash(bytes(32)), raw)
        assert len(fee_coins.outpoints(conn)) == len(made)

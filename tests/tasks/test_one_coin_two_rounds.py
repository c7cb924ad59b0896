"""The two rounds of a node pay from one fee wallet: who comes second pays with other coins."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wpkh
from contractcourt.bitcoin.transaction import TxIn
from contractcourt.bolt3 import points
from contractcourt.signing import SignedTransaction
from contractcourt.sweeping.drafts import Draft, FeeWallet, WalletCoin, draft
from contractcourt.sweeping.groups import Group
from contractcourt.units import (
    BlockHash,
    BlockHeight,
    FeeratePerKw,
    HexBytes,
    Satoshi,
    Secret,
    Txid,
)
from storage import broadcasts, fee_coins, fee_wallets, sweep_inputs
from storage.database import Connection, Database
from storage.fee_coins import NewCoin
from storage.sweep_inputs import StoredSweep
from tasks.crash_points import CrashPoint
from tasks.resources import Resources
from tasks.sweeper import outgoing
from tasks.sweeper.attempt import Ready
from tasks.sweeper.outgoing import Outgoing
from tasks.sweeper.wallet import NodeWallet
from tests.legible import all_of
from tests.tasks.test_urgent_lane import breach

_SCRIPT = p2wpkh(points.public_key(Secret(b"\x21" * 32)))
_BOTH = [OutPoint.of(Txid(b"\x0c" * 32), index) for index in (0, 1)]
_HEIGHT = BlockHeight(100)


@pytest.fixture
def rows(db: Database) -> list[StoredSweep]:
    """Two outputs of one node to sweep, and a fee wallet of two coins."""
    node = breach(db, "the first")[0].node
    breach(db, "the second")

    def prepare(conn: Connection) -> list[StoredSweep]:
        fee_wallets.put_scripts(conn, node, [_SCRIPT])
        made = (Satoshi(50_000), _HEIGHT, BlockHash(bytes(32)))
        fee_coins.add(conn, [NewCoin(coin, _SCRIPT, *made) for coin in _BOTH])
        return all_of(StoredSweep, sweep_inputs.free(conn, node, urgent=True))

    return db.run(prepare)


def _ready(row: StoredSweep, coins: tuple[WalletCoin, ...]) -> Ready:
    """A sweep of this output which spends these coins too, as one of our own HTLCs does."""
    made = draft(Group.alone(row.input, FeeratePerKw(1_000)), FeeWallet(), FeeratePerKw(253))
    assert isinstance(made, Draft)
    spent = (*made.tx.inputs, *(TxIn(coin.outpoint) for coin in coins))
    tx = replace(made.tx, inputs=spent)
    signed = SignedTransaction(HexBytes(tx.serialize()), tx.txid())
    return Ready(replace(made, tx=tx, coins=coins), signed, None)


class Round:
    """A round of one lane that has read the wallet, and chosen a coin for its output."""

    def __init__(self, held: Resources, row: StoredSweep, *, urgent: bool) -> None:
        node = row.wish.channel.node
        self.wallet = held.db.run(lambda conn: NodeWallet.read(conn, node))
        self._way_out = Outgoing(held, self.wallet, urgent=urgent)
        self._way_out.remember([row])
        self._row = row

    def coins(self) -> list[WalletCoin]:
        """Those that it may spend."""
        return sorted(self.wallet.at(_HEIGHT).coins, key=lambda coin: coin.outpoint)

    def store(self) -> tuple[list[Ready], list[Group]]:
        """A transaction that spends the first of them."""
        return self._way_out.store_and_send([_ready(self._row, tuple(self.coins()[:1]))])


def _spent(db: Database) -> set[OutPoint]:
    with db.transaction() as conn:
        return broadcasts.spending(conn, _BOTH)


def test_who_comes_second_tries_again_with_another_coin(
    held: Resources, rows: list[StoredSweep]
) -> None:
    first, second = Round(held, rows[0], urgent=True), Round(held, rows[1], urgent=False)
    [kept], outrun = first.store()
    assert not outrun
    assert kept.coins == {_BOTH[0]}
    kept_too, [group] = second.store()
    assert not kept_too
    assert group.outpoints == {rows[1].outpoint}
    assert [coin.outpoint for coin in second.coins()] == _BOTH[1:]
    [kept], outrun = second.store()
    assert not outrun
    assert kept.coins == {_BOTH[1]}
    assert _spent(held.db) == set(_BOTH)


def test_l9_what_is_wanted_no_more_when_it_is_signed_is_not_sent(
    held: Resources, rows: list[StoredSweep]
) -> None:
    """As a child of our commitment that was mined meanwhile: its fee would be for nothing."""
    late = Round(held, rows[0], urgent=True)
    channel_id = rows[0].channel_id
    held.db.run(lambda conn: sweep_inputs.keep_only(conn, [(channel_id, ())]))
    assert late.store() == ([], [])
    assert not _spent(held.db)


@contextmanager
def _paused_before_its_commit(monkeypatch: pytest.MonkeyPatch, other: Round) -> Iterator[list[str]]:
    """Whoever stores first goes on when the other one has ended, or has waited a second for it."""
    happened: list[str] = []
    with ThreadPoolExecutor(1) as pool:

        def reach(point: CrashPoint) -> None:
            if point is CrashPoint.SWEEP_BEFORE_COMMIT and not happened:
                happened.append("paused")
                ended = pool.submit(lambda: happened.append(f"stored {len(other.store()[0])}"))
                with pytest.raises(TimeoutError):
                    ended.result(timeout=1.0)

        monkeypatch.setattr(outgoing, "reach", reach)
        yield happened


def test_two_that_store_at_once_do_not_spend_one_coin(
    held: Resources, rows: list[StoredSweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Round(held, rows[0], urgent=True), Round(held, rows[1], urgent=False)
    with _paused_before_its_commit(monkeypatch, second) as happened:
        kept, _ = first.store()
    assert len(kept) == 1
    assert happened == ["paused", "stored 0"]
    assert _spent(held.db) == {_BOTH[0]}

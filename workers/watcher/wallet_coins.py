"""The coins of the fee wallets, followed block by block, and looked for once in the UTXO set.

A wallet has a few scripts, so a block is searched for their bytes as they stand, and its outputs
are only read when one occurs. Coins it may have in any number, for anybody may send it more.
Outputs of a coinbase are left out: they can't be spent for a hundred blocks, and a reorg destroys
them for good.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from chain.errors import ChainError
from chain.view import ChainView, Scan
from contractcourt.bitcoin.block import spends_of, walk
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.errors import MalformedBlock, MalformedTransaction
from contractcourt.units import BlockHash, BlockHeight, Satoshi, Script
from storage import fee_coins, fee_wallets, lease, sweep_rounds
from storage.blocks import Cursor
from storage.database import Connection, Database
from storage.fee_coins import NewCoin, Parent
from tasks.beside import beside
from workers.watcher.unreadable import UnreadableBlock

_log = structlog.get_logger()


def connect(conn: Connection, height: BlockHeight, block_hash: BlockHash, raw: bytes) -> None:
    """Store the block's coins and spends of every fee wallet. Raises UnreadableBlock."""
    scripts = {bytes(one.script_pubkey) for one in fee_wallets.scripts(conn)}
    if not scripts:
        return
    coins = {bytes(outpoint) for outpoint in fee_coins.outpoints(conn)}
    try:
        made, parents = _made(raw, scripts, height, block_hash)
        # One of the same block may be spent in it.
        coins |= {bytes(coin.outpoint) for coin in made}
        spent = [spend.outpoint for spend in spends_of(raw, coins)]
    except (MalformedBlock, MalformedTransaction) as error:
        raise UnreadableBlock(height, block_hash, error) from error
    fee_coins.add(conn, made)
    fee_coins.add_parents(conn, parents)
    fee_coins.spend(conn, spent, height, block_hash)


def _made(
    raw: bytes, scripts: set[bytes], height: BlockHeight, block_hash: BlockHash
) -> tuple[list[NewCoin], list[Parent]]:
    """The coins that the block makes, and the transactions that make them."""
    made: list[NewCoin] = []
    parents: list[Parent] = []
    if not any(script in raw for script in scripts):
        return made, parents
    for item in walk(raw)[1]:
        if item.index == 0 or not any(script in item.raw for script in scripts):
            continue
        parent = Parent(item.txid(), item.without_witness())
        coins = [
            NewCoin(
                OutPoint.of(parent.txid, vout),
                Script(output.script_pubkey),
                Satoshi(output.value),
                height,
                block_hash,
            )
            for vout, output in enumerate(Transaction.parse(item.raw).outputs)
            if output.script_pubkey in scripts and output.value > 0
        ]
        if coins:
            made += coins
            parents.append(parent)
    return made, parents


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A scan, and the scripts and the epoch that it was begun for."""

    scripts: list[Script]
    epoch: int
    scan: Future[Scan]


class WalletScan:
    """Finds the coins that were there before their wallet was known.

    The scan may take longer than blocks take to come, so it runs beside the watcher's rounds. What
    was made after its tip is seen by `connect`, and what was spent after it is asked for.
    """

    def __init__(self, db: Database, chain: ChainView) -> None:
        self._db = db
        self._chain = chain
        self._under_way: _UnderWay | None = None

    def begin_anew(self) -> None:
        """A scan that is under way counts no more: there are blocks that `connect` never saw."""
        self._under_way = None

    def step(self, epoch: int, cursor: Cursor) -> bool:
        """Begin a scan, or take in one that has ended; whether there is more to do at once."""
        begun = self._under_way
        if begun is None or begun.epoch != epoch:
            # What another leader's walk did meanwhile is not known here.
            self._under_way = self._begin(epoch)
            return False
        if not begun.scan.done():
            return False
        try:
            scan = begun.scan.result()
        except ChainError as error:
            _log.warning("looking for coins of the fee wallet failed", error=str(error))
            self.begin_anew()
            return False
        if self._chain.block_hash(scan.height) != scan.best_hash:
            self.begin_anew()
            return True
        coins = self._still_there(scan, cursor)
        if coins is None:
            return False
        self._take_in(coins, begun.scripts, epoch)
        return True

    def _still_there(self, scan: Scan, cursor: Cursor) -> list[NewCoin] | None:
        """What is unspent at the cursor; None while the node is not just there."""
        outputs = [output for output in scan.outputs if not output.coinbase]
        now = self._chain.tx_outs([output.outpoint for output in outputs])
        left = [(output, found) for output, found in zip(outputs, now, strict=True) if found]
        heights = [BlockHeight(cursor.height + 1 - found.confirmations) for _, found in left]
        hashes = self._chain.block_hashes(heights)
        if self._chain.state().best_hash != cursor.hash:
            return None
        return [
            NewCoin(o.outpoint, o.script_pubkey, o.value_sat, height, block_hash)
            for (o, _), height, block_hash in zip(left, heights, hashes, strict=True)
            if block_hash is not None
        ]

    def _take_in(self, coins: list[NewCoin], scripts: list[Script], epoch: int) -> None:
        with self._db.transaction() as conn:
            lease.hold(conn, lease.CHAIN_WATCHER, epoch)
            fee_coins.add(conn, coins)
            fee_wallets.scanned(conn, scripts)
            sweep_rounds.ask_all(conn)
        self._under_way = None
        total = sum(coin.value_sat for coin in coins)
        _log.info("coins of the fee wallet", coins=len(coins), total_sat=total)

    def _begin(self, epoch: int) -> _UnderWay | None:
        scripts = self._db.run(_unscanned)
        if not scripts:
            return None
        _log.info("looking for coins of the fee wallet", scripts=len(scripts))
        return _UnderWay(scripts, epoch, beside(lambda: self._chain.scan(scripts), "scan"))


def _unscanned(conn: Connection) -> list[Script]:
    return [one.script_pubkey for one in fee_wallets.scripts(conn) if not one.scanned]

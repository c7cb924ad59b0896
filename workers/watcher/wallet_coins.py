"""The coins of the fee wallets, followed block by block, and looked for once in the UTXO set.

A wallet has a few scripts, so a block is searched for their bytes as they stand, and its outputs
are only read when one occurs. Coins it may have in any number, for anybody may send it more.
Outputs of a coinbase are left out: they can't be spent for a hundred blocks, and a reorg destroys
them for good.
"""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread

import structlog

from chain.errors import ChainError
from chain.view import ChainView, Scan
from contractcourt.bitcoin.block import spends_of, walk
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.errors import MalformedBlock
from contractcourt.units import BlockHash, BlockHeight, Satoshi, Script
from storage import fee_coins, fee_wallets, lease, sweep_rounds
from storage.blocks import Cursor
from storage.database import Connection, Database
from storage.fee_coins import NewCoin
from workers.watcher.unreadable import UnreadableBlock

_log = structlog.get_logger()


def connect(conn: Connection, height: BlockHeight, block_hash: BlockHash, raw: bytes) -> None:
    """Store the block's coins and spends of every fee wallet. Raises UnreadableBlock."""
    scripts = {bytes(one.script_pubkey) for one in fee_wallets.scripts(conn)}
    if not scripts:
        return
    coins = {bytes(outpoint) for outpoint in fee_coins.outpoints(conn)}
    try:
        made = _made(raw, scripts, height, block_hash)
        coins |= {
            bytes(coin.outpoint) for coin in made
        }  # One of the same block may be spent in it.
        spent = [spend.outpoint for spend in spends_of(raw, coins)]
    except MalformedBlock as error:
        raise UnreadableBlock(height, block_hash, error) from error
    fee_coins.add(conn, made)
    fee_coins.spend(conn, spent, height, block_hash)


def _made(
    raw: bytes, scripts: set[bytes], height: BlockHeight, block_hash: BlockHash
) -> list[NewCoin]:
    """The coins that the block makes."""
    if not any(script in raw for script in scripts):
        return []
    made: list[NewCoin] = []
    for item in walk(raw)[1]:
        if item.index == 0 or not any(script in item.raw for script in scripts):
            continue
        txid = item.txid()
        for vout, output in enumerate(Transaction.parse(item.raw).outputs):
            if output.script_pubkey in scripts and output.value > 0:
                outpoint = OutPoint.of(txid, vout)
                script, value = Script(output.script_pubkey), Satoshi(output.value)
                made.append(NewCoin(outpoint, script, value, height, block_hash))
    return made


class WalletScan:
    """Finds the coins that were there before their wallet was known.

    The scan may take minutes, so it runs beside the watcher's rounds; it counts only when its tip
    is the cursor, for everything after the cursor is seen by `connect`.
    """

    def __init__(self, db: Database, chain: ChainView) -> None:
        self._db = db
        self._chain = chain
        self._running: Future[Scan] | None = None
        self._scripts: list[Script] = []

    def step(self, epoch: int, cursor: Cursor) -> bool:
        """Begin a scan, or take in one that has ended; whether there is more to do at once."""
        if self._running is None:
            self._scripts = self._db.run(_unscanned)
            if self._scripts:
                _log.info("looking for coins of the fee wallet", scripts=len(self._scripts))
                self._running = self._begin(self._scripts)
            return False
        if not self._running.done():
            return False
        ended, self._running = self._running, None
        try:
            scan = ended.result()
        except ChainError as error:
            _log.warning("looking for coins of the fee wallet failed", error=str(error))
            return False
        return self._take_in(scan, epoch, cursor)

    def _take_in(self, scan: Scan, epoch: int, cursor: Cursor) -> bool:
        if scan.best_hash != cursor.hash:
            return True
        outputs = [output for output in scan.outputs if not output.coinbase]
        hashes = self._chain.block_hashes([output.height for output in outputs])
        if self._chain.block_hash(cursor.height) != cursor.hash or None in hashes:
            return True
        coins = [
            NewCoin(o.outpoint, o.script_pubkey, o.value_sat, o.height, block_hash)
            for o, block_hash in zip(outputs, hashes, strict=True)
            if block_hash is not None
        ]
        with self._db.transaction() as conn:
            lease.hold(conn, lease.CHAIN_WATCHER, epoch)
            fee_coins.add(conn, coins)
            fee_wallets.scanned(conn, self._scripts)
            sweep_rounds.ask_all(conn)
        total = sum(coin.value_sat for coin in coins)
        _log.info("coins of the fee wallet", coins=len(coins), total_sat=total)
        return True

    def _begin(self, scripts: list[Script]) -> Future[Scan]:
        """In a thread that ends with the process, however long the scan would still take."""
        scan: Future[Scan] = Future()

        def run() -> None:
            try:
                scan.set_result(self._chain.scan(scripts))
            except Exception as error:
                scan.set_exception(error)

        Thread(target=run, name="scan", daemon=True).start()
        return scan


def _unscanned(conn: Connection) -> list[Script]:
    return [one.script_pubkey for one in fee_wallets.scripts(conn) if not one.scanned]

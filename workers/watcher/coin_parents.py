"""What made coins of the fee wallets and is not known yet, looked for in their blocks.

The watcher sees most of them with their coins. Not those of coins that were found in the UTXO set,
or that a version followed which did not keep them. A block takes its time, so it is read beside the
watcher's rounds. What the Bitcoin node has pruned stays unknown: such a coin pays alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import structlog

from chain.errors import BlockUnavailable, ChainError
from chain.view import ChainView
from contractcourt.bitcoin.block import walk
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.errors import MalformedBlock
from storage import fee_coins, lease
from storage.database import Database
from storage.fee_coins import Orphan, Parent
from tasks.beside import beside

_log = structlog.get_logger()

#: The largest coins alone: a wallet may have any number, which anybody may have sent.
_MOST_COINS = 200


class CoinParents:
    """Looks for them when a leader begins, and when coins were found: a block at a time."""

    def __init__(self, db: Database, chain: ChainView) -> None:
        self._db = db
        self._chain = chain
        self._epoch: int | None = None
        self._looked_for: set[OutPoint] = set()
        #: Of these last, and of all of these the node did not answer: it is asked again at the end.
        self._asked: set[OutPoint] = set()
        self._unanswered: set[OutPoint] = set()
        self._is_done = False
        self._under_way: Future[list[Parent]] | None = None

    def look_again(self) -> None:
        """There may be coins that were not there when it was last done."""
        self._is_done = False

    def step(self, epoch: int) -> bool:
        """Begin with a block, or take in what one had; whether there is more to do at once."""
        if epoch != self._epoch:
            self._epoch, self._is_done = epoch, False
            self._looked_for.clear()
            self._unanswered.clear()
        if self._under_way is None:
            if not self._is_done:
                self._begin()
            return False
        if not self._under_way.done():
            return False
        search, self._under_way = self._under_way, None
        try:
            found = search.result()
        except ChainError as error:
            _log.warning("looking for what made a coin of the fee wallet failed", error=str(error))
            self._unanswered |= self._asked
            return False
        with self._db.transaction() as conn:
            lease.hold(conn, lease.CHAIN_WATCHER, epoch)
            fee_coins.add_parents(conn, found)
        return True

    def _begin(self) -> None:
        """The block of the largest coin."""
        orphans = self._db.run(lambda conn: fee_coins.orphans(conn, _MOST_COINS))
        left = [one for one in orphans if one.outpoint not in self._looked_for]
        if not left:
            self._is_done = not self._unanswered
            self._looked_for -= self._unanswered
            self._unanswered.clear()
            return
        together = [one for one in left if one.height == left[0].height]
        self._asked = {one.outpoint for one in together}
        self._looked_for |= self._asked
        self._under_way = beside(lambda: self._read(together), "coin parents")

    def _read(self, together: Sequence[Orphan]) -> list[Parent]:
        """What their block has of them: nothing where it can't be read. Raises ChainError."""
        block_hash = together[0].block_hash or self._chain.block_hash(together[0].height)
        if block_hash is None:
            return []
        wanted = {one.outpoint.txid for one in together}
        try:
            named = [(tx.txid(), tx) for tx in walk(self._chain.raw_block(block_hash))[1]]
        except (BlockUnavailable, MalformedBlock) as error:
            _log.info("what made a coin of the fee wallet can't be had", reason=str(error))
            return []
        return [Parent(txid, tx.without_witness()) for txid, tx in named if txid in wanted]

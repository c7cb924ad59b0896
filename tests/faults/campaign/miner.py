"""The chain: blocks, and reorganisations in which most of what was mined is mined again."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from contractcourt.bitcoin.transaction import Transaction
from tests.faults.client import StubbornClient


class Miner:
    """Mines for one court's chain, and rebroadcasts for the peers as their nodes would."""

    def __init__(self, client: StubbornClient) -> None:
        self._client = client
        self._of_peers: list[str] = []
        self.blocks = 0
        self.reorgs: list[int] = []

    def keep_sending(self, tx_hex: str) -> None:
        """A peer's transaction: sent now, and again before each block."""
        self._of_peers.append(tx_hex)
        self._offer(tx_hex)

    def mine(self, forced: Sequence[str] = ()) -> None:
        """One block of the mempool and of `forced`, which passes the mempool by."""
        for tx_hex in self._of_peers:
            self._offer(tx_hex)
        self._client.rpc("devnet_mine", 1, list(forced), True)
        self.blocks += 1

    def mine_idle_ones(self) -> None:
        """As many blocks as nothing happens in."""
        due = self._client.next_deadline()
        if due is None or self._client.rpc("getrawmempool"):
            return
        idle = due - 1 - self._client.height()
        if idle > 0:
            self._client.mine(idle)
            self.blocks += idle

    def reorganise(
        self, depth: int, *, instead: Collection[str] = (), by: Sequence[str] = ()
    ) -> None:
        """Replace the last blocks by others with the same transactions, and one more block.

        Args:
            instead: txids that are not mined again, nor what spends them.
            by: transactions for the first new block.
        """
        height = self._client.height()
        old = [self._client.transactions_at(h) for h in range(height - depth + 1, height + 1)]
        self._client.rpc("devnet_reorg", depth, 0, False)
        gone = set(instead)
        for number, transactions in enumerate(old):
            kept = []
            for txid, tx_hex in transactions:
                if txid in gone or _spends(tx_hex) & gone:
                    gone.add(txid)
                else:
                    kept.append(tx_hex)
            first = list(by) if number == 0 else []
            self._client.rpc("devnet_mine", 1, first + kept, False)
        self.mine()
        self.blocks += depth
        self.reorgs.append(depth)

    def _offer(self, tx_hex: str) -> None:
        """Once it is mined, or something else is, the node says no; that settles it."""
        self._client.rpc_or_none("sendrawtransaction", tx_hex)


def _spends(tx_hex: str) -> set[str]:
    tx = Transaction.parse(bytes.fromhex(tx_hex))
    return {str(given.outpoint.txid) for given in tx.inputs}

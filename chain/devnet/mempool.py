"""The transactions that wait for a block, who spends what, and what leaves with whom.

Entries stand in an order in which every parent comes before its children. Whether a transaction
may enter is decided in `policy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from chain.devnet.coins import Coin
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, sha256d
from contractcourt.units import Txid


@dataclass(frozen=True, slots=True)
class Entry:
    """One waiting transaction. `fee` in satoshi, `height` the tip's when it came."""

    tx: Transaction
    raw: bytes
    txid: Txid
    wtxid: Txid
    fee: int
    weight: int
    time: int
    height: int

    @property
    def vsize(self) -> int:
        return (self.weight + 3) // 4


def wtxid_of(raw: bytes) -> Txid:
    """The hash of the whole transaction (BIP 141)."""
    return Txid(sha256d(raw))


class Mempool:
    """Waiting transactions by txid, oldest first."""

    def __init__(self) -> None:
        self._entries: dict[Txid, Entry] = {}
        self._spender: dict[OutPoint, Txid] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, txid: Txid) -> bool:
        return txid in self._entries

    def get(self, txid: Txid) -> Entry | None:
        return self._entries.get(txid)

    def spender(self, outpoint: OutPoint) -> Entry | None:
        """The waiting transaction that spends this output."""
        txid = self._spender.get(outpoint)
        return self._entries[txid] if txid is not None else None

    def coin(self, outpoint: OutPoint, height: int) -> Coin | None:
        """An output of a waiting transaction, spent by another one or not."""
        entry = self._entries.get(outpoint.txid)
        if entry is None or outpoint.vout >= len(entry.tx.outputs):
            return None
        output = entry.tx.outputs[outpoint.vout]
        return Coin(output.value, output.script_pubkey, height, False)

    def parents(self, entry: Entry) -> list[Entry]:
        """The waiting transactions whose outputs it spends."""
        txids = dict.fromkeys(item.outpoint.txid for item in entry.tx.inputs)
        return [self._entries[txid] for txid in txids if txid in self._entries]

    def children(self, entry: Entry) -> list[Entry]:
        """The waiting transactions that spend its outputs."""
        outpoints = (OutPoint.of(entry.txid, vout) for vout in range(len(entry.tx.outputs)))
        txids = dict.fromkeys(self._spender[item] for item in outpoints if item in self._spender)
        return [self._entries[txid] for txid in txids]

    def ancestors(self, entry: Entry) -> list[Entry]:
        """Itself and every waiting transaction that it needs."""
        return self._reach(entry, self.parents)

    def descendants(self, entry: Entry) -> list[Entry]:
        """Itself and every waiting transaction that needs it."""
        return self._reach(entry, self.children)

    def add(self, entry: Entry) -> None:
        """Let it in; its conflicts must have left before."""
        self._entries[entry.txid] = entry
        for item in entry.tx.inputs:
            self._spender[item.outpoint] = entry.txid

    def remove(self, entry: Entry) -> None:
        """Take out this one alone: a block holds it."""
        del self._entries[entry.txid]
        for item in entry.tx.inputs:
            del self._spender[item.outpoint]

    def evict(self, entry: Entry) -> list[Entry]:
        """Take it out with all that needs it; returns them."""
        gone = self.descendants(entry)
        for item in gone:
            self.remove(item)
        return gone

    def block_connected(self, txs: Iterable[tuple[Txid, Transaction]]) -> None:
        """Remove what a block holds, and what conflicts with it."""
        for txid, tx in txs:
            held = self._entries.get(txid)
            if held is not None:
                self.remove(held)
            for item in tx.inputs:
                rival = self.spender(item.outpoint)
                if rival is not None:
                    self.evict(rival)

    def clear(self) -> list[Entry]:
        """Empty it; returns what it held, parents before children."""
        held = list(self._entries.values())
        self._entries.clear()
        self._spender.clear()
        return held

    @staticmethod
    def _reach(entry: Entry, step: Callable[[Entry], list[Entry]]) -> list[Entry]:
        found = {entry.txid: entry}
        queue = [entry]
        while queue:
            for item in step(queue.pop()):
                if item.txid not in found:
                    found[item.txid] = item
                    queue.append(item)
        return list(found.values())

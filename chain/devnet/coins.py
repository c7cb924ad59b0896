"""The unspent outputs of the active chain, and what each block took from them.

The kernel keeps a UTXO set of its own but shows none of it; this one is moved along with the
kernel's tip, block by block, forwards and backwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from contractcourt.bitcoin.block import walk
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.units import Txid

_OP_RETURN = 0x6A


@dataclass(frozen=True, slots=True)
class Coin:
    """One unspent output. `height` is where it was made; a mempool output stands at tip + 1."""

    value: int
    script: bytes
    height: int
    coinbase: bool


@dataclass(frozen=True, slots=True)
class BlockBody:
    """A block's transactions, read once."""

    transactions: tuple[Transaction, ...]
    txids: tuple[Txid, ...]

    @classmethod
    def read(cls, raw_block: bytes) -> BlockBody:
        """Raises MalformedBlock or MalformedTransaction."""
        transactions = tuple(Transaction.parse(item.raw) for item in walk(raw_block)[1])
        return cls(transactions, tuple(tx.txid() for tx in transactions))


class CoinSet:
    """Every unspent output of the active chain."""

    def __init__(self) -> None:
        self._coins: dict[OutPoint, Coin] = {}
        self._outpoints_of_script: dict[bytes, dict[OutPoint, None]] = {}

    def __len__(self) -> int:
        return len(self._coins)

    def get(self, outpoint: OutPoint) -> Coin | None:
        return self._coins.get(outpoint)

    def paying_to(self, script: bytes) -> list[tuple[OutPoint, Coin]]:
        """The unspent outputs with this scriptPubKey, oldest first."""
        return [(item, self._coins[item]) for item in self._outpoints_of_script.get(script, ())]

    def connect(self, body: BlockBody, height: int) -> list[tuple[OutPoint, Coin]]:
        """Apply a block that consensus accepted; returns what it spent, for `disconnect`."""
        spent: list[tuple[OutPoint, Coin]] = []
        for position, (tx, txid) in enumerate(zip(body.transactions, body.txids, strict=True)):
            if position:
                for item in tx.inputs:
                    spent.append((item.outpoint, self._take(item.outpoint)))
            for vout, output in enumerate(tx.outputs):
                if output.script_pubkey[:1] != bytes([_OP_RETURN]):
                    coin = Coin(output.value, output.script_pubkey, height, position == 0)
                    self._put(OutPoint.of(txid, vout), coin)
        return spent

    def disconnect(self, body: BlockBody, spent: list[tuple[OutPoint, Coin]]) -> None:
        """Take the newest block back: its outputs go, what it spent returns."""
        for outpoint, coin in spent:
            self._put(outpoint, coin)
        for tx, txid in zip(body.transactions, body.txids, strict=True):
            for vout in range(len(tx.outputs)):
                if OutPoint.of(txid, vout) in self._coins:
                    self._take(OutPoint.of(txid, vout))

    def _put(self, outpoint: OutPoint, coin: Coin) -> None:
        self._coins[outpoint] = coin
        self._outpoints_of_script.setdefault(coin.script, {})[outpoint] = None

    def _take(self, outpoint: OutPoint) -> Coin:
        coin = self._coins.pop(outpoint)
        same_script = self._outpoints_of_script[coin.script]
        del same_script[outpoint]
        if not same_script:
            del self._outpoints_of_script[coin.script]
        return coin

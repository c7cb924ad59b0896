"""The devnet's own money: coins that anybody who knows one fixed script may spend.

There are no keys: the coins pay to a P2WSH whose script is always true. It is a script of the
devnet's own, so that no OP_TRUE output of a test is taken for a wallet coin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chain.devnet.chainstate import ChainState
from chain.devnet.coins import Coin
from chain.devnet.feerate import fee_at
from chain.devnet.mempool import Mempool
from chain.devnet.policy import COINBASE_MATURITY
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh, push
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut

_OP_DROP = b"\x75"
_OP_TRUE = b"\x51"
_WITNESS_SCRIPT = push(b"contractcourt devnet") + _OP_DROP + _OP_TRUE
_CHANGE_DUST = 330

#: Where the devnet's wallet is paid.
WALLET_SCRIPT = bytes(p2wsh(_WITNESS_SCRIPT))


class Wallet:
    """Finds mature coins and pays with them."""

    def __init__(self, chain: ChainState, mempool: Mempool) -> None:
        self._chain = chain
        self._mempool = mempool

    def pay(self, outputs: Sequence[TxOut], sat_per_kvb: int) -> Transaction | None:
        """A signed transaction with these outputs first, then change; None without coins enough."""
        inputs: list[TxIn] = []
        amount = 0
        for outpoint, coin in self._coins():
            inputs.append(TxIn(outpoint, b"", 0xFFFFFFFD, (_WITNESS_SCRIPT,)))
            amount += coin.value
            tx = _with_change(inputs, outputs, amount, sat_per_kvb)
            if tx is not None:
                return tx
        return None

    def _coins(self) -> Iterator[tuple[OutPoint, Coin]]:
        """Mature coins, then unconfirmed change."""
        height = self._chain.tip.height + 1
        for outpoint, coin in self._chain.coins.paying_to(WALLET_SCRIPT):
            mature = not coin.coinbase or height - coin.height >= COINBASE_MATURITY
            if mature and self._mempool.spender(outpoint) is None:
                yield outpoint, coin
        for entry in list(self._mempool):
            for vout, output in enumerate(entry.tx.outputs):
                if output.script_pubkey != WALLET_SCRIPT:
                    continue
                outpoint = OutPoint.of(entry.txid, vout)
                if self._mempool.spender(outpoint) is None:
                    yield outpoint, Coin(output.value, WALLET_SCRIPT, height, False)


def _with_change(
    inputs: Sequence[TxIn], outputs: Sequence[TxOut], amount: int, sat_per_kvb: int
) -> Transaction | None:
    spent = sum(output.value for output in outputs)
    tx = Transaction(2, tuple(inputs), (*outputs, TxOut(0, WALLET_SCRIPT)), 0)
    change = amount - spent - fee_at(sat_per_kvb, tx.vsize())
    if change >= _CHANGE_DUST:
        return Transaction(2, tx.inputs, (*outputs, TxOut(change, WALLET_SCRIPT)), 0)
    if not outputs:
        return None
    tx = Transaction(2, tx.inputs, tuple(outputs), 0)
    return tx if amount - spent >= fee_at(sat_per_kvb, tx.vsize()) else None

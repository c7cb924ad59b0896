"""The fee wallet of one node during a round: coins that no open broadcast spends."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.sweeping.drafts import FeeWallet, WalletCoin
from contractcourt.units import BlockHeight, Script
from storage import fee_coins, fee_wallets
from storage.broadcasts import Broadcast
from storage.database import Connection
from storage.fee_coins import FeeCoin


class NodeWallet:
    """Coins by outpoint, and which of them a transaction of this round may still spend."""

    def __init__(self, coins: list[FeeCoin], free: set[OutPoint], scripts: list[Script]) -> None:
        self._coins = {coin.outpoint: _wallet_coin(coin) for coin in coins}
        self._free = free
        self._scripts = scripts

    @classmethod
    def read(cls, conn: Connection, node: str) -> NodeWallet:
        """As it stands."""
        free = {coin.outpoint for coin in fee_coins.free(conn, node)}
        return cls(fee_coins.unspent(conn, node), free, fee_wallets.scripts_of(conn, node))

    def at(self, height: BlockHeight, replaced: Broadcast | None = None) -> FeeWallet:
        """What may be spent now, with the coins of the broadcast that is replaced.

        Change goes to another script with every block.
        """
        usable = self._free | (set(replaced.inputs) if replaced else set())
        coins = tuple(coin for outpoint, coin in self._coins.items() if outpoint in usable)
        return FeeWallet(coins, self._change_script(height))

    def pays_for(self, out: Broadcast) -> bool:
        """One of its inputs is a coin of this wallet."""
        return not self._coins.keys().isdisjoint(out.inputs)

    def take(self, coins: tuple[WalletCoin, ...]) -> None:
        """A stored broadcast spends these."""
        self._free -= {coin.outpoint for coin in coins}

    def give_back(self, given_up: Broadcast) -> None:
        """Its coins pay for others from now on."""
        self._free |= self._coins.keys() & set(given_up.inputs)

    def _change_script(self, height: BlockHeight) -> Script | None:
        if not self._scripts:
            return None
        return self._scripts[height % len(self._scripts)]


def _wallet_coin(coin: FeeCoin) -> WalletCoin:
    return WalletCoin(coin.outpoint, coin.value_sat, coin.script_pubkey, coin.index, coin.proved)

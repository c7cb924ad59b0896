"""The unsigned transactions: what a group becomes at its feerate.

Three shapes. A direct sweep pays its fee from what it takes. Second-level transactions keep each
HTLC's input and output at one index and are paid for by the fee wallet (H4). A commitment's
child spends our anchor and pays for both from the fee wallet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.bolt3 import weights
from contractcourt.bolt3.commitment import to_local_script
from contractcourt.bolt3.keys import commitment_keys
from contractcourt.channel import Channel, LocalCommitment
from contractcourt.effects import BumpCommitment
from contractcourt.errors import LawError
from contractcourt.sweeping.groups import Group, GroupKind, locktime
from contractcourt.sweeping.inputs import (
    OVERHEAD,
    SweepInput,
    dust_threshold,
    fee_for,
    input_weight,
    output_weight,
    parent_fee,
    parent_weight,
    whole_virtual_bytes,
)
from contractcourt.sweeping.replacing import Replaced
from contractcourt.units import FeeratePerKw, Satoshi, Script, WeightUnits

_FINAL_BUT_REPLACEABLE = 0xFFFFFFFD
#: Coins that pay for one group: few enough to stay far below what nodes relay.
_MOST_COINS = 20
#: One part in so many of a fee.
_CLEARLY = 20


class WalletCoin(msgspec.Struct, frozen=True):
    """A confirmed P2WPKH coin of a node's fee wallet, at `index` of its descriptor.

    `proved`: the transaction that made it is known, so that the signer can be shown its value.
    """

    outpoint: OutPoint
    value_sat: Satoshi
    script_pubkey: Script
    index: int
    proved: bool = True


@dataclass(frozen=True, slots=True)
class FeeWallet:
    """What may be spent on fees: coins nobody else has taken, and where change goes."""

    coins: tuple[WalletCoin, ...] = ()
    change_script: Script | None = None

    def without(self, taken: Sequence[WalletCoin]) -> FeeWallet:
        """What is left for the next group."""
        return FeeWallet(tuple(c for c in self.coins if c not in taken), self.change_script)


@dataclass(frozen=True, slots=True)
class Draft:
    """An unsigned transaction. Its txid is final, since only witnesses are missing.

    `shares`: what each member pays of `fee_sat`, in the members' order; they add up to it.
    `feerate_per_kw` is a package's, parent and child, for a bump. `missing_sat`: what the fee
    wallet lacks for the group's feerate.
    """

    group: Group
    tx: Transaction
    coins: tuple[WalletCoin, ...]
    fee_sat: Satoshi
    weight: WeightUnits
    feerate_per_kw: FeeratePerKw
    shares: tuple[Satoshi, ...]
    missing_sat: Satoshi

    @property
    def pays_too_little(self) -> bool:
        """Clearly less than the group offers, because the fee wallet has no more."""
        return self.missing_sat * _CLEARLY > self.fee_sat


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why there is no transaction: the fee wallet lacks so much, or the budget does."""

    missing_sat: Satoshi
    wallet: bool


def draft(
    group: Group,
    wallet: FeeWallet,
    floor: FeeratePerKw,
    replaced: Replaced | None = None,
) -> Draft | Shortfall:
    """The transaction of a group at its feerate, or as near to it as its money goes.

    `floor`: no transaction pays less. Raises LawError for a contract that no rule can spend.
    """
    if group.kind is GroupKind.DIRECT:
        return _direct(group, replaced)
    return _Funded(group, wallet, floor, replaced).draft()


def _direct(group: Group, replaced: Replaced | None) -> Draft | Shortfall:
    script = _sweep_script(group)
    own = [input_weight(member.contract) for member in group.members]
    weight = whole_virtual_bytes(OVERHEAD + output_weight(TxOut(0, bytes(script))) + sum(own))
    least = replaced.least_fee(weight) if replaced else 0
    fee = Satoshi(max(fee_for(group.feerate_per_kw, weight), least))
    left = group.value_in_sat - fee
    missing = max(fee - group.budget_sat, dust_threshold(script) - left)
    if missing > 0:
        return Shortfall(Satoshi(missing), wallet=False)
    tx = Transaction(
        version=2,
        inputs=tuple(_txin(member) for member in group.members),
        outputs=(TxOut(left, bytes(script)),),
        locktime=_locktime(group),
    )
    shares = shares_of(fee, own)
    return Draft(group, tx, (), fee, weight, rate(fee, weight), shares, Satoshi(0))


class _Funded:
    """One attempt to let the fee wallet pay for a group."""

    def __init__(
        self, group: Group, wallet: FeeWallet, floor: FeeratePerKw, replaced: Replaced | None
    ) -> None:
        self._group = group
        self._wallet = wallet
        self._floor = floor
        self._replaced = replaced
        self._own = [input_weight(member.contract) for member in group.members]
        self._outputs = [] if group.kind is GroupKind.BUMP else [_moved(m) for m in group.members]
        #: What members bring in beyond what they move on: an anchor's 330 sat.
        self._surplus = group.value_in_sat - sum(output.value for output in self._outputs)
        self._parent_weight, self._parent_fee = _parent_of(group)
        budgets = [member.want.budget_sat for member in group.members]
        self._most = most_shared(budgets, self._own)

    def draft(self) -> Draft | Shortfall:
        change = self._wallet.change_script
        if change is None or not self._wallet.coins:
            return Shortfall(self._fee(self._weight(1, change)), wallet=True)
        coins = self._choose(change)
        weight, money = self._weight(len(coins), change), self._money(coins)
        due, spare = self._due(weight), money - dust_threshold(change)
        fee, least = Satoshi(min(due, spare)), self._fee(weight, self._floor)
        # A larger coin would weigh less than several: the budgets would go further.
        several = len(coins) > 1
        if fee < least:
            return Shortfall(Satoshi(least - fee), wallet=several or spare < least)
        outputs = (*self._outputs, TxOut(money - fee, bytes(change)))
        tx = Transaction(
            version=2,
            inputs=(
                *(_txin(member) for member in self._group.members),
                *(TxIn(coin.outpoint, sequence=_FINAL_BUT_REPLACEABLE) for coin in coins),
            ),
            outputs=outputs,
            locktime=_locktime(self._group),
        )
        offered = rate(fee + self._parent_fee, weight + self._parent_weight)
        shares = shares_of(fee, self._own)
        missing = Satoshi((self._fee(weight) if several else due) - fee)
        return Draft(self._group, tx, coins, fee, weight, offered, shares, missing)

    def _choose(self, change: Script) -> tuple[WalletCoin, ...]:
        """The smallest coin that is enough; else the largest ones, while they raise the feerate.

        Whoever pays small coins to the wallet's scripts would otherwise lower it. One of them may
        be without proof of its value, as the last input (`contractcourt.proved_values`).
        """
        by_value = sorted(self._wallet.coins, key=lambda coin: coin.value_sat)
        needed = self._needed(1, change)
        for coin in by_value:
            if coin.value_sat >= needed:
                return (coin,)
        largest = next((coin for coin in reversed(by_value) if not coin.proved), None)
        by_value = [coin for coin in by_value if coin.proved or coin is largest]
        chosen: tuple[WalletCoin, ...] = (by_value[-1],)
        for coin in by_value[-2 : -1 - _MOST_COINS : -1]:
            more = (*chosen, coin)
            if self._feerate(more, change) <= self._feerate(chosen, change):
                break
            chosen = more
            if sum(c.value_sat for c in chosen) >= self._needed(len(chosen), change):
                break
        return tuple(sorted(chosen, key=lambda coin: not coin.proved))

    def _needed(self, coins: int, change: Script) -> int:
        """Of so many coins."""
        return self._due(self._weight(coins, change)) + dust_threshold(change) - self._surplus

    def _feerate(self, coins: tuple[WalletCoin, ...], change: Script) -> FeeratePerKw:
        """What a transaction with these coins pays, of parent and child together."""
        weight = self._weight(len(coins), change)
        fee = min(self._due(weight), self._money(coins) - dust_threshold(change))
        return rate(fee + self._parent_fee, weight + self._parent_weight)

    def _money(self, coins: tuple[WalletCoin, ...]) -> int:
        return self._surplus + sum(coin.value_sat for coin in coins)

    def _due(self, weight: WeightUnits) -> int:
        return min(self._fee(weight), self._most)

    def _weight(self, coins: int, change: Script | None) -> WeightUnits:
        outputs = [*self._outputs, TxOut(0, bytes(change or bytes(22)))]
        return whole_virtual_bytes(
            OVERHEAD
            + sum(self._own)
            + sum(output_weight(output) for output in outputs)
            + coins * weights.wallet_input()
        )

    def _fee(self, weight: WeightUnits, feerate: FeeratePerKw | None = None) -> Satoshi:
        """For the rate, of parent and child together; the child alone pays the floor at least."""
        offered = self._group.feerate_per_kw if feerate is None else feerate
        both = WeightUnits(weight + self._parent_weight)
        together = fee_for(offered, both) - self._parent_fee
        least = self._replaced.least_fee(weight) if self._replaced else 0
        return Satoshi(max(together, fee_for(self._floor, weight), least))


def shares_of(fee_sat: Satoshi, own_weights: Sequence[WeightUnits]) -> tuple[Satoshi, ...]:
    """A fee shared by weight, to the satoshi: nobody bears more than one that does not divide."""
    total = sum(own_weights)
    borne = [fee_sat * weight // total for weight in accumulate(own_weights, initial=0)]
    return tuple(Satoshi(after - before) for before, after in pairwise(borne))


def most_shared(budgets_sat: Sequence[Satoshi], own_weights: Sequence[WeightUnits]) -> Satoshi:
    """The largest fee of which nobody's share passes its budget."""
    total = sum(own_weights)
    shared = zip(budgets_sat, own_weights, strict=True)
    return Satoshi(min(budget * total // weight for budget, weight in shared))


def _sweep_script(group: Group) -> Script:
    scripts = {
        member.want.sweep_script
        for member in group.members
        if not isinstance(member.want, BumpCommitment)
    }
    if len(scripts) != 1:
        raise LawError("a sweep pays one script")
    return scripts.pop()


def _txin(member: SweepInput) -> TxIn:
    """BIP 68 delay where the script demands one, else merely replaceable (BIP 125)."""
    sequence = member.contract.csv_delay or _FINAL_BUT_REPLACEABLE
    return TxIn(member.outpoint, sequence=sequence)


def _locktime(group: Group) -> int:
    return max(locktime(member.contract) for member in group.members)


def _moved(member: SweepInput) -> TxOut:
    """The delayed output that an HTLC of our commitment moves to, its whole value (H3)."""
    contract = member.contract
    if contract.per_commitment_point is None:
        raise LawError(f"the commitment of {contract.outpoint} can't be rebuilt without its point")
    keys = commitment_keys(member.channel, contract.commitment_owner, contract.per_commitment_point)
    return TxOut(contract.value_sat, bytes(p2wsh(to_local_script(member.channel, keys))))


def _parent_of(group: Group) -> tuple[WeightUnits, Satoshi]:
    want = group.members[0].want
    if not isinstance(want, BumpCommitment):
        return WeightUnits(0), Satoshi(0)
    channel = group.members[0].channel
    return parent_weight(want.commitment), parent_fee(channel, want.commitment)


def parent_rate(channel: Channel, commitment: LocalCommitment) -> FeeratePerKw:
    """What our commitment pays by itself."""
    return rate(parent_fee(channel, commitment), parent_weight(commitment))


def rate(fee_sat: int, weight: int) -> FeeratePerKw:
    """Satoshi for 1000 weight units, rounded down."""
    return FeeratePerKw(fee_sat * 1000 // weight)

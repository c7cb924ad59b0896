"""One output to sweep, what it weighs, and the most that may be paid for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxOut, compact_size
from contractcourt.bolt3 import weights
from contractcourt.channel import Channel, Direction, LocalCommitment, Side
from contractcourt.contract import Contract, ContractKind
from contractcourt.effects import BumpCommitment, SweepOutput
from contractcourt.errors import LawError
from contractcourt.fee_rules import DEFAULT_FEE_POLICY
from contractcourt.units import BlockHeight, FeeratePerKw, Satoshi, Script, WeightUnits

#: Version, counts, lock time, segwit marker and flag.
OVERHEAD = 4 * (4 + 1 + 1 + 4) + 2
#: A P2WPKH output and its spend: the fee wallet's coins and change.
_CHANGE = 4 * (8 + 1 + 22)
#: The signer signs nothing dearer. It weighs what is signed, which is a little lighter than the
#: longest signatures that are reckoned with here: hence a twentieth less than its limit.
_SIGNERS_LIMIT = FeeratePerKw(DEFAULT_FEE_POLICY.max_feerate_sat_vb * 250 * 95 // 100)


@dataclass(frozen=True, slots=True)
class SweepInput:
    """An output that the law wants spent, and what was offered for it so far.

    `started_height` is where its fee curve begins; `feerate_per_kw` the most that was ever
    offered, which it never falls below again (users_ask L7). Until `patience_ends` it can wait for
    better times; None: for ever.
    """

    channel: Channel
    want: SweepOutput | BumpCommitment
    started_height: BlockHeight
    max_feerate_per_kw: FeeratePerKw
    feerate_per_kw: FeeratePerKw
    patience_ends: BlockHeight | None = None

    @property
    def contract(self) -> Contract:
        """The contract whose output this is."""
        return self.want.contract

    @property
    def outpoint(self) -> OutPoint:
        """The output."""
        return self.want.contract.outpoint

    @property
    def second_level(self) -> bool:
        """An HTLC on our own commitment: it has to pass by its second-level output (H3)."""
        return is_second_level(self.contract)

    @property
    def value_sat(self) -> Satoshi:
        """What is at stake here, for telling the more urgent from the less."""
        return value_at_stake(self.want)


def value_at_stake(want: SweepOutput | BumpCommitment) -> Satoshi:
    """What depends on this being mined: an output's value, or what a commitment may cost."""
    return want.budget_sat if isinstance(want, BumpCommitment) else want.contract.value_sat


def is_second_level(contract: Contract) -> bool:
    """An HTLC output of our own commitment."""
    htlc = contract.kind in (ContractKind.OFFERED_HTLC, ContractKind.RECEIVED_HTLC)
    return htlc and contract.commitment_owner is Side.LOCAL


def dust_threshold(script_pubkey: Script) -> Satoshi:
    """The least value of an output that nodes relay (BOLT 3, "Dust Limits"). Satoshi."""
    match len(script_pubkey):
        case 22:
            return Satoshi(294)
        case 34:
            return Satoshi(330)
        case 23:
            return Satoshi(540)
        case _:
            return Satoshi(546)


def output_weight(output: TxOut) -> WeightUnits:
    """Of one output."""
    size = 8 + len(compact_size(len(output.script_pubkey))) + len(output.script_pubkey)
    return WeightUnits(4 * size)


def input_weight(contract: Contract) -> WeightUnits:
    """Of the input that spends this contract, signatures at their longest."""
    anchors = contract.csv_delay > 0
    match contract.kind:
        case ContractKind.TO_LOCAL | ContractKind.SECOND_LEVEL:
            return weights.delayed_claim()
        case ContractKind.TO_REMOTE:
            return weights.to_remote_claim(anchors=anchors)
        case ContractKind.ANCHOR:
            return weights.anchor_claim()
        case ContractKind.OFFERED_HTLC | ContractKind.RECEIVED_HTLC if is_second_level(contract):
            offered = contract.htlc is not None and contract.htlc.direction is Direction.OFFERED
            return weights.second_level_input(offered=offered, anchors=anchors)
        case ContractKind.OFFERED_HTLC:
            return weights.timeout_claim(anchors=anchors)
        case ContractKind.RECEIVED_HTLC:
            return weights.preimage_claim(anchors=anchors)
        case ContractKind.REVOKED_TO_LOCAL | ContractKind.REVOKED_SECOND_LEVEL:
            return weights.revoked_delayed_claim()
        case ContractKind.REVOKED_HTLC:
            # Which of the two scripts it is may not be known: the heavier one.
            return weights.revoked_htlc_claim(offered_by_owner=False, anchors=True)
        case ContractKind.UNKNOWN_SPEND:
            raise LawError("an output that no rule explains can't be swept")
        case unreachable:
            assert_never(unreachable)


def whole_virtual_bytes(weight: int) -> WeightUnits:
    """Rounded up: nodes hold a fee against the virtual size."""
    return WeightUnits(-(-weight // 4) * 4)


def fee_for(feerate: FeeratePerKw, weight: WeightUnits) -> Satoshi:
    """Rounded up, so that a rate at the node's floor is never just below it."""
    return Satoshi(-(-feerate * weight // 1000))


def parent_weight(commitment: LocalCommitment) -> WeightUnits:
    """The weight of our signed commitment."""
    unsigned = Transaction.parse(commitment.tx).weight()
    return WeightUnits(unsigned + weights.FUNDING_WITNESS)


def parent_fee(channel: Channel, commitment: LocalCommitment) -> Satoshi:
    """What our commitment itself pays."""
    outputs = Transaction.parse(commitment.tx).outputs
    return Satoshi(channel.capacity_sat - sum(output.value for output in outputs))


def limit(item: SweepInput) -> FeeratePerKw:
    """The feerate at which this input, alone in a transaction, uses up its budget.

    For a commitment it is the rate of both transactions together. No group ever offers more for
    it, so that what was offered once is affordable alone too.
    """
    want = item.want
    if isinstance(want, BumpCommitment):
        child = alone_weight(item)
        both = child + parent_weight(want.commitment)
        paid = want.budget_sat + parent_fee(item.channel, want.commitment)
        return _capped(item, paid * 1000 // both)
    budget = want.budget_sat
    if not item.second_level:
        budget = Satoshi(min(budget, item.contract.value_sat - dust_threshold(want.sweep_script)))
    return _capped(item, max(budget, 0) * 1000 // alone_weight(item))


def alone_weight(item: SweepInput) -> WeightUnits:
    """Of a transaction with this input alone; where a fee wallet pays, with one coin and change."""
    return whole_virtual_bytes(shared_weight(item) + own_weight(item))


def shared_weight(item: SweepInput) -> WeightUnits:
    """What a transaction of this kind weighs without the inputs that are swept by it."""
    want = item.want
    if isinstance(want, BumpCommitment) or item.second_level:
        return WeightUnits(OVERHEAD + weights.wallet_input() + _CHANGE)
    return WeightUnits(OVERHEAD + output_weight(TxOut(0, bytes(want.sweep_script))))


def own_weight(item: SweepInput) -> WeightUnits:
    """What this input adds to it: an HTLC of our own commitment brings its output along."""
    moved = weights.HTLC_OUTPUT if item.second_level else 0
    return WeightUnits(input_weight(item.contract) + moved)


def _capped(item: SweepInput, feerate: int) -> FeeratePerKw:
    return FeeratePerKw(min(feerate, item.max_feerate_per_kw, _SIGNERS_LIMIT))

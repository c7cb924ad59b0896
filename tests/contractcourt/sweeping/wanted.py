"""Outputs that a court wants swept, without a court: contracts of one simulated channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wpkh
from contractcourt.bolt3 import points
from contractcourt.channel import Direction, Htlc, Side
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.effects import BumpCommitment, SweepOutput
from contractcourt.sweeping.drafts import FeeWallet, WalletCoin
from contractcourt.sweeping.inputs import SweepInput
from contractcourt.sweeping.market import TARGETS, Market
from contractcourt.units import (
    BlockHeight,
    Blocks,
    FeeratePerKw,
    Millisatoshi,
    PaymentHash,
    Satoshi,
    Script,
    Secret,
    Txid,
)
from workers.simulation.channel import SimulatedChannel

SIM = SimulatedChannel("swept").funded(OutPoint.of(Txid(b"\x07" * 32), 0))
WALLET_SCRIPT = p2wpkh(points.public_key(Secret(b"\x21" * 32)))
MOST = FeeratePerKw(250_000)


def outpoint(number: int) -> OutPoint:
    return OutPoint.of(Txid(number.to_bytes(32, "big")), number % 7)


@dataclass(frozen=True)
class Wanted:
    """What to make; `item` makes it."""

    number: int
    kind: ContractKind = ContractKind.TO_REMOTE
    value_sat: int = 100_000
    deadline: int | None = None
    budget_percent: int = 50
    owner: Side = Side.REMOTE
    expiry: int = 500
    started: int = 100
    offered: int = 0
    txid: Txid | None = None

    def item(self) -> SweepInput:
        """The input as the sweeper holds it."""
        deadline = None if self.deadline is None else BlockHeight(self.deadline)
        want = SweepOutput(
            self._contract(),
            SIM.sweep_script,
            deadline=deadline,
            budget_sat=Satoshi(self.value_sat * self.budget_percent // 100),
        )
        offered = FeeratePerKw(self.offered)
        return SweepInput(SIM.channel, want, BlockHeight(self.started), MOST, offered)

    def _contract(self) -> Contract:
        place = outpoint(self.number)
        if self.txid is not None:
            place = OutPoint.of(self.txid, self.number)
        return Contract(
            outpoint=place,
            kind=self.kind,
            value_sat=Satoshi(self.value_sat),
            script_pubkey=Script(b"\x00\x20" + bytes(32)),
            commitment_owner=self.owner,
            commitment_number=0,
            per_commitment_point=SIM.ours.point(0),
            csv_delay=Blocks(1),
            stage=ContractStage.SWEEPING,
            confirmed_height=BlockHeight(self.started),
            htlc=self._htlc(),
        )

    def _htlc(self) -> Htlc | None:
        directions = {
            ContractKind.OFFERED_HTLC: Direction.OFFERED,
            ContractKind.RECEIVED_HTLC: Direction.RECEIVED,
        }
        if self.kind not in directions:
            return None
        return Htlc(
            id=self.number,
            direction=directions[self.kind],
            amount_msat=Millisatoshi(self.value_sat * 1000),
            payment_hash=PaymentHash(self.number.to_bytes(32, "big")),
            cltv_expiry=BlockHeight(self.expiry),
            remote_signature=None,
        )


def second_level(
    number: int, value_sat: int = 100_000, deadline: int | None = None, expiry: int = 500
) -> SweepInput:
    """An offered HTLC on our own commitment."""
    kind, owner = ContractKind.OFFERED_HTLC, Side.LOCAL
    return Wanted(number, kind, value_sat, deadline, owner=owner, expiry=expiry).item()


def bump(budget_sat: int, deadline: int | None = None, feerate_per_kw: int = 253) -> SweepInput:
    """Our commitment's anchor, to be spent by the child that pays for both."""
    sim = SimulatedChannel("bumped", feerate_per_kw=feerate_per_kw)
    sim.funded(OutPoint.of(Txid(b"\x08" * 32), 0))
    commitment = sim.local_commitment(0)
    anchor = Wanted(1, ContractKind.ANCHOR, 330, owner=Side.LOCAL, txid=commitment.txid).item()
    height = None if deadline is None else BlockHeight(deadline)
    want = BumpCommitment(anchor.contract, commitment, height, Satoshi(budget_sat))
    return SweepInput(sim.channel, want, BlockHeight(100), MOST, FeeratePerKw(0))


def wallet(*values_sat: int, unproved: Sequence[int] = ()) -> FeeWallet:
    """Coins of these values; of the `unproved` ones it is not known what made them."""
    coins = tuple(
        WalletCoin(outpoint(9_000 + i), Satoshi(value), WALLET_SCRIPT, 0, i < len(values_sat))
        for i, value in enumerate([*values_sat, *unproved])
    )
    return FeeWallet(coins, WALLET_SCRIPT)


def market(floor: int = 253, price: int | None = None, incremental: int = 250) -> Market:
    """A market with one price for every target, or without estimates."""
    told = {} if price is None else dict.fromkeys(TARGETS, FeeratePerKw(price))
    return Market(FeeratePerKw(floor), FeeratePerKw(incremental), told)

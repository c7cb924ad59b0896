"""One attempt at one group: drafted, signed, checked by the engine, tried on the Bitcoin node.

Nothing is stored or sent here, so an attempt that fails leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain.view import PublishResult
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.effects import BumpCommitment
from contractcourt.events import PublishOutcome
from contractcourt.signing import (
    SignedTransaction,
    SigningInput,
    SigningRequest,
    bump_request,
    contract_input,
    sweep_request,
    wallet_input,
)
from contractcourt.sweeping.drafts import Draft, FeeWallet, Replaced, Shortfall, draft
from contractcourt.sweeping.groups import Group
from contractcourt.sweeping.inputs import SweepInput
from contractcourt.sweeping.market import Market
from contractcourt.units import HexBytes, Txid, WeightUnits
from storage.broadcasts import Price
from tasks.errors import RefusedByEngine
from tasks.resources import Resources
from tasks.signer_client import SignerCallFailed, SignerKeysMissing, SignerUnavailable
from tasks.signing import sign


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction and what the Bitcoin node would say of it."""

    draft: Draft
    signed: SignedTransaction
    verdict: PublishResult

    @property
    def parent_txid(self) -> Txid | None:
        """Of the commitment that it is sent together with."""
        want = self.draft.group.members[0].want
        return want.commitment.txid if isinstance(want, BumpCommitment) else None

    @property
    def price(self) -> Price:
        """What it pays."""
        weight = WeightUnits(Transaction.parse(self.signed.tx).weight())
        return Price(self.draft.fee_sat, weight, self.draft.feerate_per_kw)


@dataclass(frozen=True, slots=True)
class NotSigned:
    """The signer or the script engine refuses. `lasting`: asking again will not help."""

    reason: str
    lasting: bool


def attempt(
    held: Resources,
    group: Group,
    wallet: FeeWallet,
    market: Market,
    replaced: Replaced | None = None,
) -> Attempt | NotSigned | Shortfall:
    """Make the group's transaction and try it. Raises SignerUnavailable and ChainError."""
    drafted = draft(group, wallet, market.floor, replaced)
    if isinstance(drafted, Shortfall):
        return drafted
    try:
        signed = sign(held, _request(drafted))
    except SignerUnavailable:
        raise
    except (SignerCallFailed, RefusedByEngine) as error:
        return NotSigned(str(error), lasting=not isinstance(error, SignerKeysMissing))
    return Attempt(drafted, signed, _try(held, drafted, signed))


def _request(drafted: Draft) -> SigningRequest:
    node = drafted.group.members[0].channel.node
    tx = HexBytes(drafted.tx.serialize())
    inputs = [
        *(_signing_input(member) for member in drafted.group.members),
        *(wallet_input(c.outpoint, c.value_sat, c.script_pubkey, c.index) for c in drafted.coins),
    ]
    want = drafted.group.members[0].want
    if isinstance(want, BumpCommitment):
        return bump_request(node, tx, inputs, want.commitment)
    return sweep_request(node, tx, inputs)


def _signing_input(member: SweepInput) -> SigningInput:
    want = member.want
    if isinstance(want, BumpCommitment):
        return contract_input(member.channel, want.contract)
    return contract_input(member.channel, want.contract, want.preimage, want.per_commitment_secret)


def _try(held: Resources, drafted: Draft, signed: SignedTransaction) -> PublishResult:
    """A child can only be judged with its parent, so it is tried by sending both."""
    if isinstance(drafted.group.members[0].want, BumpCommitment):
        return PublishResult(PublishOutcome.ACCEPTED)
    return held.chain.test_accept([signed.tx])[0]

"""Attempts at groups: drafted, signed, checked by the engine, tried on the Bitcoin node.

Nothing is stored or sent here, so an attempt that fails leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from chain.view import PublishResult
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.effects import BumpCommitment
from contractcourt.events import PublishOutcome
from contractcourt.proved_values import needs_proof
from contractcourt.signing import (
    SignedTransaction,
    SigningInput,
    SigningRequest,
    bump_request,
    contract_input,
    sweep_request,
    wallet_input,
)
from contractcourt.sweeping.drafts import Draft, FeeWallet, Shortfall, draft
from contractcourt.sweeping.groups import Group
from contractcourt.sweeping.inputs import SweepInput
from contractcourt.sweeping.market import Market
from contractcourt.sweeping.replacing import Replaced
from contractcourt.units import HexBytes, Txid, WeightUnits
from storage import parents
from storage.broadcasts import Broadcast
from storage.signed import Price
from tasks.errors import RefusedByEngine
from tasks.resources import Resources
from tasks.signer_client import SignerCallFailed, SignerNotReady, SignerUnavailable
from tasks.signing import sign_many


@dataclass(frozen=True, slots=True)
class Planned:
    """A transaction to sign; `replaces` is what it outbids."""

    draft: Draft
    replaces: Broadcast | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A signed transaction that no Bitcoin node has seen; `replaces` is what it outbids."""

    draft: Draft
    signed: SignedTransaction
    replaces: Broadcast | None

    @property
    def parent_txid(self) -> Txid | None:
        """Of the commitment that it is sent together with."""
        want = self.draft.group.members[0].want
        return want.commitment.txid if isinstance(want, BumpCommitment) else None

    @property
    def coins(self) -> frozenset[OutPoint]:
        """Those of the fee wallet that it spends."""
        return frozenset(coin.outpoint for coin in self.draft.coins)

    @property
    def price(self) -> Price:
        """What it pays."""
        weight = WeightUnits(Transaction.parse(self.signed.tx).weight())
        return Price(self.draft.fee_sat, weight, self.draft.feerate_per_kw)


@dataclass(frozen=True, slots=True)
class NotSigned:
    """The signer or the script engine refuses. `lasting`: asking again will not help."""

    group: Group
    reason: str
    lasting: bool


def to_outbid(out: Broadcast, market: Market) -> Replaced | None:
    """What a replacement of it has to pay; None of one whose price is not known."""
    if out.fee_sat is None or out.feerate_per_kw is None or out.weight is None:
        return None
    return Replaced(out.fee_sat, out.feerate_per_kw, market.incremental, out.weight)


def plan(
    group: Group, wallet: FeeWallet, market: Market, replaces: Broadcast | None = None
) -> Planned | Shortfall:
    """The group's transaction before it is signed; `replaces` is what it shall outbid."""
    outbid = None if replaces is None else to_outbid(replaces, market)
    drafted = draft(group, wallet, market.floor, outbid)
    return drafted if isinstance(drafted, Shortfall) else Planned(drafted, replaces)


def sign_planned(
    held: Resources, planned: Sequence[Planned]
) -> tuple[list[Ready | NotSigned], SignerUnavailable | None]:
    """Each of them signed, or why not; without those left unsigned by a signer that goes away."""
    made: list[Ready | NotSigned] = []
    answers = sign_many(held, _with_parents(held, [_request(one.draft) for one in planned]))
    for one, answer in zip(planned, answers, strict=True):
        if isinstance(answer, SignerUnavailable):
            return made, answer
        made.append(_made(one, answer))
    return made, None


def _made(
    planned: Planned, answer: SignedTransaction | SignerCallFailed | RefusedByEngine
) -> Ready | NotSigned:
    if isinstance(answer, SignedTransaction):
        return Ready(planned.draft, answer, planned.replaces)
    lasting = not isinstance(answer, SignerNotReady)
    return NotSigned(planned.draft.group, str(answer), lasting)


def verdicts(held: Resources, ready: Sequence[Ready]) -> list[PublishResult]:
    """What the Bitcoin node would say of each, in one question. Raises ChainError.

    A child can only be judged with its parent, so it is tried by sending both.
    """
    alone = [one for one in ready if one.parent_txid is None]
    told = iter(held.chain.test_accept([one.signed.tx for one in alone]) if alone else ())
    accepted = PublishResult(PublishOutcome.ACCEPTED)
    return [next(told) if one.parent_txid is None else accepted for one in ready]


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


def _with_parents(held: Resources, requests: Sequence[SigningRequest]) -> list[SigningRequest]:
    """Each with the transactions that prove its inputs; all are looked for at once."""
    needed = [{spent.outpoint.txid for spent in needs_proof(request)} for request in requests]
    txids = sorted(set().union(*needed))
    if not txids:
        return list(requests)
    points = sorted({channel.channel_point for one in requests for channel in one.channels})
    found = held.db.run(lambda conn: parents.find(conn, points, txids))
    return [
        replace(request, parents=tuple(found[txid] for txid in sorted(txids) if txid in found))
        for request, txids in zip(requests, needed, strict=True)
    ]


def _signing_input(member: SweepInput) -> SigningInput:
    want = member.want
    if isinstance(want, BumpCommitment):
        return contract_input(member.channel, want.contract)
    return contract_input(member.channel, want.contract, want.preimage, want.per_commitment_secret)

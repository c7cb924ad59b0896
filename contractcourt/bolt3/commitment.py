"""A commitment transaction from its numbers (BOLT 3, "Commitment Transaction").

Balances and HTLC directions come in from our node's view, whoever owns the commitment; here they
are turned into the owner's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from contractcourt.bitcoin.script import p2wpkh, p2wsh
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.bolt3 import numbers, scripts, secrets, weights
from contractcourt.bolt3.keys import CommitmentKeys, commitment_keys
from contractcourt.channel import Channel, Direction, Htlc, Side
from contractcourt.errors import CommitmentMismatch
from contractcourt.units import FeeratePerKw, Millisatoshi, PublicKey, Satoshi, Script

#: nLockTime from here on is a time, not a height (BIP 65).
_LOCKTIME_IS_TIME = 500_000_000


class OutputKind(Enum):
    """What an output of a commitment is.

    TO_LOCAL and TO_REMOTE are in the owner's view, as BOLT 3 names them: on the peer's commitment
    TO_LOCAL is the peer's balance and TO_REMOTE ours. Anchors and HTLCs are in our node's view,
    whoever owns the commitment: ANCHOR_LOCAL has our key, OFFERED_HTLC is one that we offered.
    """

    TO_LOCAL = "to_local"
    TO_REMOTE = "to_remote"
    ANCHOR_LOCAL = "anchor_local"
    ANCHOR_REMOTE = "anchor_remote"
    OFFERED_HTLC = "offered_htlc"
    RECEIVED_HTLC = "received_htlc"


@dataclass(frozen=True, slots=True)
class CommitmentOutput:
    """One output of a commitment. `witness_script` is None for P2WPKH."""

    index: int
    kind: OutputKind
    value_sat: Satoshi
    script_pubkey: Script
    witness_script: Script | None
    htlc: Htlc | None = None


@dataclass(frozen=True, slots=True)
class BuiltCommitment:
    """An unsigned commitment, its outputs named, and the keys it stands on."""

    tx: Transaction
    outputs: tuple[CommitmentOutput, ...]
    keys: CommitmentKeys


def offered_by_owner(owner: Side, htlc: Htlc) -> bool:
    """Whether the commitment's owner is who offered this HTLC."""
    return (htlc.direction is Direction.OFFERED) == (owner is Side.LOCAL)


def second_level_fee(channel: Channel, owner: Side, feerate: FeeratePerKw, htlc: Htlc) -> Satoshi:
    """Fee of the HTLC-timeout or HTLC-success transaction; 0 with anchors (T2, H3)."""
    if channel.anchors:
        return Satoshi(0)
    if offered_by_owner(owner, htlc):
        return weights.fee(feerate, weights.htlc_timeout(anchors=False))
    return weights.fee(feerate, weights.htlc_success(anchors=False))


def is_trimmed(channel: Channel, owner: Side, feerate: FeeratePerKw, htlc: Htlc) -> bool:
    """Whether this HTLC has no output on `owner`'s commitment (T1, T2)."""
    left = htlc.amount_msat // 1000 - second_level_fee(channel, owner, feerate, htlc)
    return left < channel.side(owner).dust_limit_sat


def htlc_script(channel: Channel, keys: CommitmentKeys, htlc: Htlc) -> Script:
    """The witness script of an HTLC output on the commitment of `keys.owner`."""
    if offered_by_owner(keys.owner, htlc):
        return scripts.offered_htlc(
            keys.revocation, keys.owner_htlc, keys.other_htlc, htlc.payment_hash, channel.anchors
        )
    return scripts.received_htlc(
        keys.revocation,
        keys.owner_htlc,
        keys.other_htlc,
        htlc.payment_hash,
        htlc.cltv_expiry,
        channel.anchors,
    )


def funding_script(channel: Channel) -> Script:
    """The 2-of-2 of the present funding output (rule B1)."""
    return scripts.funding_script(
        channel.funding_pubkey(Side.LOCAL), channel.funding_pubkey(Side.REMOTE)
    )


def funding_script_pubkey(channel: Channel) -> Script:
    """What stands in the present funding output."""
    return p2wsh(funding_script(channel))


def to_local_script(channel: Channel, keys: CommitmentKeys) -> Script:
    """The witness script of to_local and of second-level outputs."""
    delay = channel.side(keys.owner.other).to_self_delay
    return scripts.to_local(keys.revocation, delay, keys.delayed)


def to_remote_output(channel: Channel, owner: Side) -> tuple[Script, Script | None]:
    """(scriptPubKey, witness script) of to_remote on `owner`'s commitment; needs no point."""
    key = channel.side(owner.other).payment_basepoint
    if not channel.anchors:
        return p2wpkh(key), None
    script = scripts.to_remote(key)
    return p2wsh(script), script


def build_commitment(
    channel: Channel,
    owner: Side,
    number: int,
    per_commitment_point: PublicKey,
    feerate_per_kw: FeeratePerKw,
    to_local_msat: Millisatoshi,
    to_remote_msat: Millisatoshi,
    htlcs: Sequence[Htlc] = (),
) -> BuiltCommitment:
    """The unsigned commitment `number` of `owner`.

    Args:
        owner: whose commitment it is, and so whose keys, dust limit and view the outputs have.
        per_commitment_point: of the owner, for this number.
        to_local_msat, to_remote_msat: our node's balance and the peer's, before the opener pays
            fee and anchors, without the HTLCs.
        htlcs: all that are committed, trimmed ones too; direction as our node sees it. Of HTLCs
            that no rule tells apart the earlier in this order comes first in the transaction.

    Raises:
        CommitmentMismatch: no commitment can have these numbers.
        InvalidPoint: the point, or a basepoint of the channel, is none.
    """
    check_numbers(channel, number, feerate_per_kw, (to_local_msat, to_remote_msat), htlcs)
    keys = commitment_keys(channel, owner, per_commitment_point)
    kept = [h for h in htlcs if not is_trimmed(channel, owner, feerate_per_kw, h)]
    mine, theirs = (
        (to_local_msat, to_remote_msat) if owner is Side.LOCAL else (to_remote_msat, to_local_msat)
    )
    own_sat, other_sat = _after_fee(channel, owner, feerate_per_kw, len(kept), mine, theirs)
    drafts = [_htlc_draft(channel, keys, htlc) for htlc in kept]
    drafts += _main_drafts(channel, keys, own_sat, other_sat, bool(kept))
    drafts.sort(key=lambda draft: draft.order)
    outputs = tuple(
        CommitmentOutput(index, d.kind, d.value_sat, d.script_pubkey, d.witness_script, d.htlc)
        for index, d in enumerate(drafts)
    )
    locktime, sequence = numbers.encode(number, channel_factor(channel))
    tx = Transaction(
        version=2,
        inputs=(TxIn(channel.funding_outpoint, sequence=sequence),),
        outputs=tuple(TxOut(o.value_sat, o.script_pubkey) for o in outputs),
        locktime=locktime,
    )
    return BuiltCommitment(tx, outputs, keys)


def channel_factor(channel: Channel) -> int:
    """What obscures the commitment numbers of this channel (B2)."""
    opener, accepter = channel.side(channel.opener), channel.side(channel.opener.other)
    return numbers.obscuring_factor(opener.payment_basepoint, accepter.payment_basepoint)


def check_numbers(
    channel: Channel,
    number: int,
    feerate: FeeratePerKw,
    balances_msat: tuple[int, int],
    htlcs: Sequence[Htlc],
) -> None:
    """Raise CommitmentMismatch for what the two sides can never have agreed on."""
    if not 0 <= number <= secrets.LAST_INDEX:
        raise CommitmentMismatch(f"commitment number {number} does not fit 48 bits")
    if feerate < 0 or min(balances_msat) < 0:
        raise CommitmentMismatch("a feerate or a balance is below zero")
    total = sum(balances_msat) + sum(htlc.amount_msat for htlc in htlcs)
    if total > channel.capacity_sat * 1000:
        raise CommitmentMismatch(
            f"balances and htlcs add up to {total} msat, "
            f"more than the channel's {channel.capacity_sat} sat"
        )
    for htlc in htlcs:
        if htlc.amount_msat <= 0 or len(htlc.payment_hash) != 32:
            raise CommitmentMismatch(f"htlc {htlc.id} has no amount or no 32-byte payment_hash")
        if not 0 < htlc.cltv_expiry < _LOCKTIME_IS_TIME:
            raise CommitmentMismatch(f"cltv_expiry {htlc.cltv_expiry} is not a height")


def _after_fee(
    channel: Channel,
    owner: Side,
    feerate: FeeratePerKw,
    kept: int,
    own_msat: int,
    other_msat: int,
) -> tuple[int, int]:
    """Whole satoshi of the owner and of the other side; the opener pays (T3, T4)."""
    cost: int = weights.fee(feerate, weights.commitment(kept, anchors=channel.anchors))
    if channel.anchors:
        cost += 2 * weights.ANCHOR_SAT
    own, other = own_msat // 1000, other_msat // 1000
    if channel.opener is owner:
        return max(own - cost, 0), other
    return own, max(other - cost, 0)


@dataclass(frozen=True, slots=True)
class _Draft:
    kind: OutputKind
    value_sat: Satoshi
    script_pubkey: Script
    witness_script: Script | None
    htlc: Htlc | None = None

    @property
    def order(self) -> tuple[int, bytes, int]:
        """Value, then script, then cltv_expiry of HTLCs (B8)."""
        return self.value_sat, self.script_pubkey, self.htlc.cltv_expiry if self.htlc else 0


def _htlc_draft(channel: Channel, keys: CommitmentKeys, htlc: Htlc) -> _Draft:
    script = htlc_script(channel, keys, htlc)
    offered = htlc.direction is Direction.OFFERED
    kind = OutputKind.OFFERED_HTLC if offered else OutputKind.RECEIVED_HTLC
    return _Draft(kind, Satoshi(htlc.amount_msat // 1000), p2wsh(script), script, htlc)


def _main_drafts(
    channel: Channel, keys: CommitmentKeys, own_sat: int, other_sat: int, any_htlc: bool
) -> list[_Draft]:
    """The main outputs that are not dust, and the anchors that go with them (T5)."""
    dust = channel.side(keys.owner).dust_limit_sat
    drafts = []
    if own_sat >= dust:
        script = to_local_script(channel, keys)
        drafts.append(_Draft(OutputKind.TO_LOCAL, Satoshi(own_sat), p2wsh(script), script))
    if other_sat >= dust:
        pays, witness = to_remote_output(channel, keys.owner)
        drafts.append(_Draft(OutputKind.TO_REMOTE, Satoshi(other_sat), pays, witness))
    if channel.anchors:
        if own_sat >= dust or any_htlc:
            drafts.append(_anchor_draft(channel, keys.owner))
        if other_sat >= dust or any_htlc:
            drafts.append(_anchor_draft(channel, keys.owner.other))
    return drafts


def _anchor_draft(channel: Channel, side: Side) -> _Draft:
    script = scripts.anchor(channel.funding_pubkey(side))
    kind = OutputKind.ANCHOR_LOCAL if side is Side.LOCAL else OutputKind.ANCHOR_REMOTE
    return _Draft(kind, weights.ANCHOR_SAT, p2wsh(script), script)

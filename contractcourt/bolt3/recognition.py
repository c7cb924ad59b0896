"""What stands on a commitment that is on chain, told by its scripts alone.

Amounts and positions are never assumed: the transaction may not be the one our numbers describe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction, TxOut
from contractcourt.bolt3 import scripts
from contractcourt.bolt3.commitment import (
    CommitmentOutput,
    OutputKind,
    htlc_script,
    to_local_script,
    to_remote_output,
)
from contractcourt.bolt3.keys import commitment_keys
from contractcourt.channel import Channel, Direction, Htlc, Side
from contractcourt.units import PublicKey, Satoshi, Script

__all__ = ["CommitmentOutput", "OutputKind", "recognise_outputs", "tells_owner"]


@dataclass(frozen=True, slots=True)
class _Expected:
    """An output that this commitment may have."""

    kind: OutputKind
    script_pubkey: Script
    witness_script: Script | None
    htlc: Htlc | None = None

    @property
    def amount_sat(self) -> int | None:
        """What an HTLC's output is worth: never its msat remainder."""
        return None if self.htlc is None else self.htlc.amount_msat // 1000

    def at(self, index: int, output: TxOut) -> CommitmentOutput:
        value = Satoshi(output.value)
        return CommitmentOutput(
            index, self.kind, value, self.script_pubkey, self.witness_script, self.htlc
        )


def recognise_outputs(
    channel: Channel,
    owner: Side,
    per_commitment_point: PublicKey | None,
    tx: Transaction,
    htlcs: Sequence[Htlc] = (),
) -> tuple[CommitmentOutput, ...]:
    """The outputs of `tx` that belong to `owner`'s commitment, in their order there.

    Without a point only what needs none is found: to_remote and the anchors. HTLCs that share a
    script (one payment hash, offered more than once) are told apart by their amount, then by
    cltv_expiry, which is how they are ordered on a commitment (B8).

    Args:
        owner: whose commitment `tx` is; TO_LOCAL and TO_REMOTE of the answer are in its view.
        per_commitment_point: of the owner, for this very commitment; None when not known.
        htlcs: of this commitment, direction as our node sees it; trimmed ones do no harm.

    Raises InvalidPoint when the point, or a basepoint of the channel, is none.
    """
    main, htlc_outputs = _static(channel, owner), []
    if per_commitment_point is not None:
        keys = commitment_keys(channel, owner, per_commitment_point)
        script = to_local_script(channel, keys)
        main.append(_Expected(OutputKind.TO_LOCAL, p2wsh(script), script))
        by_expiry = sorted(htlcs, key=lambda htlc: htlc.cltv_expiry)
        htlc_outputs = [_expected_htlc(h, htlc_script(channel, keys, h)) for h in by_expiry]
    by_script: dict[bytes, _Expected] = {expected.script_pubkey: expected for expected in main}
    found = _match_htlcs(tx, htlc_outputs)
    for index, output in enumerate(tx.outputs):
        if output.script_pubkey in by_script:
            found[index] = by_script[output.script_pubkey].at(index, output)
    return tuple(found[index] for index in sorted(found))


def tells_owner(
    channel: Channel,
    owner: Side,
    per_commitment_point: PublicKey | None,
    tx: Transaction,
    htlcs: Sequence[Htlc] = (),
) -> bool:
    """Some output of `tx` can only stand on this commitment of `owner`; see `recognise_outputs`.

    Anchors use the funding keys and so look alike on both sides' commitments.

    Raises InvalidPoint when the point, or a basepoint of the channel, is none.
    """
    present = {output.script_pubkey for output in tx.outputs}
    own = _scripts_of_its_own(channel, owner, per_commitment_point, htlcs)
    return any(script in present for script in own)


def _scripts_of_its_own(
    channel: Channel, owner: Side, point: PublicKey | None, htlcs: Sequence[Htlc]
) -> Iterator[Script]:
    """One after the other, for the first needs no key derived and settles most."""
    yield to_remote_output(channel, owner)[0]
    if point is not None:
        keys = commitment_keys(channel, owner, point)
        yield p2wsh(to_local_script(channel, keys))
        for htlc in htlcs:
            yield p2wsh(htlc_script(channel, keys, htlc))


def _static(channel: Channel, owner: Side) -> list[_Expected]:
    expected = [_Expected(OutputKind.TO_REMOTE, *to_remote_output(channel, owner))]
    if channel.anchors:
        for side, kind in (
            (Side.LOCAL, OutputKind.ANCHOR_LOCAL),
            (Side.REMOTE, OutputKind.ANCHOR_REMOTE),
        ):
            script = scripts.anchor(channel.funding_pubkey(side))
            expected.append(_Expected(kind, p2wsh(script), script))
    return expected


def _expected_htlc(htlc: Htlc, script: Script) -> _Expected:
    offered = htlc.direction is Direction.OFFERED
    kind = OutputKind.OFFERED_HTLC if offered else OutputKind.RECEIVED_HTLC
    return _Expected(kind, p2wsh(script), script, htlc)


def _match_htlcs(tx: Transaction, expected: Sequence[_Expected]) -> dict[int, CommitmentOutput]:
    """The output of each HTLC that has one; every output and every HTLC is used once.

    Those of the same amount find each other first. A script names its payment hash and can be
    nobody else's, so an amount that we did not expect is still ours to claim.
    """
    waiting: dict[bytes, list[_Expected]] = {}
    for item in expected:
        waiting.setdefault(item.script_pubkey, []).append(item)
    found: dict[int, CommitmentOutput] = {}
    for any_amount in (False, True):
        for index, output in enumerate(tx.outputs):
            same_script = waiting.get(output.script_pubkey, [])
            fitting = [e for e in same_script if any_amount or e.amount_sat == output.value]
            if fitting and index not in found:
                same_script.remove(fitting[0])
                found[index] = fitting[0].at(index, output)
    return found

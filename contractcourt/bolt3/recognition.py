"""What stands on a commitment that is on chain, told by its scripts alone.

Amounts and positions are never assumed: the transaction may not be the one our numbers describe.
"""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction
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

_Known = tuple[OutputKind, Script, Script | None, Htlc | None]


def recognise_outputs(
    channel: Channel,
    owner: Side,
    per_commitment_point: PublicKey | None,
    tx: Transaction,
    htlcs: Sequence[Htlc] = (),
) -> tuple[CommitmentOutput, ...]:
    """The outputs of `tx` that belong to `owner`'s commitment, in their order there.

    Without a point only what needs none is found: to_remote and the anchors. HTLCs that share a
    script are told apart by their amount, then by their order.
    """
    known = _static(channel, owner)
    if per_commitment_point is not None:
        known += _derived(channel, owner, per_commitment_point, htlcs)
    found = []
    for index, output in enumerate(tx.outputs):
        match = _best(known, output.script_pubkey, output.value)
        if match is None:
            continue
        kind, pays, witness, htlc = match
        if htlc is not None:
            known.remove(match)
        found.append(CommitmentOutput(index, kind, Satoshi(output.value), pays, witness, htlc))
    return tuple(found)


def _static(channel: Channel, owner: Side) -> list[_Known]:
    pays, witness = to_remote_output(channel, owner)
    known: list[_Known] = [(OutputKind.TO_REMOTE, pays, witness, None)]
    if channel.anchors:
        for side, kind in (
            (Side.LOCAL, OutputKind.ANCHOR_LOCAL),
            (Side.REMOTE, OutputKind.ANCHOR_REMOTE),
        ):
            script = scripts.anchor(channel.side(side).funding_pubkey)
            known.append((kind, p2wsh(script), script, None))
    return known


def _derived(
    channel: Channel, owner: Side, point: PublicKey, htlcs: Sequence[Htlc]
) -> list[_Known]:
    keys = commitment_keys(channel, owner, point)
    script = to_local_script(channel, keys)
    known: list[_Known] = [(OutputKind.TO_LOCAL, p2wsh(script), script, None)]
    for htlc in sorted(htlcs, key=lambda h: (h.cltv_expiry, h.id)):
        script = htlc_script(channel, keys, htlc)
        offered = htlc.direction is Direction.OFFERED
        kind = OutputKind.OFFERED_HTLC if offered else OutputKind.RECEIVED_HTLC
        known.append((kind, p2wsh(script), script, htlc))
    return known


def _best(known: list[_Known], script_pubkey: bytes, value: int) -> _Known | None:
    """The entry with this script, one of this very amount before any other."""
    same = [entry for entry in known if entry[1] == script_pubkey]
    exact = [e for e in same if e[3] is None or e[3].amount_msat // 1000 == value]
    return next(iter(exact or same), None)


__all__ = ["CommitmentOutput", "OutputKind", "recognise_outputs"]

"""Our second-level transactions, on our own commitment (`bolt5_rules.md` H1 to H4)."""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.commitment import CommitmentOutput, OutputKind, to_local_script
from contractcourt.bolt3.htlc import build_second_level
from contractcourt.bolt3.keys import commitment_keys
from contractcourt.channel import Channel, Direction
from contractcourt.contract import Contract
from contractcourt.effects import PublishHtlcTransaction
from contractcourt.resolvers.sweeping import sweep
from contractcourt.units import HexBytes, Script, Secret


def publish(hearing: Hearing, contract: Contract, preimage: Secret | None) -> bool:
    """Move it on by HTLC-timeout or HTLC-success; False when that can't be.

    Without anchors the transaction is published as the peer signed it (H2). With them it carries
    no fee of its own: the sweeper adds inputs that pay for it (H3).
    """
    case = hearing.case
    commitment = next((c for c in case.held if c.txid == contract.outpoint.txid), None)
    if commitment is None or contract.per_commitment_point is None:
        hearing.alarm(
            AlarmKind.HTLC_UNSIGNED,
            f"the HTLC transaction of {contract.outpoint} ({contract.value_sat} sat) can't be "
            "published: the court does not hold the peer's signature; claim it from the node",
        )
        return False
    if case.channel.anchors:
        sweep(hearing, contract, preimage=preimage)
        return True
    keys = commitment_keys(case.channel, contract.commitment_owner, contract.per_commitment_point)
    tx = build_second_level(
        case.channel, keys, contract.outpoint.txid, _output_of(contract), commitment.feerate_per_kw
    )
    hearing.want(PublishHtlcTransaction(contract, HexBytes(tx.serialize()), preimage))
    return True


def _output_of(contract: Contract) -> CommitmentOutput:
    htlc = contract.htlc
    offered = htlc is not None and htlc.direction is Direction.OFFERED
    return CommitmentOutput(
        index=contract.outpoint.vout,
        kind=OutputKind.OFFERED_HTLC if offered else OutputKind.RECEIVED_HTLC,
        value_sat=contract.value_sat,
        script_pubkey=contract.script_pubkey,
        witness_script=None,
        htlc=htlc,
    )


def delayed_output(channel: Channel, contract: Contract, tx: Transaction) -> int | None:
    """The index of the delayed output that `tx` moves this HTLC to; None when it has none.

    It stands at the index of the HTLC's input when the transaction was aggregated (H4).
    """
    if contract.per_commitment_point is None:
        return None
    keys = commitment_keys(channel, contract.commitment_owner, contract.per_commitment_point)
    pays: Script = p2wsh(to_local_script(channel, keys))
    places = [index for index, output in enumerate(tx.outputs) if output.script_pubkey == pays]
    own = next(i for i, item in enumerate(tx.inputs) if item.outpoint == contract.outpoint)
    return own if own in places else next(iter(places), None)

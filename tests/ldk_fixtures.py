"""Recorded LDK closings (tests/data/ldk) as facts of the law. `A` is our node.

Each file is plain JSON; its README names the fields. `LdkFixture` reads one, `commitment_of` turns
one recorded commitment into what a node would have told the court.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import weights
from contractcourt.channel import (
    ANCHORS_ZERO_FEE_HTLC,
    STATIC_REMOTEKEY,
    Channel,
    ChannelSide,
    Direction,
    Htlc,
    KeyRef,
    LocalCommitment,
    RemoteCommitment,
    Side,
)
from contractcourt.units import (
    BlockHeight,
    Blocks,
    FeeratePerKw,
    HexBytes,
    Millisatoshi,
    PaymentHash,
    PublicKey,
    Satoshi,
    Script,
    Signature,
    Txid,
)

LDK_DATA = Path(__file__).parent / "data" / "ldk"

#: A recorded commitment, as JSON has it.
Recorded = dict[str, Any]

_SIDES = {"A": Side.LOCAL, "B": Side.REMOTE}


@dataclass(frozen=True)
class LdkFixture:
    """One recorded channel, from its funding to its last sweep."""

    name: str
    document: dict[str, Any]

    @classmethod
    def load(cls, name: str) -> LdkFixture:
        """Read `name`.json."""
        return cls(name, json.loads((LDK_DATA / f"{name}.json").read_text()))

    @cached_property
    def channel(self) -> Channel:
        """The channel as A registers it."""
        told, params = self.document["channel"], self.document["params"]
        outpoint = told["funding_outpoint"]
        funding = OutPoint.of(Txid.parse(outpoint["txid"]), outpoint["vout"])
        return Channel(
            channel_point=funding,
            node="A",
            funding_outpoint=funding,
            capacity_sat=Satoshi(told["capacity_sat"]),
            channel_type=ANCHORS_ZERO_FEE_HTLC if told["anchors"] else STATIC_REMOTEKEY,
            opener=_SIDES[told["opener"]],
            local=_side(params["A"]),
            remote=_side(params["B"]),
            sweep_script=Script.parse(self.document["secrets"]["A"]["wallet_script"]),
            key_ref=KeyRef("raw"),
        )

    @property
    def closing_tx(self) -> Transaction:
        """What spent the funding output."""
        return Transaction.parse(bytes.fromhex(self.document["closing_tx"]["hex"]))

    @property
    def closing_roles(self) -> list[str]:
        """The recorded role of each output of the closing transaction."""
        txid = self.document["closing_tx"]["txid"]
        closing = next(tx for tx in self.document["confirmed"] if tx["txid"] == txid)
        return [output["role"] for output in closing["outputs"]]

    def commitments(self) -> Iterator[tuple[Side, Recorded]]:
        """Every commitment that A ever held or signed, in order, with its owner."""
        for update in self.document["updates"]:
            if update["type"] in ("local_commitment", "remote_commitment"):
                yield _SIDES[update["commitment"]["holder"]], update["commitment"]

    def blocks(self) -> list[bytes]:
        """Every block from height 1, raw."""
        with gzip.open(LDK_DATA / self.document["blocks_file"], "rt") as lines:
            return [bytes.fromhex(line) for line in lines if line.strip()]


def fixture_names() -> list[str]:
    """All recordings, by name."""
    return sorted(path.stem for path in LDK_DATA.glob("*.json"))


def commitment_of(channel: Channel, recorded: Recorded) -> LocalCommitment | RemoteCommitment:
    """What a node would have told of this commitment: A's own, or B's as A knows it."""
    if recorded["holder"] == "A":
        return local_commitment(channel, recorded)
    return remote_commitment(channel, recorded)


def local_commitment(channel: Channel, recorded: Recorded) -> LocalCommitment:
    """One of A's own commitments, with B's signatures on it and on its HTLC transactions."""
    to_local_msat, to_remote_msat = balances_msat(channel, recorded)
    return LocalCommitment(
        number=recorded["number"],
        txid=Txid.parse(recorded["txid"]),
        tx=HexBytes.parse(recorded["tx_unsigned"]),
        remote_signature=Signature.parse(recorded["counterparty_sig"]),
        feerate_per_kw=FeeratePerKw(recorded["feerate_per_kw"]),
        to_local_msat=to_local_msat,
        to_remote_msat=to_remote_msat,
        htlcs=htlcs_of(recorded),
        per_commitment_point=PublicKey.parse(recorded["per_commitment_point"]),
    )


def remote_commitment(channel: Channel, recorded: Recorded) -> RemoteCommitment:
    """One of B's commitments, in A's view. HTLC signatures are A's own."""
    to_local_msat, to_remote_msat = balances_msat(channel, recorded)
    return RemoteCommitment(
        number=recorded["number"],
        per_commitment_point=PublicKey.parse(recorded["per_commitment_point"]),
        feerate_per_kw=FeeratePerKw(recorded["feerate_per_kw"]),
        to_local_msat=to_local_msat,
        to_remote_msat=to_remote_msat,
        htlcs=htlcs_of(recorded),
    )


def htlcs_of(recorded: Recorded) -> tuple[Htlc, ...]:
    """All HTLCs of a recorded commitment, trimmed ones too."""
    return tuple(_htlc(told) for told in recorded["htlcs"])


def balances_msat(channel: Channel, recorded: Recorded) -> tuple[Millisatoshi, Millisatoshi]:
    """(A's, B's) balance before fee and anchors, which the recording only has after them.

    It has whole satoshi, and 0 for a side that was dust. What then lacks of the capacity is put
    back where it changes no output: all of it to a side without an output, else less than a
    satoshi to each.
    """
    owner = _SIDES[recorded["holder"]]
    told = {
        owner: recorded["to_broadcaster_sat"],
        owner.other: recorded["to_countersignatory_sat"],
    }
    kept = sum(1 for htlc in recorded["htlcs"] if not htlc["dust"])
    weight = weights.commitment(kept, anchors=channel.anchors)
    cost: int = weights.fee(FeeratePerKw(recorded["feerate_per_kw"]), weight)
    cost += 2 * weights.ANCHOR_SAT if channel.anchors else 0
    if told[channel.opener]:
        told[channel.opener] += cost
    msat = {side: amount * 1000 for side, amount in told.items()}
    in_htlcs = sum(int(htlc["amount_msat"]) for htlc in recorded["htlcs"])
    lacking = channel.capacity_sat * 1000 - in_htlcs - sum(msat.values())
    without_output = [side for side, amount in told.items() if amount == 0]
    first = without_output[0] if without_output else Side.LOCAL
    share = lacking if without_output else min(lacking, 999)
    msat[first] += share
    msat[first.other] += lacking - share
    return Millisatoshi(msat[Side.LOCAL]), Millisatoshi(msat[Side.REMOTE])


def _side(params: dict[str, Any]) -> ChannelSide:
    return ChannelSide(
        funding_pubkey=PublicKey.parse(params["funding_pubkey"]),
        revocation_basepoint=PublicKey.parse(params["revocation_basepoint"]),
        payment_basepoint=PublicKey.parse(params["payment_basepoint"]),
        delayed_payment_basepoint=PublicKey.parse(params["delayed_payment_basepoint"]),
        htlc_basepoint=PublicKey.parse(params["htlc_basepoint"]),
        to_self_delay=Blocks(params["to_self_delay"]),
        dust_limit_sat=Satoshi(params["dust_limit_satoshis"]),
    )


def _htlc(told: dict[str, Any]) -> Htlc:
    signature = told.get("counterparty_htlc_sig")
    return Htlc(
        id=told["id"],
        direction=Direction(told["direction"]),
        amount_msat=Millisatoshi(int(told["amount_msat"])),
        payment_hash=PaymentHash.parse(told["payment_hash"]),
        cltv_expiry=BlockHeight(told["cltv_expiry"]),
        remote_signature=Signature.parse(signature) if signature else None,
    )

"""The test vectors of BOLT 3 (appendices A to F), as facts of the law.

`tests/data/bolt3.json` transcribes the appendices. The channel of appendices C and F is one: our
node is `local` and the opener; it differs only in type and dust limit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bolt3.points import from_der, public_key
from contractcourt.channel import (
    ANCHORS_ZERO_FEE_HTLC,
    STATIC_REMOTEKEY,
    Channel,
    ChannelSide,
    Direction,
    Htlc,
    KeyRef,
    Side,
)
from contractcourt.units import (
    BlockHeight,
    Blocks,
    FeeratePerKw,
    Millisatoshi,
    PaymentHash,
    PublicKey,
    Satoshi,
    Script,
    Secret,
    Signature,
    Txid,
)

DATA = Path(__file__).parent / "data"

_STATIC = "appendix_c_commitment_static_remotekey"
_ANCHORS = "appendix_f_commitment_anchors"


@cache
def vectors() -> dict[str, Any]:
    """The whole file."""
    loaded: dict[str, Any] = json.loads((DATA / "bolt3.json").read_text())
    return loaded


def key(hex_text: str) -> PublicKey:
    """A public key as the file writes it."""
    return PublicKey.parse(hex_text)


def common() -> dict[str, Any]:
    """Keys and HTLCs that appendices C and F share."""
    shared: dict[str, Any] = vectors()[_STATIC]["common"]
    return shared


def secrets() -> dict[str, Any]:
    """The secrets behind `common`, given in a comment of the appendix."""
    hidden: dict[str, Any] = common()["internal"]
    return hidden


@dataclass(frozen=True, slots=True)
class HtlcTransactionCase:
    """A second-level transaction of a case: which output it spends, and how it must look."""

    output_index: int
    remote_signature: Signature
    tx: bytes


@dataclass(frozen=True, slots=True)
class CommitmentCase:
    """One case of appendix C or F."""

    name: str
    channel: Channel
    number: int
    per_commitment_point: PublicKey
    feerate_per_kw: FeeratePerKw
    to_local_msat: Millisatoshi
    to_remote_msat: Millisatoshi
    htlcs: tuple[Htlc, ...]
    trimmed_ids: tuple[int, ...]
    remote_signature: Signature
    tx: bytes
    txid: Txid
    htlc_transactions: tuple[HtlcTransactionCase, ...]


def preimage(htlc_id: int) -> Secret:
    """The preimage of a common HTLC."""
    return Secret.parse(common()["htlcs"][htlc_id]["payment_preimage"])


def commitment_cases() -> list[CommitmentCase]:
    """Every case of appendices C and F."""
    static = [_case(c, STATIC_REMOTEKEY) for c in vectors()[_STATIC]["cases"]]
    return static + [_case(c, ANCHORS_ZERO_FEE_HTLC) for c in vectors()[_ANCHORS]["cases"]]


def common_channel(channel_type: str = STATIC_REMOTEKEY, dust_limit_sat: int = 546) -> Channel:
    """The channel of appendices C and F. What they leave open is made up of fixed secrets."""
    shared, hidden = common(), secrets()
    funding = OutPoint.of(Txid.parse(shared["funding_txid"]), shared["funding_output_index"])
    return Channel(
        channel_point=funding,
        node="vectors",
        funding_outpoint=funding,
        capacity_sat=Satoshi(shared["funding_amount_satoshi"]),
        channel_type=channel_type,
        opener=Side.LOCAL,
        local=ChannelSide(
            funding_pubkey=key(shared["local_funding_pubkey"]),
            revocation_basepoint=public_key(b"\x55" * 32),
            payment_basepoint=key(shared["local_payment_basepoint"]),
            delayed_payment_basepoint=key(hidden["local_delayed_payment_basepoint"]),
            htlc_basepoint=key(shared["local_htlc_basepoint"]),
            to_self_delay=Blocks(2016),
            dust_limit_sat=Satoshi(dust_limit_sat),
        ),
        remote=ChannelSide(
            funding_pubkey=key(shared["remote_funding_pubkey"]),
            revocation_basepoint=key(hidden["remote_revocation_basepoint"]),
            payment_basepoint=key(shared["remote_payment_basepoint"]),
            delayed_payment_basepoint=public_key(b"\x66" * 32),
            htlc_basepoint=key(shared["remote_htlc_basepoint"]),
            to_self_delay=Blocks(shared["local_delay"]),
            dust_limit_sat=Satoshi(dust_limit_sat),
        ),
        sweep_script=Script.parse("0014" + "77" * 20),
        key_ref=KeyRef("raw"),
    )


def common_htlc(htlc_id: int) -> Htlc:
    """One of the seven HTLCs, its place in the list as its id."""
    told = common()["htlcs"][htlc_id]
    return Htlc(
        id=htlc_id,
        direction=Direction.OFFERED if told["offered_by"] == "local" else Direction.RECEIVED,
        amount_msat=Millisatoshi(told["amount_msat"]),
        payment_hash=PaymentHash.parse(told["derived"]["payment_hash"]),
        cltv_expiry=BlockHeight(told["cltv_expiry"]),
    )


def _case(told: dict[str, Any], channel_type: str) -> CommitmentCase:
    derived = told["derived"]
    committed = told.get("committed_htlcs", derived.get("committed_htlcs", ()))
    return CommitmentCase(
        name=f"{channel_type}: {told['name']}",
        channel=common_channel(channel_type, told.get("local_dust_limit_satoshi", 546)),
        number=common()["commitment_number"],
        per_commitment_point=key(secrets()["local_per_commitment_point"]),
        feerate_per_kw=FeeratePerKw(told["local_feerate_per_kw"]),
        to_local_msat=Millisatoshi(told["to_local_msat"]),
        to_remote_msat=Millisatoshi(told["to_remote_msat"]),
        htlcs=tuple(common_htlc(htlc_id) for htlc_id in committed),
        trimmed_ids=tuple(derived["trimmed_htlcs"]),
        remote_signature=from_der(bytes.fromhex(told["remote_signature_der"])),
        tx=bytes.fromhex(told["commit_tx_hex"]),
        txid=Txid.parse(derived["commit_txid"]),
        htlc_transactions=tuple(_htlc_transaction(h) for h in told["htlc_txs"]),
    )


def _htlc_transaction(told: dict[str, Any]) -> HtlcTransactionCase:
    raw = bytes.fromhex(told["tx_hex"])
    return HtlcTransactionCase(
        # The index of the only input's outpoint, right before its empty scriptSig.
        output_index=int.from_bytes(raw[39:43], "little"),
        remote_signature=from_der(bytes.fromhex(told["remote_htlc_signature_der"])),
        tx=raw,
    )


def mirrored(channel: Channel) -> Channel:
    """The same channel as the peer sees it."""
    return msgspec.structs.replace(
        channel, opener=channel.opener.other, local=channel.remote, remote=channel.local
    )


def mirrored_htlc(htlc: Htlc) -> Htlc:
    """The same HTLC as the peer sees it."""
    received = htlc.direction is Direction.OFFERED
    direction = Direction.RECEIVED if received else Direction.OFFERED
    return msgspec.structs.replace(htlc, direction=direction)

"""One channel to ask the law about. Nothing of it is verified or signed."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.channel import (
    STATIC_REMOTEKEY,
    Channel,
    ChannelSide,
    Direction,
    Htlc,
    KeyRef,
    LocalCommitment,
    Side,
)
from contractcourt.contract import Contract, ContractKind, ContractStage
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

HEIGHT = BlockHeight(1000)
_OUTPOINT = OutPoint.of(Txid(bytes(32)), 0)
_SCRIPT = Script(b"\x00\x14" + bytes(20))
_POINT = PublicKey(b"\x02" + bytes(31) + b"\x01")

_COMMITMENT = Transaction(2, (TxIn(_OUTPOINT),), (TxOut(500_000, bytes(_SCRIPT)),), 0)


def channel() -> Channel:
    """A channel without anchors."""
    side = ChannelSide(
        funding_pubkey=_POINT,
        revocation_basepoint=_POINT,
        payment_basepoint=_POINT,
        delayed_payment_basepoint=_POINT,
        htlc_basepoint=_POINT,
        to_self_delay=Blocks(144),
        dust_limit_sat=Satoshi(354),
    )
    return Channel(
        channel_point=_OUTPOINT,
        node="alice",
        funding_outpoint=_OUTPOINT,
        capacity_sat=Satoshi(1_000_000),
        channel_type=STATIC_REMOTEKEY,
        opener=Side.LOCAL,
        local=side,
        remote=side,
        sweep_script=_SCRIPT,
        key_ref=KeyRef("raw"),
    )


def commitment(*, with_htlc: bool) -> LocalCommitment:
    """Our commitment; with an HTLC that we offered and that expired a block ago."""
    expired = Htlc(
        id=0,
        direction=Direction.OFFERED,
        amount_msat=Millisatoshi(100_000_000),
        payment_hash=PaymentHash(bytes(32)),
        cltv_expiry=BlockHeight(HEIGHT - 1),
    )
    return LocalCommitment(
        number=1,
        txid=_COMMITMENT.txid(),
        tx=HexBytes(_COMMITMENT.serialize()),
        remote_signature=Signature(bytes(64)),
        feerate_per_kw=FeeratePerKw(253),
        to_local_msat=Millisatoshi(500_000_000),
        to_remote_msat=Millisatoshi(400_000_000),
        htlcs=(expired,) if with_htlc else (),
    )


def contract(stage: ContractStage) -> Contract:
    """Our delayed main output."""
    return Contract(
        outpoint=_OUTPOINT,
        kind=ContractKind.TO_LOCAL,
        value_sat=Satoshi(500_000),
        script_pubkey=_SCRIPT,
        commitment_owner=Side.LOCAL,
        commitment_number=1,
        per_commitment_point=_POINT,
        csv_delay=Blocks(144),
        stage=stage,
        confirmed_height=HEIGHT,
    )

"""What a signer is asked about the closings that LDK recorded: channels, keys, requests.

`A` of a recording is our node.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

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
    Side,
)
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.proved_values import needs_proof
from contractcourt.signing import (
    SigningInput,
    SigningRequest,
    commitment_request,
    contract_input,
    sweep_request,
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
    Secret,
    Signature,
    Txid,
)
from workers.signer.channel_keys import ChannelKeys

FIXTURES = Path(__file__).parents[1] / "data" / "ldk"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.json"))

_KEY_FIELDS = (
    "funding_key",
    "revocation_base_key",
    "payment_key",
    "delayed_payment_base_key",
    "htlc_base_key",
    "commitment_seed",
)
#: How the recording names A's way of spending, and what kind of contract that is.
_KINDS = {
    ("to_local", "delayed"): ContractKind.TO_LOCAL,
    ("second_level", "delayed"): ContractKind.TO_LOCAL,
    ("to_remote", "to_remote"): ContractKind.TO_REMOTE,
    ("to_local", "revocation"): ContractKind.REVOKED_TO_LOCAL,
    ("htlc_offered_by_B", "revocation"): ContractKind.REVOKED_HTLC,
    ("htlc_received_by_B", "revocation"): ContractKind.REVOKED_HTLC,
    ("htlc_offered_by_A", "htlc_timeout_tx"): ContractKind.OFFERED_HTLC,
    ("htlc_received_by_A", "htlc_success_tx"): ContractKind.RECEIVED_HTLC,
    ("htlc_offered_by_B", "claim_preimage"): ContractKind.RECEIVED_HTLC,
    ("htlc_received_by_B", "claim_timeout"): ContractKind.OFFERED_HTLC,
}


class Recording:
    """One recorded closing."""

    def __init__(self, name: str) -> None:
        self.document: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
        self.channel = self._channel()
        self.keys = ChannelKeys(**{name: Secret.parse(self.secrets[name]) for name in _KEY_FIELDS})

    @property
    def secrets(self) -> dict[str, str]:
        """A's secrets, in hex."""
        secrets: dict[str, str] = self.document["secrets"]["A"]
        return secrets

    @property
    def key_document(self) -> dict[str, str]:
        """What `keys import` would be given for A."""
        return {
            "channel_point": str(self.channel.channel_point),
            **{name: self.secrets[name] for name in _KEY_FIELDS},
        }

    def _channel(self) -> Channel:
        facts = self.document["channel"]
        funding = facts["funding_outpoint"]
        outpoint = OutPoint.parse(f"{funding['txid']}:{funding['vout']}")
        return Channel(
            channel_point=outpoint,
            node="alice",
            funding_outpoint=outpoint,
            capacity_sat=Satoshi(facts["capacity_sat"]),
            channel_type=ANCHORS_ZERO_FEE_HTLC if facts["anchors"] else STATIC_REMOTEKEY,
            opener=Side.LOCAL if facts["opener"] == "A" else Side.REMOTE,
            local=self._side("A"),
            remote=self._side("B"),
            sweep_script=Script.parse(self.secrets["wallet_script"]),
            key_ref=KeyRef("raw"),
        )

    def _side(self, who: str) -> ChannelSide:
        facts = self.document["params"][who]
        return ChannelSide(
            funding_pubkey=PublicKey.parse(facts["funding_pubkey"]),
            revocation_basepoint=PublicKey.parse(facts["revocation_basepoint"]),
            payment_basepoint=PublicKey.parse(facts["payment_basepoint"]),
            delayed_payment_basepoint=PublicKey.parse(facts["delayed_payment_basepoint"]),
            htlc_basepoint=PublicKey.parse(facts["htlc_basepoint"]),
            to_self_delay=Blocks(facts["to_self_delay"]),
            dust_limit_sat=Satoshi(facts["dust_limit_satoshis"]),
        )

    # -- commitments --

    def local_commitments(self) -> list[tuple[LocalCommitment, Transaction]]:
        """Our commitments with the transaction that LDK signed, in order."""
        return [
            (self._local(update["commitment"]), _tx(update["commitment"]["signed_tx"]))
            for update in self.document["updates"]
            if update["type"] == "local_commitment"
        ]

    def _local(self, facts: dict[str, Any]) -> LocalCommitment:
        htlcs = tuple(_htlc(item) for item in facts["htlcs"])
        ours, theirs = _balances_msat(facts, self.channel)
        return LocalCommitment(
            number=facts["number"],
            txid=Txid.parse(facts["txid"]),
            tx=HexBytes.parse(facts["tx_unsigned"]),
            remote_signature=Signature.parse(facts["counterparty_sig"]),
            feerate_per_kw=FeeratePerKw(facts["feerate_per_kw"]),
            to_local_msat=Millisatoshi(ours),
            to_remote_msat=Millisatoshi(theirs),
            htlcs=htlcs,
        )

    def commitment_request(self, commitment: LocalCommitment) -> SigningRequest:
        """The request to sign one of our commitments."""
        script = Script.parse(self.document["channel"]["funding_script_pubkey"])
        return commitment_request(self.channel, commitment, script)

    # -- sweeps --

    def our_spends(self) -> list[tuple[SigningRequest, Transaction]]:
        """Every mined transaction of A that spends channel outputs only, and its request."""
        spends = []
        for item in self.document["confirmed"]:
            kinds = [_KINDS.get((i.get("role"), i.get("path"))) for i in item["inputs"]]
            if item["by"] == "A" and all(kinds):
                signed = _tx(item["hex"])
                spends.append((self._request(item, signed), signed))
        return spends

    def _request(self, item: dict[str, Any], signed: Transaction) -> SigningRequest:
        inputs = [self.signing_input(facts) for facts in item["inputs"]]
        unsigned = HexBytes(signed.serialize(with_witness=False))
        request = sweep_request(self.channel.node, unsigned, inputs)
        made = {spent.outpoint.txid for spent in needs_proof(request)}
        return replace(request, parents=tuple(self.parent(txid) for txid in sorted(made)))

    def parent(self, txid: Txid) -> HexBytes:
        """The mined transaction of that name, without witness."""
        mined = (self.document["closing_tx"], *self.document["confirmed"])
        found = (_tx(item["hex"]) for item in mined)
        parent = next(tx for tx in found if tx.txid() == txid)
        return HexBytes(parent.serialize(with_witness=False))

    def signing_input(self, facts: dict[str, Any]) -> SigningInput:
        """One input of a mined transaction, as the court would describe it."""
        kind = _KINDS[facts["role"], facts["path"]]
        closing = self.document["closing_tx"]["commitment"]
        outpoint = OutPoint.parse(facts["outpoint"])
        htlc = None if kind is ContractKind.TO_LOCAL else self._htlc_at(outpoint)
        contract = Contract(
            outpoint=outpoint,
            kind=kind,
            value_sat=Satoshi(facts["value_sat"]),
            script_pubkey=Script.parse(facts["script_pubkey"]),
            commitment_owner=Side.LOCAL if closing["holder"] == "A" else Side.REMOTE,
            commitment_number=closing["number"],
            per_commitment_point=PublicKey.parse(closing["per_commitment_point"]),
            csv_delay=Blocks(0),
            stage=ContractStage.SWEEPING,
            confirmed_height=BlockHeight(self.document["closing_tx"]["height"]),
            htlc=htlc,
        )
        revoked = kind in (ContractKind.REVOKED_TO_LOCAL, ContractKind.REVOKED_HTLC)
        return contract_input(
            self.channel,
            contract,
            self._preimage(htlc) if kind is ContractKind.RECEIVED_HTLC else None,
            self._revealed(closing["number"]) if revoked else None,
        )

    def _htlc_at(self, outpoint: OutPoint) -> Htlc | None:
        for item in self.document["closing_tx"]["commitment"]["htlcs"]:
            if item["output_index"] == outpoint.vout:
                return _htlc(item)
        return None

    def _preimage(self, htlc: Htlc | None) -> Secret | None:
        known = self.document["preimages"]
        for item in known["A_knows_at_close"] + known["A_learns_after_close"]:
            if htlc and item["payment_hash"] == str(htlc.payment_hash):
                return Secret.parse(item["preimage"])
        return None

    def _revealed(self, number: int) -> Secret:
        for update in self.document["updates"]:
            if update["type"] == "remote_revoked" and update["number"] == number:
                return Secret.parse(update["per_commitment_secret"])
        raise AssertionError(f"commitment {number} was never revoked")


def _tx(text: str) -> Transaction:
    return Transaction.parse(bytes.fromhex(text))


def _htlc(item: dict[str, Any]) -> Htlc:
    signature = item.get("counterparty_htlc_sig")
    return Htlc(
        id=item["id"],
        direction=Direction(item["direction"]),
        amount_msat=Millisatoshi(item["amount_msat"]),
        payment_hash=PaymentHash.parse(item["payment_hash"]),
        cltv_expiry=BlockHeight(item["cltv_expiry"]),
        remote_signature=Signature.parse(signature) if signature else None,
    )


def _balances_msat(facts: dict[str, Any], channel: Channel) -> tuple[int, int]:
    """Our and the peer's balance in msat: the recording has them after the opener's fee.

    What the outputs lost by rounding down is given to neither side: it changes no output.
    """
    kept = sum(1 for htlc in facts["htlcs"] if not htlc["dust"])
    weight = weights.commitment(kept, anchors=channel.anchors)
    cost = weights.fee(FeeratePerKw(facts["feerate_per_kw"]), weight)
    cost = Satoshi(cost + (2 * weights.ANCHOR_SAT if channel.anchors else 0))
    ours, theirs = facts["to_broadcaster_sat"], facts["to_countersignatory_sat"]
    if channel.opener is Side.LOCAL:
        return (ours + cost) * 1000, theirs * 1000
    return ours * 1000, (theirs + cost) * 1000

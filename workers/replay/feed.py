"""A recorded closing as what a node would have sent: key import, webhooks, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contractcourt.bitcoin import base58
from contractcourt.bolt3 import weights
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from workers.replay.fixture import Fixture
from workers.signer.fee_wallet import descriptor_checksum

#: Steps told in one webhook, and so in one commit.
_STEPS_A_WEBHOOK = 25

_SECRETS = (
    "funding_key",
    "revocation_base_key",
    "payment_key",
    "delayed_payment_base_key",
    "htlc_base_key",
    "commitment_seed",
)

_WIF_TEST, _WIF_COMPRESSED = b"\xef", b"\x01"

#: By the recording's `anchors`.
CHANNEL_TYPES = {False: STATIC_REMOTEKEY, True: ANCHORS_ZERO_FEE_HTLC}


def key_document(fixture: Fixture) -> dict[str, str]:
    """What `keys import` takes."""
    secrets = fixture.document["secrets"]["A"]
    return {"channel_point": fixture.channel_point, **{name: secrets[name] for name in _SECRETS}}


def fee_wallet_document(fixture: Fixture, node: str) -> dict[str, str]:
    """What `keys import` takes for the wallet that paid for LDK's anchors: one key of P2WPKH."""
    secret = bytes.fromhex(fixture.document["secrets"]["A"]["wallet_secret_key"])
    body = f"wpkh({base58.encode(_WIF_TEST + secret + _WIF_COMPRESSED)})"
    return {"node": node, "fee_wallet": f"{body}#{descriptor_checksum(body)}"}


def opened(fixture: Fixture) -> dict[str, Any]:
    """The data of `channel.opened`."""
    channel = fixture.document["channel"]
    return {
        "channel_point": fixture.channel_point,
        "capacity_sat": channel["capacity_sat"],
        "channel_type": CHANNEL_TYPES[channel["anchors"]],
        "opener": "local" if channel["opener"] == "A" else "remote",
        "local": _side(fixture, "A"),
        "remote": _side(fixture, "B"),
        "sweep_script": fixture.sweep_script,
        "key_ref": {"kind": "raw"},
    }


def _side(fixture: Fixture, name: str) -> dict[str, Any]:
    params = fixture.document["params"][name]
    return {
        "funding_pubkey": params["funding_pubkey"],
        "revocation_basepoint": params["revocation_basepoint"],
        "payment_basepoint": params["payment_basepoint"],
        "delayed_payment_basepoint": params["delayed_payment_basepoint"],
        "htlc_basepoint": params["htlc_basepoint"],
        "to_self_delay": params["to_self_delay"],
        "dust_limit_sat": params["dust_limit_satoshis"],
    }


def webhooks(fixture: Fixture) -> Iterator[tuple[str, dict[str, Any]]]:
    """(type, data) of every webhook up to the close, in the order of the recording."""
    steps: list[dict[str, Any]] = []
    for update in fixture.document["updates"]:
        step = _step(fixture, update)
        if step is not None:
            steps.append(step)
        preimage = update["type"] == "preimage_known"
        if steps and (preimage or len(steps) >= _STEPS_A_WEBHOOK):
            yield "channel.updated", {"channel_point": fixture.channel_point, "updates": steps}
            steps = []
        if preimage:
            yield (
                "preimage.learned",
                {"payment_hash": update["payment_hash"], "preimage": update["preimage"]},
            )
    if steps:
        yield "channel.updated", {"channel_point": fixture.channel_point, "updates": steps}


def _step(fixture: Fixture, update: dict[str, Any]) -> dict[str, Any] | None:
    match update["type"]:
        case "local_commitment":
            return {"local_commitment": _local(fixture, update["commitment"])}
        case "remote_commitment":
            key = (
                "remote_commitment"
                if update["commitment"]["number"] == 0
                else ("remote_pending_commitment")
            )
            return {key: _remote(fixture, update["commitment"])}
        case "remote_revoked":
            return {
                "revoked_secret": {
                    "number": update["number"],
                    "secret": update["per_commitment_secret"],
                }
            }
        case _:
            return None


def _local(fixture: Fixture, commitment: dict[str, Any]) -> dict[str, Any]:
    to_local, to_remote = balances_msat(fixture, commitment)
    return {
        "number": commitment["number"],
        "tx": commitment["tx_unsigned"],
        "remote_signature": commitment["counterparty_sig"],
        "feerate_per_kw": commitment["feerate_per_kw"],
        "to_local_msat": to_local,
        "to_remote_msat": to_remote,
        "htlcs": [_htlc(htlc, signed=True) for htlc in commitment["htlcs"]],
    }


def _remote(fixture: Fixture, commitment: dict[str, Any]) -> dict[str, Any]:
    to_remote, to_local = balances_msat(fixture, commitment)
    return {
        "number": commitment["number"],
        "per_commitment_point": commitment["per_commitment_point"],
        "feerate_per_kw": commitment["feerate_per_kw"],
        "to_local_msat": to_local,
        "to_remote_msat": to_remote,
        "htlcs": [_htlc(htlc, signed=False) for htlc in commitment["htlcs"]],
    }


def _htlc(htlc: dict[str, Any], *, signed: bool) -> dict[str, Any]:
    told = {
        "id": htlc["id"],
        "direction": htlc["direction"],
        "amount_msat": htlc["amount_msat"],
        "payment_hash": htlc["payment_hash"],
        "cltv_expiry": htlc["cltv_expiry"],
    }
    if signed and htlc.get("counterparty_htlc_sig"):
        told["remote_signature"] = htlc["counterparty_htlc_sig"]
    return told


def balances_msat(fixture: Fixture, commitment: dict[str, Any]) -> tuple[int, int]:
    """(holder's, other's) balance before fees, in millisatoshi.

    The recording has what is left of each after the opener paid fee and anchors, in whole
    satoshi. The lost parts of a satoshi are put back where they change no output: under 1000 msat
    a side, and all of them on a side that has no output at all.
    """
    channel = fixture.document["channel"]
    holder_opened = commitment["holder"] == channel["opener"]
    kept = sum(1 for htlc in commitment["htlcs"] if not htlc["dust"])
    weight = weights.commitment(kept, anchors=channel["anchors"])
    cost = int(weights.fee(commitment["feerate_per_kw"], weight))
    cost += 2 * weights.ANCHOR_SAT if channel["anchors"] else 0
    holder, other = commitment["to_broadcaster_sat"], commitment["to_countersignatory_sat"]
    holder_msat = (holder + (cost if holder_opened and holder else 0)) * 1000
    other_msat = (other + (cost if not holder_opened and other else 0)) * 1000
    in_htlcs = sum(int(htlc["amount_msat"]) for htlc in commitment["htlcs"])
    lost = channel["capacity_sat"] * 1000 - in_htlcs - holder_msat - other_msat
    if not holder:
        return holder_msat + lost, other_msat
    if not other:
        return holder_msat, other_msat + lost
    part = min(lost, 999)
    return holder_msat + part, other_msat + lost - part

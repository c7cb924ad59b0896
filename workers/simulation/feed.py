"""Law records as the webhook data that a node would send."""

from __future__ import annotations

from typing import Any

from contractcourt import codec
from contractcourt.channel import Channel, FundingPubkeys
from contractcourt.events import ChannelUpdate


def opened_data(channel: Channel) -> dict[str, Any]:
    """The data of `channel.opened`."""
    data: dict[str, Any] = codec.to_builtins(channel)
    # The webhook's path names the node; at opening both outpoints are one, and so are the keys.
    del data["node"], data["funding_outpoint"], data["funding_pubkeys"]
    data["key_ref"] = _given(data["key_ref"])
    return data


def pubkeys_data(pubkeys: FundingPubkeys) -> dict[str, str]:
    """What `channel.funding_replaced` says of a funding with keys of its own."""
    return {
        "local_funding_pubkey": str(pubkeys.local),
        "remote_funding_pubkey": str(pubkeys.remote),
    }


def update_data(update: ChannelUpdate) -> dict[str, Any]:
    """One step of `channel.updated`. Our own point is left out: the court asks its signer."""
    data: dict[str, Any] = _given(codec.to_builtins(update))
    local = data.get("local_commitment")
    if local is not None:
        del local["txid"]
        local.pop("per_commitment_point", None)
    return data


def _given(data: Any) -> Any:
    """The same without what was not given."""
    if isinstance(data, dict):
        return {key: _given(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [_given(item) for item in data]
    return data

"""What one transaction of the signer has read of the vault, so that it reads nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Channel
from contractcourt.signing import SigningPurpose, SigningRequest
from contractcourt.units import Script
from storage.database import Connection
from workers.signer.channel_keys import ChannelKeys
from workers.signer.fee_wallet import FeeWalletKeys
from workers.signer.keyring import KeyRing


class Opened:
    """Keys by channel point, fee wallets and sweep scripts by node; gone with the transaction."""

    def __init__(self, keyring: KeyRing, conn: Connection) -> None:
        self._keyring = keyring
        self._conn = conn
        #: With the channel as it was named: another one of that name is proven anew.
        self._keys: dict[OutPoint, tuple[Channel, ChannelKeys]] = {}
        self._wallets: dict[str, FeeWalletKeys | None] = {}
        self._scripts: dict[str, frozenset[Script]] = {}

    def read_ahead(self, requests: Iterable[SigningRequest]) -> None:
        """Look for the keys of all sweeps at once. Raises what `keys_of` raises."""
        sweeps = [each for each in requests if each.purpose is not SigningPurpose.COMMITMENT]
        self.keys_of([channel for each in sweeps for channel in channels_of(each)])

    def keys_of(self, wanted: Sequence[Channel]) -> dict[OutPoint, ChannelKeys]:
        """Our keys of these channels, by channel point.

        Raises:
            KeysMissing: nothing is stored for a channel or its node.
            SigningRefused: WRONG_KEY, WRONG_NODE.
        """
        new = {c.channel_point: c for c in wanted if not self._is_proven(c)}
        if new:
            found = self._keyring.keys_of(self._conn, list(new.values()))
            self._keys |= {point: (new[point], keys[0]) for point, keys in found.items()}
        return {channel.channel_point: self._keys[channel.channel_point][1] for channel in wanted}

    def _is_proven(self, channel: Channel) -> bool:
        known = self._keys.get(channel.channel_point)
        return known is not None and known[0] == channel

    def fee_wallet(self, node: str) -> FeeWalletKeys | None:
        """The keys of the node's fee wallet, when it has one."""
        if node not in self._wallets:
            self._wallets[node] = self._keyring.fee_wallet(self._conn, node)
        return self._wallets[node]

    def sweep_scripts(self, node: str) -> frozenset[Script]:
        """The scripts that the node's owner allowed. Raises UnknownNode."""
        if node not in self._scripts:
            self._scripts[node] = self._keyring.sweep_scripts(self._conn, node)
        return self._scripts[node]


def channels_of(request: SigningRequest) -> list[Channel]:
    """The channels whose outputs a request spends."""
    return [spent.channel for spent in request.inputs if spent.channel is not None]

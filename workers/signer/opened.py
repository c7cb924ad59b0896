"""What one transaction of the signer has read of the vault, so that it reads nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Channel
from contractcourt.signing import SigningPurpose, SigningRequest
from contractcourt.sweep_rules import Allowed
from storage.database import Connection
from workers.signer.channel_keys import ChannelKeys
from workers.signer.fee_wallet import FeeWalletKeys
from workers.signer.keyring import KeyRing


class Opened:
    """Keys by channel point, fee wallet and rules by node; gone with the transaction."""

    def __init__(self, keyring: KeyRing, conn: Connection) -> None:
        self._keyring = keyring
        self._conn = conn
        #: With the channel as it was named: another one of that name is proven anew.
        self._keys: dict[OutPoint, tuple[Channel, tuple[ChannelKeys, ...]]] = {}
        self._nodes: dict[str, tuple[FeeWalletKeys | None, Allowed]] = {}

    def read_ahead(self, requests: Iterable[SigningRequest]) -> None:
        """Look for the keys of all sweeps at once. Raises what `keys_of` raises."""
        sweeps = [each for each in requests if each.purpose is not SigningPurpose.COMMITMENT]
        self.keys_of([channel for each in sweeps for channel in each.channels])

    def keys_of(self, wanted: Sequence[Channel]) -> dict[OutPoint, tuple[ChannelKeys, ...]]:
        """Our keys of these channels, by channel point; several only differ in the seed.

        Whatever is said of a channel is proven, though it be described in several ways.

        Raises:
            KeysMissing: nothing is stored for a channel or its node.
            SigningRefused: WRONG_KEY, WRONG_NODE.
        """
        new = list(dict.fromkeys(c for c in wanted if not self._is_proven(c)))
        if new:
            found = self._keyring.keys_of(self._conn, new)
            self._keys |= {c.channel_point: (c, found[c.channel_point]) for c in new}
        return {c.channel_point: self._keys[c.channel_point][1] for c in wanted}

    def _is_proven(self, channel: Channel) -> bool:
        known = self._keys.get(channel.channel_point)
        return known is not None and known[0] == channel

    def of_node(self, node: str) -> tuple[FeeWalletKeys | None, Allowed]:
        """The node's fee wallet, when it has one, and where its money may go.

        Raises UnknownNode.
        """
        if node not in self._nodes:
            wallet = self._keyring.fee_wallet(self._conn, node)
            allowed = Allowed(
                self._keyring.sweep_scripts(self._conn, node),
                {} if wallet is None else dict(enumerate(wallet.scripts())),
            )
            self._nodes[node] = wallet, allowed
        return self._nodes[node]

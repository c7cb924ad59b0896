"""Which keys serve a channel, which node they belong to, and where that node's money may go.

What the signer once learned it keeps sealed in the vault, and it believes that over anything a
later request or a changed row says: the node of a channel's keys and the sweep scripts of a node
are taken at their first use and then stay. Changing a row of `nodes` or `channels` redirects no
money. Deleting the vault's own rows would let them be learned anew: Postgres lets nobody but the
signer's role come near them, and not even that one delete them (`storage/roles.py`). Its owner can:
against him the signer's own settings name the scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bolt3.points import public_key
from contractcourt.channel import Channel, Side
from contractcourt.codec import decode, encode
from contractcourt.signing import RefusalReason, SigningRefused
from contractcourt.units import PublicKey, Script, Secret
from storage import channels, fee_wallets, nodes, vault
from storage.database import Connection
from storage.errors import WrongSealKey
from storage.seal import Seal
from workers.signer.channel_keys import ChannelKeys
from workers.signer.documents import (
    ChannelKeyDocument,
    FeeWalletDocument,
    KeyDocument,
    LndRootDocument,
    SpliceKeyDocument,
)
from workers.signer.errors import ForeignKeyDocument, KeysMissing, UnknownNode
from workers.signer.extended_key import ExtendedKey
from workers.signer.fee_wallet import FeeWalletKeys, parse_fee_wallet
from workers.signer.lnd_keys import LndKeyRing

#: Records that tell whether a seal key is the vault's.
_TRIED = 100
_HOW_TO = 'docs/how-to/rotate-secrets.md, "Keys that were imported wrong"'


class KeyRing:
    """The sealed records of the vault, read and written inside the caller's transaction."""

    def __init__(
        self, seal: Seal, *, mainnet: bool, payable: frozenset[Script] | None = None
    ) -> None:
        """`payable`: what the owner of the signer's host lets money go to; None is no limit."""
        self._seal = seal
        self.mainnet = mainnet
        self._payable = payable

    def check_opens(self, conn: Connection) -> None:
        """Raise WrongSealKey when the vault holds records, and this seal opens none of some.

        One that was altered is no reason to leave all others unsigned.
        """
        wrong: WrongSealKey | None = None
        for name, sealed in vault.some_sealed(conn, _TRIED).items():
            try:
                self._seal.open(name, sealed)
            except WrongSealKey as error:
                wrong = error
            else:
                return
        if wrong is not None:
            raise wrong

    # -- import --

    def store(self, conn: Connection, document: KeyDocument) -> str:
        """Keep a document's keys; the same document again changes nothing.

        Returns what was imported, in words without a secret.

        Raises:
            ForeignKeyDocument: other keys are stored under that name.
        """
        match document:
            case ChannelKeyDocument(channel_point, keys):
                self._keep(conn, _channel_record(channel_point), keys.packed())
                node = channels.node_of(conn, channel_point)
                if node is not None:
                    self._first(conn, _owner_record(channel_point), node.encode())
                return f"channel {channel_point}"
            case SpliceKeyDocument(channel_point, secret):
                pubkey = public_key(secret)
                self._keep(conn, _funding_record(channel_point, pubkey), secret)
                return f"funding key {pubkey} of a splice of channel {channel_point}"
            case LndRootDocument(name, ring):
                packed = ring.root.secret + ring.root.chain_code
                self._keep(conn, _root_record(name), packed)
                return f"lnd root key of node {name}"
            case FeeWalletDocument(name, wallet):
                self._keep_fee_wallet(conn, name, wallet)
                return f"fee wallet of node {name}"

    def _keep_fee_wallet(self, conn: Connection, node: str, wallet: FeeWalletKeys) -> None:
        if nodes.get_node(conn, node) is None:
            raise UnknownNode(f"node {node} is not registered: register it first")
        self._keep(conn, _wallet_record(node), wallet.descriptor.encode())
        scripts = wallet.scripts()
        others = {one.script_pubkey for one in fee_wallets.scripts(conn) if one.node != node}
        if others & set(scripts):
            raise ForeignKeyDocument(
                "this fee wallet serves another node already: each has its own"
            )
        fee_wallets.put_scripts(conn, node, scripts)

    # -- use --

    def channel_keys(self, conn: Connection, channel: Channel) -> tuple[ChannelKeys, ...]:
        """Our keys of `channel`, proven to be its own; several only differ in the seed.

        More than one is given for an lnd channel whose seed no commitment has settled yet, the
        likeliest first (`settle_seed`).

        Raises:
            KeysMissing: nothing is stored for this channel or node.
            SigningRefused: WRONG_KEY, WRONG_NODE.
        """
        return self.keys_of(conn, [channel])[channel.channel_point]

    def keys_of(
        self, conn: Connection, wanted: Sequence[Channel]
    ) -> dict[OutPoint, tuple[ChannelKeys, ...]]:
        """`channel_keys` of many, by channel point, with one look into the vault."""
        names = {record for channel in wanted for record in _records(channel)}
        sealed = vault.get_sealed_many(conn, sorted(names))
        rings = self._lnd_rings(wanted, sealed)
        found = {}
        for channel in wanted:
            if channel.key_ref.kind == "lnd":
                candidates = self._lnd_candidates(channel, rings, sealed)
            else:
                candidates = (self._raw_keys(conn, channel, sealed),)
            candidates = self._on_present_funding(channel, candidates, sealed)
            candidates[0].check_belongs_to(channel)
            found[channel.channel_point] = candidates
        return found

    def settle_seed(self, conn: Connection, channel: Channel, keys: ChannelKeys) -> None:
        """Remember that of all candidates `keys` holds the seed this channel's tx was made of."""
        if channel.key_ref.kind == "lnd":
            self._keep(conn, _seed_record(channel.channel_point), keys.commitment_seed)

    def sweep_scripts(self, conn: Connection, node: str) -> frozenset[Script]:
        """The scripts that `node`'s owner allowed, as they stood when they were first used.

        None but those that the signer's own settings name, where they do.

        Raises:
            UnknownNode: no such node is registered.
        """
        pinned = self._open(conn, _scripts_record(node))
        if pinned is None:
            registered = nodes.get_node(conn, node)
            if registered is None:
                raise UnknownNode(f"node {node} is not registered: nothing may be paid for it")
            pinned = self._first(conn, _scripts_record(node), encode(registered.sweep_scripts))
        scripts = frozenset(decode(pinned, tuple[Script, ...]))
        return scripts if self._payable is None else scripts & self._payable

    def fee_wallet(self, conn: Connection, node: str) -> FeeWalletKeys | None:
        """The keys of `node`'s fee wallet, when it has one."""
        descriptor = self._open(conn, _wallet_record(node))
        return None if descriptor is None else parse_fee_wallet(descriptor.decode())

    # -- records --

    def _raw_keys(
        self, conn: Connection, channel: Channel, sealed: Mapping[str, bytes]
    ) -> ChannelKeys:
        packed = self._opened(_channel_record(channel.channel_point), sealed)
        if packed is None:
            raise KeysMissing(f"no keys are stored for channel {channel.channel_point}")
        owner_name, node = _owner_record(channel.channel_point), channel.node.encode()
        owner = self._opened(owner_name, sealed) or self._first(conn, owner_name, node)
        if owner != node:
            raise SigningRefused(
                RefusalReason.WRONG_NODE,
                f"the keys of {channel.channel_point} were first used for another node",
            )
        return ChannelKeys.unpacked(packed)

    def _lnd_rings(
        self, wanted: Sequence[Channel], sealed: Mapping[str, bytes]
    ) -> dict[str, LndKeyRing]:
        """By node. What all its channels share is derived once."""
        rings = {}
        for node in {channel.node for channel in wanted if channel.key_ref.kind == "lnd"}:
            root = self._opened(_root_record(node), sealed)
            if root is not None:
                rings[node] = LndKeyRing(ExtendedKey(root[:32], root[32:]), self.mainnet)
        return rings

    def _lnd_candidates(
        self, channel: Channel, rings: Mapping[str, LndKeyRing], sealed: Mapping[str, bytes]
    ) -> tuple[ChannelKeys, ...]:
        ring, index = rings.get(channel.node), channel.key_ref.index
        if ring is None:
            raise KeysMissing(f"no root key is stored for node {channel.node}")
        if index is None or not 0 <= index < 2**31 - 1:
            raise SigningRefused(RefusalReason.MALFORMED_REQUEST, "key_ref has no index of a key")
        candidates = ring.channel_keys(index)
        settled = self._opened(_seed_record(channel.channel_point), sealed)
        if settled is None:
            return candidates
        fitting = tuple(keys for keys in candidates if keys.commitment_seed == settled)
        if not fitting:
            raise SigningRefused(
                RefusalReason.WRONG_KEY,
                f"wrong key: the seed of {channel.channel_point} does not come from index {index}",
            )
        return fitting

    def _on_present_funding(
        self, channel: Channel, candidates: tuple[ChannelKeys, ...], sealed: Mapping[str, bytes]
    ) -> tuple[ChannelKeys, ...]:
        """With the key that a splice brought, where it did. All else of the channel goes on."""
        record = _record_of_a_splice(channel)
        if record is None:
            return candidates
        opened = self._opened(record, sealed)
        secret = None if opened is None else Secret(opened)
        return tuple(replace(keys, funding_key=secret) for keys in candidates)

    def _keep(self, conn: Connection, name: str, plain: bytes) -> None:
        if self._first(conn, name, plain) != plain:
            raise ForeignKeyDocument(
                f"other keys are stored as {name} already, and they stay. If those are the wrong "
                f"ones, the database's owner has to take them out: {_HOW_TO}"
            )

    def _first(self, conn: Connection, name: str, plain: bytes) -> bytes:
        """What is sealed as `name`; `plain`, when nothing was there before."""
        known = self._open(conn, name)
        if known is not None:
            return known
        if vault.put_sealed(conn, name, self._seal.close(name, plain)):
            return plain
        # Somebody was quicker.
        return self._first(conn, name, plain)

    def _open(self, conn: Connection, name: str) -> bytes | None:
        sealed = vault.get_sealed(conn, name)
        return None if sealed is None else self._seal.open(name, sealed)

    def _opened(self, name: str, sealed: Mapping[str, bytes]) -> bytes | None:
        return self._seal.open(name, sealed[name]) if name in sealed else None


def _records(channel: Channel) -> tuple[str, ...]:
    """Those that tell a channel's keys: two, and one more where a splice brought a key."""
    if channel.key_ref.kind == "lnd":
        records = _root_record(channel.node), _seed_record(channel.channel_point)
    else:
        records = _channel_record(channel.channel_point), _owner_record(channel.channel_point)
    of_a_splice = _record_of_a_splice(channel)
    return records if of_a_splice is None else (*records, of_a_splice)


def _record_of_a_splice(channel: Channel) -> str | None:
    """Of our key in the present funding, unless the channel was opened with it."""
    pubkey = channel.funding_pubkey(Side.LOCAL)
    if pubkey == channel.local.funding_pubkey:
        return None
    return _funding_record(channel.channel_point, pubkey)


def _channel_record(channel_point: OutPoint) -> str:
    return f"channel/{channel_point}"


def _funding_record(channel_point: OutPoint, funding_pubkey: PublicKey) -> str:
    return f"funding/{channel_point}/{funding_pubkey}"


def _root_record(node: str) -> str:
    return f"lnd/{node}"


def _wallet_record(node: str) -> str:
    return f"fee_wallet/{node}"


def _seed_record(channel_point: OutPoint) -> str:
    return f"seed/{channel_point}"


def _scripts_record(node: str) -> str:
    return f"scripts/{node}"


def _owner_record(channel_point: OutPoint) -> str:
    return f"owner/{channel_point}"

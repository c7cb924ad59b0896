"""Both ends of one channel with real keys: what a node would tell the court, and what either
side could publish. Everything follows from a seed, so that a story repeats itself exactly."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wpkh, p2wsh
from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.bolt3 import derivation, points
from contractcourt.bolt3.closing import build_closing
from contractcourt.bolt3.commitment import BuiltCommitment, build_commitment
from contractcourt.bolt3.htlc import build_second_level, remote_sighash
from contractcourt.bolt3.scripts import funding_script
from contractcourt.channel import (
    ANCHORS_ZERO_FEE_HTLC,
    Channel,
    Direction,
    FundingPubkeys,
    Htlc,
    KeyRef,
    LocalCommitment,
    RemoteCommitment,
    RevokedSecret,
    Side,
)
from contractcourt.events import ChannelUpdate
from contractcourt.units import (
    BlockHeight,
    FeeratePerKw,
    HexBytes,
    Millisatoshi,
    PaymentHash,
    PublicKey,
    Satoshi,
    Script,
    Secret,
    Signature,
)
from workers.simulation.balances import Balances
from workers.simulation.keys import BASE_SECRETS, Keys, from_seed, public_key

_IMPORTED = KeyRef("raw")
_DUST_SAT = 354
#: No transaction has this outpoint.
_NOT_FUNDED = OutPoint(bytes(36))
#: Announced by our node: the delay on the peer's outputs.
_THEIR_DELAY = 8


@dataclass(slots=True)
class SimulatedChannel:
    """A channel between our node and a peer. Call `funded` before anything else."""

    seed: str
    channel_type: str = ANCHORS_ZERO_FEE_HTLC
    capacity_sat: int = 1_000_000
    to_remote_msat: int = 400_000_000
    feerate_per_kw: int = 1_000
    #: Announced by the peer: the delay on our own outputs.
    our_delay: int = 6
    opener: Side = Side.LOCAL
    node: str = "alice"
    funding_outpoint: OutPoint = _NOT_FUNDED
    history: list[Balances] = field(default_factory=list)
    #: Seen from the other end: `ours` are the peer's keys.
    from_the_peer: bool = False
    #: Our node's own, where they do not follow from the seed, and how the signer finds them.
    own_keys: Keys | None = None
    key_ref: KeyRef = _IMPORTED
    #: Which keys its funding has: 0, those that it was opened with, or those of a splice.
    funding_keys: int = 0

    def __post_init__(self) -> None:
        if not self.history:
            to_local = self.capacity_sat * 1000 - self.to_remote_msat
            self.history.append(Balances(to_local, self.to_remote_msat))

    def as_peer(self) -> SimulatedChannel:
        """The same channel with the peer as "our node", as it stands now."""
        return replace(
            self,
            from_the_peer=not self.from_the_peer,
            opener=self.opener.other,
            node=f"peer of {self.node}",
            history=[held.mirrored() for held in self.history],
        )

    # -- facts --

    @property
    def ours(self) -> Keys:
        return self._keys(by_peer=self.from_the_peer)

    @property
    def theirs(self) -> Keys:
        return self._keys(by_peer=not self.from_the_peer)

    def _keys(self, *, by_peer: bool) -> Keys:
        if by_peer:
            return Keys(f"{self.seed}/theirs")
        return self.own_keys or Keys(f"{self.seed}/ours")

    @property
    def number(self) -> int:
        """The newest commitment number; both sides count alike here."""
        return len(self.history) - 1

    @property
    def sweep_script(self) -> Script:
        """Where our node's owner wants its money, one script for each node."""
        return p2wpkh(public_key(from_seed(f"wallet of {self.node}")))

    @property
    def funding_script_pubkey(self) -> Script:
        """What the funding transaction pays."""
        return p2wsh(funding_script(*self._funding_pubkeys()))

    def _funding_pubkeys(self) -> tuple[PublicKey, PublicKey]:
        ours, theirs = self.funding_secret(self.ours), self.funding_secret(self.theirs)
        return public_key(ours), public_key(theirs)

    def funding_secret(self, keys: Keys) -> Secret:
        """That side's key in the present funding."""
        return keys.secret(f"funding {self.funding_keys}" if self.funding_keys else "funding")

    @property
    def funding_pubkeys(self) -> FundingPubkeys | None:
        """As `channel.funding_replaced` tells them; None for those it was opened with."""
        return FundingPubkeys(*self._funding_pubkeys()) if self.funding_keys else None

    def funded(self, outpoint: OutPoint) -> SimulatedChannel:
        """The funding transaction exists."""
        self.funding_outpoint = outpoint
        return self

    @property
    def channel(self) -> Channel:
        """The lasting facts, as `channel.opened` tells them."""
        if self.funding_outpoint == _NOT_FUNDED:
            raise ValueError("fund the channel first")
        return Channel(
            channel_point=self.funding_outpoint,
            node=self.node,
            funding_outpoint=self.funding_outpoint,
            capacity_sat=Satoshi(self.capacity_sat),
            channel_type=self.channel_type,
            opener=self.opener,
            local=self.ours.side(self._announced(by_peer=self.from_the_peer), _DUST_SAT),
            remote=self.theirs.side(self._announced(by_peer=not self.from_the_peer), _DUST_SAT),
            sweep_script=self.sweep_script,
            key_ref=self.key_ref,
            funding_pubkeys=self.funding_pubkeys,
        )

    def _announced(self, *, by_peer: bool) -> int:
        """The delay that one side put on the other's outputs."""
        return self.our_delay if by_peer else _THEIR_DELAY

    def key_document(self) -> dict[str, str]:
        """What `keys import` takes."""
        named = {f"{name}_key": str(self.ours.secret(name)) for name in BASE_SECRETS}
        seed = str(self.ours.secret("commitment_seed"))
        return {"channel_point": str(self.funding_outpoint), "commitment_seed": seed, **named}

    def splice_key_document(self, channel_point: OutPoint) -> dict[str, str]:
        """What `keys import` takes of a splice with new keys."""
        key = str(self.funding_secret(self.ours))
        return {"channel_point": str(channel_point), "splice_funding_key": key}

    # -- commitments --

    def _build(self, owner: Side, number: int) -> BuiltCommitment:
        keys = self.ours if owner is Side.LOCAL else self.theirs
        held = self.history[min(number, self.number)]
        return build_commitment(
            self.channel,
            owner,
            number,
            keys.point(number),
            FeeratePerKw(self.feerate_per_kw),
            Millisatoshi(held.to_local_msat),
            Millisatoshi(held.to_remote_msat),
            held.htlcs,
        )

    def _sign(self, keys: Keys, tx: Transaction) -> Signature:
        script = funding_script(*self._funding_pubkeys())
        return points.sign(
            self.funding_secret(keys), segwit_v0(tx, 0, script, self.capacity_sat, SIGHASH_ALL)
        )

    def sign_by_both(self, tx: Transaction) -> Transaction:
        """A spend of the funding output with both signatures."""
        ours, theirs = self._funding_pubkeys()
        signed = [
            (bytes(ours), self._sign(self.ours, tx)),
            (bytes(theirs), self._sign(self.theirs, tx)),
        ]
        first, second = (points.der(signature) + b"\x01" for _, signature in sorted(signed))
        witness = (b"", first, second, bytes(funding_script(ours, theirs)))
        return replace(tx, inputs=(replace(tx.inputs[0], witness=witness), *tx.inputs[1:]))

    def local_commitment(self, number: int | None = None) -> LocalCommitment:
        """Our commitment with the peer's signatures, as our node would tell it."""
        number = self.number if number is None else number
        built = self._build(Side.LOCAL, number)
        held = self.history[number]
        return LocalCommitment(
            number=number,
            txid=built.tx.txid(),
            tx=HexBytes(built.tx.serialize()),
            remote_signature=self._sign(self.theirs, built.tx),
            feerate_per_kw=FeeratePerKw(self.feerate_per_kw),
            to_local_msat=Millisatoshi(held.to_local_msat),
            to_remote_msat=Millisatoshi(held.to_remote_msat),
            htlcs=self._signed_htlcs(built, held.htlcs),
            per_commitment_point=self.ours.point(number),
        )

    def _signed_htlcs(self, built: BuiltCommitment, htlcs: tuple[Htlc, ...]) -> tuple[Htlc, ...]:
        base = self.theirs.secret("htlc_base")
        key = derivation.derive_private_key(base, built.keys.per_commitment_point)
        signatures = {}
        for output in built.outputs:
            if output.htlc is None or output.witness_script is None:
                continue
            tx = build_second_level(
                self.channel, built.keys, built.tx.txid(), output, FeeratePerKw(self.feerate_per_kw)
            )
            digest = segwit_v0(
                tx, 0, output.witness_script, output.value_sat, remote_sighash(self.channel)
            )
            signatures[output.htlc] = points.sign(key, digest)
        return tuple(
            msgspec.structs.replace(htlc, remote_signature=signatures.get(htlc)) for htlc in htlcs
        )

    def remote_commitment(self, number: int | None = None) -> RemoteCommitment:
        """The peer's commitment, as our node would tell it."""
        number = self.number if number is None else number
        held = self.history[number]
        return RemoteCommitment(
            number=number,
            per_commitment_point=self.theirs.point(number),
            feerate_per_kw=FeeratePerKw(self.feerate_per_kw),
            to_local_msat=Millisatoshi(held.to_local_msat),
            to_remote_msat=Millisatoshi(held.to_remote_msat),
            htlcs=held.htlcs,
        )

    # -- what the node tells --

    def first_update(self) -> ChannelUpdate:
        """Both sides' commitment 0."""
        return ChannelUpdate(
            local_commitment=self.local_commitment(0), remote_commitment=self.remote_commitment(0)
        )

    def move(self, to_remote_msat: int, *htlcs: Htlc) -> None:
        """A new state: pay the peer `to_remote_msat` (or be paid), hold these HTLCs."""
        self.history.append(self.history[-1].after(to_remote_msat, htlcs))

    def propose(self) -> ChannelUpdate:
        """We signed the peer's newest commitment; it has not revoked the one before."""
        return ChannelUpdate(remote_pending_commitment=self.remote_commitment())

    def revoke(self) -> ChannelUpdate:
        """The peer revoked the commitment before the newest."""
        number = self.number - 1
        return ChannelUpdate(revoked_secret=RevokedSecret(number, self.theirs.revoke(number)))

    def accept(self) -> ChannelUpdate:
        """The peer signed our newest commitment."""
        return ChannelUpdate(local_commitment=self.local_commitment())

    def whole_move(self, to_remote_msat: int, *htlcs: Htlc) -> tuple[ChannelUpdate, ...]:
        """A new state that both sides have signed, and the peer's revocation of the old one."""
        self.move(to_remote_msat, *htlcs)
        return self.propose(), self.revoke(), self.accept()

    def htlc(self, number: int, direction: Direction, amount_msat: int, cltv_expiry: int) -> Htlc:
        """An HTLC whose preimage is `preimage(number)`."""
        digest = hashlib.sha256(self.preimage(number)).digest()
        return Htlc(
            id=number,
            direction=direction,
            amount_msat=Millisatoshi(amount_msat),
            payment_hash=PaymentHash(digest),
            cltv_expiry=BlockHeight(cltv_expiry),
        )

    def preimage(self, number: int) -> Secret:
        """The preimage of HTLC `number`."""
        return from_seed(f"{self.seed}/preimage {number}")

    # -- what either side could publish --

    def our_commitment_tx(self, number: int | None = None) -> Transaction:
        """Our commitment, signed by both."""
        return self.sign_by_both(
            self._build(Side.LOCAL, self.number if number is None else number).tx
        )

    def their_commitment_tx(self, number: int | None = None) -> Transaction:
        """The peer's commitment, signed by both; a number beyond the newest is one we lost."""
        return self.sign_by_both(
            self._build(Side.REMOTE, self.number if number is None else number).tx
        )

    def cooperative_tx(self, fee_sat: int = 500) -> Transaction:
        """A cooperative close of the newest balances."""
        held = self.history[-1]
        their_wallet = p2wpkh(public_key(from_seed(f"{self.seed}/their wallet")))
        outputs = [
            (held.to_local_msat // 1000 - fee_sat, self.sweep_script),
            (held.to_remote_msat // 1000, their_wallet),
        ]
        return self.sign_by_both(build_closing(self.channel.funding_outpoint, outputs))

    def splice_tx(self, fee_sat: int = 500, funding_keys: int = 0) -> Transaction:
        """A splice that moves the channel, less a fee, to a new funding output with these keys."""
        pays = replace(self, funding_keys=funding_keys).funding_script_pubkey
        output = TxOut(self.capacity_sat - fee_sat, bytes(pays))
        spends = TxIn(self.channel.funding_outpoint, sequence=0xFFFFFFFD)
        return self.sign_by_both(Transaction(2, (spends,), (output,), 0))

    def rogue_tx(self) -> Transaction:
        """A spend of the funding output that no rule explains."""
        outputs = tuple(
            TxOut(value, bytes(self.sweep_script)) for value in (100_000, 200_000, 300_000)
        )
        spends = TxIn(self.channel.funding_outpoint, sequence=1)
        return self.sign_by_both(Transaction(2, (spends,), outputs, 0))

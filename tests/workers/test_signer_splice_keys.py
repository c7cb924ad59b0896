"""A splice with new funding keys: until the signer has ours, it signs all that needs none of it."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace as with_fields

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bolt3.commitment import funding_script_pubkey
from contractcourt.channel import Channel, FundingPubkeys, Side
from contractcourt.errors import InvalidPoint
from contractcourt.signing import PointRequest, SigningRequest, commitment_request
from contractcourt.units import PublicKey, Satoshi, Txid
from storage.database import Database
from storage.seal import Seal
from tests.contractcourt.hostile import with_channel
from tests.model.world import after_splice
from tests.workers.ldk_signing import Recording
from tests.workers.test_signer_fee_wallet import child_of, request_of
from tests.workers.test_signer_vault import SEAL_KEY, add_node, allow_instead, import_raw, sweep
from workers.signer.errors import KeysMissing, MalformedKeyDocument
from workers.signer.keyring import KeyRing
from workers.signer.signing import Signer
from workers.simulation import fee_wallet
from workers.simulation.channel import SimulatedChannel

SIM = SimulatedChannel("spliced").funded(OutPoint.of(Txid(b"\x07" * 32), 1))
SPLICE = SIM.splice_tx(funding_keys=1)
SPLICED = after_splice(SIM, SPLICE, funding_keys=1)
CHANNEL: Channel = SIM.channel.funded_by(
    SPLICED.funding_outpoint, Satoshi(SPLICED.capacity_sat), SPLICED.funding_pubkeys
)


@pytest.fixture
def signer(db: Database) -> Signer:
    """It holds the channel's keys as they were when it was opened."""
    add_node(db, [SIM.sweep_script], SIM.node)
    signer = Signer(db, KeyRing(Seal(SEAL_KEY), mainnet=False))
    hand(signer, SIM.key_document())
    hand(signer, {"node": SIM.node, "fee_wallet": fee_wallet.descriptor(SIM.node)})
    return signer


def hand(signer: Signer, document: dict[str, str]) -> str:
    return signer.import_keys(json.dumps(document).encode())


def ours() -> SigningRequest:
    script = funding_script_pubkey(CHANNEL)
    return commitment_request(CHANNEL, SPLICED.local_commitment(), script)


def test_a_commitment_on_new_keys_waits_for_its_key(signer: Signer) -> None:
    with pytest.raises(KeysMissing, match="splice_funding_key"):
        signer.sign(ours())
    # That of another splice is none.
    other = after_splice(SIM, SIM.splice_tx(funding_keys=2), funding_keys=2)
    hand(signer, other.splice_key_document(SIM.funding_outpoint))
    with pytest.raises(KeysMissing, match="splice_funding_key"):
        signer.sign(ours())
    said = hand(signer, SPLICED.splice_key_document(SIM.funding_outpoint))
    assert str(CHANNEL.funding_pubkeys and CHANNEL.funding_pubkeys.local) in said
    assert signer.sign(ours()).txid == SPLICED.local_commitment().txid


def test_the_child_on_its_anchor_waits_for_the_key_too(signer: Signer) -> None:
    commitment = SPLICED.local_commitment()
    assert commitment.per_commitment_point is not None
    made, want = child_of(CHANNEL, commitment, commitment.per_commitment_point)
    request = request_of(CHANNEL, made, want)
    with pytest.raises(KeysMissing, match="splice_funding_key"):
        signer.sign(request)
    hand(signer, SPLICED.splice_key_document(SIM.funding_outpoint))
    assert signer.sign(request).txid == made.tx.txid()


def test_what_needs_no_funding_key_is_signed_without_it(signer: Signer, db: Database) -> None:
    recording = Recording("anchors_2_local_close")
    import_raw(signer, recording)
    request, allowed = sweep(recording)
    allow_instead(db, allowed)
    pubkeys = FundingPubkeys(*(SPLICED.channel.side(side).funding_pubkey for side in Side))
    spliced = with_channel(request, funding_pubkeys=pubkeys)
    assert signer.sign(spliced).txid == signer.sign(request).txid


def test_where_only_the_peers_key_is_new_nothing_is_missing(signer: Signer) -> None:
    assert SPLICED.funding_pubkeys is not None
    mine = SIM.channel.local.funding_pubkey
    pubkeys = FundingPubkeys(mine, SPLICED.funding_pubkeys.remote)
    channel = with_fields(CHANNEL, funding_pubkeys=pubkeys)
    answer = signer.local_point(PointRequest(channel, 3))
    assert answer.per_commitment_point == SIM.ours.point(3)


def test_a_key_of_the_peer_that_is_no_point_is_refused(signer: Signer) -> None:
    assert SPLICED.funding_pubkeys is not None
    no_point = FundingPubkeys(SPLICED.funding_pubkeys.local, PublicKey(b"\x02" + b"\xff" * 32))
    with pytest.raises(InvalidPoint):
        signer.sign(with_channel(ours(), funding_pubkeys=no_point))


@pytest.mark.parametrize(
    "changed",
    [
        {"splice_funding_key": "00" * 32},
        {"splice_funding_key": "zz" * 32},
        {"channel_point": "nowhere"},
        {"payment_key": "11" * 32},
    ],
)
def test_a_malformed_splice_key_is_refused(signer: Signer, changed: dict[str, str]) -> None:
    document = SPLICED.splice_key_document(SIM.funding_outpoint)
    with pytest.raises(MalformedKeyDocument) as caught:
        hand(signer, {**document, **changed})
    assert document["splice_funding_key"] not in str(caught.value)
    with pytest.raises(KeysMissing):
        signer.sign(ours())


def test_a_splice_key_is_stored_once(signer: Signer) -> None:
    document = SPLICED.splice_key_document(SIM.funding_outpoint)
    assert hand(signer, document) == hand(signer, document)

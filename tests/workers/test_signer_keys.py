"""Key documents, lnd's key families, the seal: what goes in, and that no secret comes out."""

from __future__ import annotations

import hmac
import json
from pathlib import Path

import pytest

from contractcourt.bolt3.points import public_key
from contractcourt.signing import RefusalReason, SigningRefused
from contractcourt.units import Secret
from storage.errors import SealKeyFileError, WrongSealKey
from storage.seal import Seal, create_seal_key, load_seal_key
from tests.workers.ldk_signing import Recording
from workers.signer.documents import ChannelKeyDocument, LndRootDocument, parse_key_document
from workers.signer.errors import MalformedKeyDocument
from workers.signer.extended_key import HARDENED, ExtendedKey, parse_extended_key
from workers.signer.lnd_keys import KeyFamily, LndKeyRing

#: A root key and the node key that lnd derives from it (lnd's own remote signer test).
LND_ROOT = (
    "tprv8ZgxMBicQKsPe6jS4vDm2n7s42Q6MpvghUQqMmSKG7bTZvGKtjrcU3"
    "PGzMNG37yzxywrcdvgkwrr8eYXJmbwdvUNVT4Ucv7ris4jvA7BUmg"
)
LND_NODE_KEY = "033f55d436d4f7d24aeffb1b976647380f22ebf9e74390e8c76dcff9fea0093b7a"

#: BIP 32, test vector 1.
BIP32_SEED = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
BIP32_ROOT = (
    "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejM"
    "RNNU3TGtRBeJgk33yuGBxrMPHi"
)
ONE = "01".rjust(64, "0")


def lnd_ring() -> LndKeyRing:
    root, mainnet = parse_extended_key(LND_ROOT, "lnd_root_key")
    return LndKeyRing(root, mainnet)


def master(seed: bytes) -> ExtendedKey:
    """The root of a seed (BIP 32, "Master key generation")."""
    digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
    return ExtendedKey(digest[:32], digest[32:])


def test_the_root_of_bip_32s_first_vector() -> None:
    root, mainnet = parse_extended_key(BIP32_ROOT, "lnd_root_key")
    assert mainnet
    assert root == master(BIP32_SEED)


def test_children_of_bip_32s_first_vector() -> None:
    hardened = master(BIP32_SEED).child(HARDENED)
    assert hardened.secret.hex() == (
        "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea"
    )
    assert hardened.child(1).secret.hex() == (
        "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368"
    )


def test_a_key_with_a_leading_zero_is_derived_as_btcwallet_does() -> None:
    """The seed 399 of btcutil's own test of its known deviation."""
    child = master((399).to_bytes(32, "big")).child(HARDENED)
    assert child.secret[0] == 0
    assert child.child(HARDENED).secret.hex() == (
        "a9b6b30a5b90b56ed48728c73af1d8a7ef1e9cc372ec21afcc1d9bdf269b0988"
    )
    assert child.child(HARDENED, unpadded=True).secret.hex() == (
        "ea46d8f58eb863a2d371a938396af8b0babe85c01920f59a8044412e70e837ee"
    )


def test_lnds_path_leads_to_lnds_node_key() -> None:
    root, _ = parse_extended_key(LND_ROOT, "lnd_root_key")
    node_family = 6
    key = root.child(HARDENED + 1017).child(HARDENED + 1).child(HARDENED + node_family)
    assert str(public_key(key.child(0).child(0).secret)) == LND_NODE_KEY


def test_each_basepoint_of_an_lnd_channel_comes_from_its_own_family() -> None:
    ring, index = lnd_ring(), 7
    keys = ring.channel_keys(index)[0]
    assert keys.funding_key == ring.family_key(KeyFamily.MULTISIG, index)
    assert keys.revocation_base_key == ring.family_key(KeyFamily.REVOCATION_BASE, index)
    assert keys.htlc_base_key == ring.family_key(KeyFamily.HTLC_BASE, index)
    assert keys.payment_key == ring.family_key(KeyFamily.PAYMENT_BASE, index)
    assert keys.delayed_payment_base_key == ring.family_key(KeyFamily.DELAY_BASE, index)
    assert len({keys.funding_key, keys.revocation_base_key, keys.htlc_base_key}) == 3


def test_the_seeds_that_lnd_may_have_used_differ() -> None:
    ring = lnd_ring()
    seeds = [keys.commitment_seed for keys in ring.channel_keys(0)]
    assert len(set(seeds)) == 4


def test_a_raw_document_is_read() -> None:
    recording = Recording("static_2_local_close")
    document = parse_key_document(json.dumps(recording.key_document).encode(), mainnet=False)
    assert isinstance(document, ChannelKeyDocument)
    assert document.channel_point == recording.channel.channel_point
    assert document.keys == recording.keys


def test_what_all_channels_of_an_lnd_node_share_is_derived_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mass close asks for thousands of channels of one root: seven keys are each one's own."""
    ring, derive, derived = lnd_ring(), ExtendedKey.child, 0

    def counted(key: ExtendedKey, index: int, *, unpadded: bool = False) -> ExtendedKey:
        nonlocal derived
        derived += 1
        return derive(key, index, unpadded=unpadded)

    monkeypatch.setattr(ExtendedKey, "child", counted)
    ring.channel_keys(3)
    shared = derived - 7
    for index in range(10):
        ring.channel_keys(index)
    assert derived == shared + 7 * 11


def test_a_root_document_is_read_on_its_own_network_only() -> None:
    raw = json.dumps({"node": "alice", "lnd_root_key": LND_ROOT}).encode()
    document = parse_key_document(raw, mainnet=False)
    assert isinstance(document, LndRootDocument)
    assert document.node == "alice"
    with pytest.raises(MalformedKeyDocument, match="another network"):
        parse_key_document(raw, mainnet=True)


def raw_document(**changes: object) -> bytes:
    document: dict[str, object] = dict(Recording("static_2_local_close").key_document)
    document.update(changes)
    return json.dumps({k: v for k, v in document.items() if v is not None}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"a":' * 5000,
        raw_document(funding_key=None),
        raw_document(funding_key="00" * 32),
        raw_document(htlc_base_key="ff" * 32),
        raw_document(payment_key="5ec4e7" * 11),
        raw_document(payment_key=7),
        raw_document(payment_key=["5ec4e7"]),
        raw_document(commitment_seed="zz" * 32),
        raw_document(channel_point="5ec4e7:0"),
        raw_document(extra="5ec4e7"),
        json.dumps({"5ec4e7" * 10: 1}).encode(),
        json.dumps({"node": "alice", "lnd_root_key": LND_ROOT[:-1] + "h"}).encode(),
        json.dumps({"node": "alice", "lnd_root_key": LND_ROOT * 3}).encode(),
        json.dumps({"node": "alice", "lnd_root_key": ""}).encode(),
        json.dumps({"node": "", "lnd_root_key": LND_ROOT}).encode(),
        json.dumps({"node": "ali\0ce", "lnd_root_key": LND_ROOT}).encode(),
        json.dumps({"node": "alice", "lnd_root_key": LND_ROOT, "channel_point": "x"}).encode(),
    ],
)
def test_a_malformed_document_is_refused_without_a_word_of_it(raw: bytes) -> None:
    with pytest.raises(MalformedKeyDocument) as caught:
        parse_key_document(raw, mainnet=False)
    said = str(caught.value)
    assert "5ec4e7" not in said
    assert LND_ROOT[10:20] not in said
    assert caught.value.__cause__ is None


def test_a_secret_is_shown_by_no_repr() -> None:
    recording = Recording("static_2_local_close")
    raw = json.dumps(recording.key_document).encode()
    shown = repr(recording.keys) + repr(parse_key_document(raw, mainnet=False)) + repr(lnd_ring())
    for secret in recording.keys.packed(), lnd_ring().root.secret:
        assert secret[:32].hex() not in shown
        assert repr(bytes(secret[:32]))[2:-1] not in shown


def test_keys_of_another_channel_are_wrong_keys() -> None:
    ours, other = Recording("static_2_local_close"), Recording("static_3_remote_close")
    with pytest.raises(SigningRefused, match="wrong key") as caught:
        ours.keys.check_belongs_to(other.channel)
    assert caught.value.reason is RefusalReason.WRONG_KEY


def test_packed_keys_come_back() -> None:
    keys = Recording("static_2_local_close").keys
    assert type(keys).unpacked(keys.packed()) == keys


def test_a_seal_opens_only_with_its_key_and_its_name() -> None:
    seal, other = Seal(bytes(32)), Seal(bytes([1]) * 32)
    sealed = seal.close("channel/a", b"secret")
    assert seal.open("channel/a", sealed) == b"secret"
    assert b"secret" not in sealed
    assert seal.close("channel/a", b"secret") != sealed
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for opener, name, record in (
        (seal, "channel/b", sealed),
        (other, "channel/a", sealed),
        (seal, "channel/a", altered),
        (seal, "channel/a", sealed[:5]),
        (seal, "channel/a", b""),
        (seal, "channel/a", b"\x02" + sealed[1:]),
    ):
        with pytest.raises(WrongSealKey):
            opener.open(name, record)


def test_a_seal_key_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    create_seal_key(path)
    first = load_seal_key(path)
    create_seal_key(path)
    assert load_seal_key(path) == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_seal_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    create_seal_key(path)
    path.chmod(0o640)
    with pytest.raises(SealKeyFileError, match="chmod 600"):
        load_seal_key(path)
    with pytest.raises(SealKeyFileError, match="CONTRACTCOURT_SEAL_KEY_FILE"):
        load_seal_key(tmp_path / "missing")
    short = tmp_path / "short"
    short.write_text(ONE[:-2])
    short.chmod(0o600)
    with pytest.raises(SealKeyFileError, match="64 hex digits"):
        load_seal_key(short)


def test_the_commitment_seed_may_be_any_32_bytes() -> None:
    document = parse_key_document(raw_document(commitment_seed="ff" * 32), mainnet=False)
    assert isinstance(document, ChannelKeyDocument)
    assert document.keys.commitment_seed == Secret.parse("ff" * 32)

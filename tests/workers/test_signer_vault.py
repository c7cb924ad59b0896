"""The signer on a real vault: what it keeps, what it believes first, what it signs once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace as with_fields

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import points, scripts
from contractcourt.bolt3.commitment import build_commitment, funding_script_pubkey
from contractcourt.channel import Channel, ChannelSide, KeyRef, LocalCommitment, Side
from contractcourt.claims import KeyRole
from contractcourt.signing import (
    PointRequest,
    RefusalReason,
    SignedTransaction,
    SigningRefused,
    SigningRequest,
    commitment_request,
)
from contractcourt.units import (
    FeeratePerKw,
    HexBytes,
    Millisatoshi,
    Script,
    Secret,
    Signature,
    Txid,
)
from storage import channels, nodes, vault
from storage.database import Connection, Database
from storage.errors import WrongSealKey
from storage.seal import Seal
from tests.contractcourt.hostile import with_channel
from tests.workers.ldk_signing import Recording
from tests.workers.test_signer_fee_wallet import child_of, request_of
from tests.workers.test_signer_keys import LND_ROOT, lnd_ring
from workers.signer.channel_keys import ChannelKeys
from workers.signer.documents import parse_key_document
from workers.signer.errors import ForeignKeyDocument, KeysMissing, UnknownNode
from workers.signer.keyring import KeyRing
from workers.signer.signing import Signer
from workers.simulation import fee_wallet

SEAL_KEY = bytes(range(32))
OTHER_SCRIPT = Script.parse("0014" + "66" * 20)
LND_INDEX = 4


@pytest.fixture
def signer(db: Database) -> Signer:
    return Signer(db, KeyRing(Seal(SEAL_KEY), mainnet=False))


@pytest.fixture
def recording() -> Recording:
    return Recording("anchors_2_local_close")


def import_raw(signer: Signer, recording: Recording) -> None:
    signer.import_keys(json.dumps(recording.key_document).encode())


def add_node(db: Database, scripts_allowed: list[Script], name: str = "alice") -> None:
    with db.transaction() as conn:
        nodes.add_node(conn, name, scripts_allowed)


def allow_instead(db: Database, scripts_allowed: list[Script]) -> None:
    """The row of every node says so from now on."""
    with db.transaction() as conn:
        given = [bytes(script) for script in scripts_allowed]
        conn.execute("UPDATE nodes SET sweep_scripts = %s", (given,))


def sweep(recording: Recording) -> tuple[SigningRequest, list[Script]]:
    request, signed = recording.our_spends()[-1]
    return request, [Script(output.script_pubkey) for output in signed.outputs]


def paying_elsewhere(request: SigningRequest) -> SigningRequest:
    """The same sweep, but for where its money goes."""
    tx = Transaction.parse(request.tx)
    elsewhere = tx.serialize().replace(bytes(tx.outputs[0].script_pubkey), bytes(OTHER_SCRIPT))
    return with_fields(request, tx=HexBytes(elsewhere))


def reason_of(signer: Signer, request: SigningRequest) -> RefusalReason:
    with pytest.raises(SigningRefused) as caught:
        signer.sign(request)
    return caught.value.reason


# -- keys --


def test_a_channel_without_keys_is_not_signed(signer: Signer, recording: Recording) -> None:
    with pytest.raises(KeysMissing):
        signer.sign(sweep(recording)[0])
    with pytest.raises(KeysMissing):
        signer.local_point(PointRequest(recording.channel, 0))


def test_no_secret_stands_in_the_database(
    signer: Signer, db: Database, recording: Recording
) -> None:
    import_raw(signer, recording)
    with db.transaction() as conn:
        rows = conn.execute("SELECT name, sealed FROM sealed_secrets").fetchall()
    assert rows
    for _, sealed in rows:
        for secret in re.findall(r"\b[0-9a-f]{64}\b", json.dumps(recording.key_document)):
            assert bytes.fromhex(secret) not in bytes(sealed)
    with pytest.raises(WrongSealKey):
        Signer(db, KeyRing(Seal(bytes(32)), mainnet=False)).local_point(
            PointRequest(recording.channel, 0)
        )


def test_one_altered_record_does_not_make_the_seal_key_a_wrong_one(
    signer: Signer, db: Database, recording: Recording
) -> None:
    import_raw(signer, recording)
    signer.local_point(PointRequest(recording.channel, 0))
    with db.transaction() as conn:
        signer.keyring.check_opens(conn)
        conn.execute("UPDATE sealed_secrets SET sealed = 'x' WHERE name LIKE 'channel/%'")
        signer.keyring.check_opens(conn)
        other = KeyRing(Seal(bytes(32)), mainnet=False)
        with pytest.raises(WrongSealKey):
            other.check_opens(conn)
        conn.execute("DELETE FROM sealed_secrets")
        other.check_opens(conn)


def test_the_same_keys_may_be_imported_again_but_no_others(
    signer: Signer, recording: Recording
) -> None:
    import_raw(signer, recording)
    import_raw(signer, recording)
    other = {**Recording("static_2_local_close").key_document}
    other["channel_point"] = recording.key_document["channel_point"]
    with pytest.raises(ForeignKeyDocument):
        signer.import_keys(json.dumps(other).encode())
    assert signer.local_point(PointRequest(recording.channel, 0))


def test_the_owner_takes_out_keys_that_were_imported_wrong(
    signer: Signer, db: Database, recording: Recording
) -> None:
    wrong = {**Recording("static_2_local_close").key_document}
    wrong["channel_point"] = recording.key_document["channel_point"]
    signer.import_keys(json.dumps(wrong).encode())
    commitment = recording.commitment_request(recording.local_commitments()[-1][0])
    assert reason_of(signer, commitment) is RefusalReason.WRONG_KEY
    with pytest.raises(ForeignKeyDocument) as told:
        import_raw(signer, recording)
    page, heading = re.findall(r'(docs/\S+\.md), "(.+)"', str(told.value))[0]
    text = (Path(__file__).parents[2] / page).read_text()
    assert f"## {heading}" in text
    [name] = re.findall(r"stored as (\S+) already", str(told.value))
    [statement] = re.findall(r'-c "(DELETE FROM sealed_secrets WHERE name = )', text)
    with db.transaction() as conn:
        conn.execute(statement + "%s", (name,))
    import_raw(signer, recording)
    assert signer.sign(commitment)


def test_of_two_imports_at_once_one_is_refused(
    signer: Signer, db: Database, recording: Recording
) -> None:
    """Whoever was told that keys are stored finds them there."""
    other = {**Recording("static_2_local_close").key_document}
    other["channel_point"] = recording.key_document["channel_point"]
    second = json.dumps(other).encode()
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as conn:
            first = parse_key_document(json.dumps(recording.key_document).encode(), mainnet=False)
            signer.keyring.store(conn, first)
            beside = pool.submit(signer.import_keys, second)
            _wait_until_it_waits(db)
        with pytest.raises(ForeignKeyDocument):
            beside.result()
    assert signer.local_point(PointRequest(recording.channel, 0))


def _wait_until_it_waits(db: Database) -> None:
    """For the lock of another transaction."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    for _ in range(500):
        if db.run(lambda conn: conn.execute(waiting).fetchone()):
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_points_are_ours(signer: Signer, recording: Recording) -> None:
    import_raw(signer, recording)
    answer = signer.local_point(PointRequest(recording.channel, 2**48 - 1))
    assert answer.per_commitment_point == recording.keys.per_commitment_point(2**48 - 1)
    for number in (-1, 2**48):
        with pytest.raises(SigningRefused):
            signer.local_point(PointRequest(recording.channel, number))


def test_keys_serve_the_node_that_used_them_first(
    signer: Signer, db: Database, recording: Recording
) -> None:
    import_raw(signer, recording)
    signer.local_point(PointRequest(recording.channel, 0))
    request, allowed = sweep(recording)
    add_node(db, allowed, "mallory")
    stolen = with_fields(with_channel(request, node="mallory"), node="mallory")
    assert reason_of(signer, stolen) is RefusalReason.WRONG_NODE


def test_keys_of_a_registered_channel_serve_its_node_from_the_import_on(
    signer: Signer, db: Database, recording: Recording
) -> None:
    request, allowed = sweep(recording)
    add_node(db, allowed)
    add_node(db, [OTHER_SCRIPT], "mallory")
    with db.transaction() as conn:
        channels.register(conn, recording.channel)
    import_raw(signer, recording)
    stolen = with_fields(with_channel(request, node="mallory"), node="mallory")
    assert reason_of(signer, stolen) is RefusalReason.WRONG_NODE
    assert signer.sign(request)


def test_another_channels_facts_are_a_wrong_key(signer: Signer, recording: Recording) -> None:
    import_raw(signer, recording)
    other = Recording("anchors_3_remote_close").channel
    request = with_channel(sweep(recording)[0], local=other.local)
    assert reason_of(signer, request) is RefusalReason.WRONG_KEY


# -- where the money may go --


def test_a_sweep_needs_a_registered_node(signer: Signer, recording: Recording) -> None:
    import_raw(signer, recording)
    with pytest.raises(UnknownNode):
        signer.sign(sweep(recording)[0])


def test_a_sweep_to_the_nodes_own_script_is_signed(
    signer: Signer, db: Database, recording: Recording
) -> None:
    import_raw(signer, recording)
    request, allowed = sweep(recording)
    add_node(db, allowed)
    signed = signer.sign(request)
    assert signed.txid == Transaction.parse(request.tx).txid()
    assert Transaction.parse(signed.tx).txid() == signed.txid


def test_a_row_changed_later_redirects_no_money(
    signer: Signer, db: Database, recording: Recording
) -> None:
    import_raw(signer, recording)
    request, allowed = sweep(recording)
    add_node(db, [OTHER_SCRIPT])
    assert reason_of(signer, request) is RefusalReason.FOREIGN_OUTPUT
    allow_instead(db, allowed)
    # The first, refused request left nothing behind, so the owner's present wish counts.
    assert signer.sign(request)
    allow_instead(db, [OTHER_SCRIPT])
    assert signer.sign(request)
    stolen = paying_elsewhere(request)
    assert reason_of(signer, stolen) is RefusalReason.FOREIGN_OUTPUT


def test_the_signers_own_settings_hold_against_the_owner_of_the_database(
    signer: Signer, db: Database, recording: Recording
) -> None:
    """He takes out what is pinned, and registers a script of his own."""
    import_raw(signer, recording)
    request, allowed = sweep(recording)
    add_node(db, allowed)
    limited = Signer(db, KeyRing(Seal(SEAL_KEY), mainnet=False, payable=frozenset(allowed)))
    assert signer.sign(request) == limited.sign(request)
    with db.transaction() as conn:
        conn.execute("DELETE FROM sealed_secrets WHERE name LIKE 'scripts/%'")
    allow_instead(db, [OTHER_SCRIPT])
    assert reason_of(limited, paying_elsewhere(request)) is RefusalReason.FOREIGN_OUTPUT
    assert reason_of(limited, request) is RefusalReason.FOREIGN_OUTPUT
    # Unset, nothing stands between.
    assert signer.sign(paying_elsewhere(request))


# -- many at once --


def test_many_requests_are_answered_as_each_by_itself_is(
    signer: Signer, db: Database, recording: Recording
) -> None:
    import_raw(signer, recording)
    request, allowed = sweep(recording)
    add_node(db, allowed)
    stolen = paying_elsewhere(request)
    other = Recording("anchors_3_remote_close").channel
    disguised = with_channel(request, local=other.local)
    assert signer.sign_many([]) == []
    assert signer.sign_many([request, request]) == [signer.sign(request)] * 2
    # Named as a channel that was proven a moment before, and not that one.
    answers = signer.sign_many([request, disguised, stolen, request])
    assert [answers[0], answers[3]] == [signer.sign(request)] * 2
    refused = answers[1:3]
    assert [one.reason for one in refused if isinstance(one, SigningRefused)] == [
        RefusalReason.WRONG_KEY,
        RefusalReason.FOREIGN_OUTPUT,
    ]


def test_a_refused_one_of_many_leaves_nothing_behind(
    signer: Signer, db: Database, recording: Recording
) -> None:
    import_raw(signer, recording)
    request, allowed = sweep(recording)
    add_node(db, [OTHER_SCRIPT])
    for answer in signer.sign_many([request, request]):
        assert isinstance(answer, SigningRefused)
        assert answer.reason is RefusalReason.FOREIGN_OUTPUT
    allow_instead(db, allowed)
    assert all(isinstance(each, SignedTransaction) for each in signer.sign_many([request] * 2))


# -- one commitment (P3) --


def test_only_the_first_commitment_is_ever_signed(
    signer: Signer, db: Database, recording: Recording
) -> None:
    import_raw(signer, recording)
    commitments = [commitment for commitment, _ in recording.local_commitments()]
    last = recording.commitment_request(commitments[-1])
    first_answer = signer.sign(last)
    assert signer.sign(last) == first_answer
    again = Signer(db, KeyRing(Seal(SEAL_KEY), mainnet=False))
    for commitment in commitments[:-1]:
        request = recording.commitment_request(commitment)
        assert reason_of(again, request) is RefusalReason.SECOND_COMMITMENT
    assert again.sign(last) == first_answer


def test_a_refused_commitment_takes_no_ones_place(signer: Signer, recording: Recording) -> None:
    import_raw(signer, recording)
    old, new = (commitment for commitment, _ in recording.local_commitments()[-2:])
    unsigned = with_fields(old, remote_signature=Signature(b"\x01" * 64))
    refused = recording.commitment_request(unsigned)
    assert reason_of(signer, refused) is RefusalReason.BAD_REMOTE_SIGNATURE
    assert signer.sign(recording.commitment_request(new)).txid == new.txid


# -- lnd --


def lnd_channel(recording: Recording, keys: ChannelKeys) -> Channel:
    """The recording's channel, had our node been an lnd."""
    local = ChannelSide(
        funding_pubkey=points.public_key(keys.private_key(KeyRole.FUNDING, None, None)),
        revocation_basepoint=points.public_key(keys.revocation_base_key),
        payment_basepoint=points.public_key(keys.payment_key),
        delayed_payment_basepoint=points.public_key(keys.delayed_payment_base_key),
        htlc_basepoint=points.public_key(keys.htlc_base_key),
        to_self_delay=recording.channel.local.to_self_delay,
        dust_limit_sat=recording.channel.local.dust_limit_sat,
    )
    return with_fields(recording.channel, local=local, key_ref=KeyRef("lnd", LND_INDEX))


def lnd_commitment(recording: Recording, channel: Channel, keys: ChannelKeys) -> LocalCommitment:
    """Commitment 3 of that channel, signed by the recording's peer."""
    number, feerate = 3, FeeratePerKw(500)
    ours = Millisatoshi(channel.capacity_sat * 600)
    theirs = Millisatoshi(channel.capacity_sat * 400)
    point = keys.per_commitment_point(number)
    built = build_commitment(channel, Side.LOCAL, number, point, feerate, ours, theirs)
    script = scripts.funding_script(channel.local.funding_pubkey, channel.remote.funding_pubkey)
    digest = segwit_v0(built.tx, 0, script, channel.capacity_sat, SIGHASH_ALL)
    peer = Secret.parse(recording.document["secrets"]["B"]["funding_key"])
    return LocalCommitment(
        number=number,
        txid=built.tx.txid(),
        tx=HexBytes(built.tx.serialize()),
        remote_signature=points.sign(peer, digest),
        feerate_per_kw=feerate,
        to_local_msat=ours,
        to_remote_msat=theirs,
    )


@pytest.mark.parametrize("seed", range(4))
def test_an_lnd_channel_is_signed_whichever_way_its_seed_was_made(
    signer: Signer, recording: Recording, seed: int
) -> None:
    signer.import_keys(json.dumps({"node": "alice", "lnd_root_key": LND_ROOT}).encode())
    keys = lnd_ring().channel_keys(LND_INDEX)[seed]
    channel = lnd_channel(recording, keys)
    commitment = lnd_commitment(recording, channel, keys)
    script = funding_script_pubkey(channel)
    signed = signer.sign(commitment_request(channel, commitment, script))
    assert signed.txid == commitment.txid
    # From now on the seed is known, and points need no commitment to be right.
    answer = signer.local_point(PointRequest(channel, 9))
    assert answer.per_commitment_point == keys.per_commitment_point(9)


def test_the_keys_of_many_lnd_channels_are_one_look_into_the_vault(
    signer: Signer, db: Database, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer.import_keys(json.dumps({"node": "alice", "lnd_root_key": LND_ROOT}).encode())
    channel = lnd_channel(recording, lnd_ring().channel_keys(LND_INDEX)[0])
    wanted = [
        with_fields(channel, channel_point=OutPoint.of(Txid(bytes([n]) * 32), 0)) for n in range(9)
    ]
    looked: list[Sequence[str]] = []

    def counted(conn: Connection, names: Sequence[str]) -> dict[str, bytes]:
        looked.append(names)
        return look(conn, names)

    look = vault.get_sealed_many
    monkeypatch.setattr(vault, "get_sealed_many", counted)
    with db.transaction() as conn:
        found = signer.keyring.keys_of(conn, wanted)
    assert found.keys() == {each.channel_point for each in wanted}
    assert len(looked) == 1


def test_a_commitment_tells_the_seed_when_a_point_is_asked_for(
    signer: Signer, recording: Recording
) -> None:
    signer.import_keys(json.dumps({"node": "alice", "lnd_root_key": LND_ROOT}).encode())
    keys = lnd_ring().channel_keys(LND_INDEX)[2]
    channel = lnd_channel(recording, keys)
    commitment = lnd_commitment(recording, channel, keys)
    answer = signer.local_point(PointRequest(channel, 9, commitment))
    assert answer.per_commitment_point == keys.per_commitment_point(9)


@pytest.mark.parametrize("seed", range(4))
def test_a_bump_is_judged_by_the_seed_that_its_commitment_was_made_with(
    signer: Signer, db: Database, recording: Recording, seed: int
) -> None:
    """The node may have published it, so that the signer never saw it before."""
    add_node(db, [OTHER_SCRIPT])
    signer.import_keys(json.dumps({"node": "alice", "lnd_root_key": LND_ROOT}).encode())
    document = {"node": "alice", "fee_wallet": fee_wallet.descriptor("alice")}
    signer.import_keys(json.dumps(document).encode())
    keys = lnd_ring().channel_keys(LND_INDEX)[seed]
    channel = lnd_channel(recording, keys)
    commitment = lnd_commitment(recording, channel, keys)
    made, want = child_of(channel, commitment, keys.per_commitment_point(commitment.number))
    request = request_of(channel, made, want)
    assert signer.sign(request).txid == made.tx.txid()
    for number in (-1, 2**48):
        told = with_fields(commitment, number=number)
        wrong = with_fields(request, commitment=told)
        assert reason_of(signer, wrong) is RefusalReason.MALFORMED_REQUEST


@pytest.mark.parametrize("index", [None, LND_INDEX + 1, -1, 2**31])
def test_a_wrong_index_is_refused(signer: Signer, recording: Recording, index: int | None) -> None:
    signer.import_keys(json.dumps({"node": "alice", "lnd_root_key": LND_ROOT}).encode())
    channel = lnd_channel(recording, lnd_ring().channel_keys(LND_INDEX)[0])
    channel = with_fields(channel, key_ref=KeyRef("lnd", index))
    with pytest.raises(SigningRefused):
        signer.local_point(PointRequest(channel, 0))

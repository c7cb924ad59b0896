"""The fee wallet in the signer: its descriptors, what its coins are spent on, and where to."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
from msgspec.structs import replace as with_fields

from chain import consensus
from contractcourt.arbitrator.classification import Classified
from contractcourt.arbitrator.contracts import build_contracts, recognised
from contractcourt.bitcoin import base58
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.channel import Channel, LocalCommitment, Side
from contractcourt.contract import Contract, ContractKind
from contractcourt.effects import BumpCommitment, CloseKind
from contractcourt.fee_rules import DEFAULT_FEE_POLICY, FeePolicy
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningPurpose,
    SigningRefused,
    SigningRequest,
    bump_request,
    contract_input,
    wallet_input,
)
from contractcourt.signing_policy import check_request
from contractcourt.sweep_rules import Allowed
from contractcourt.sweeping.drafts import Draft, FeeWallet, WalletCoin, draft
from contractcourt.sweeping.groups import Group
from contractcourt.sweeping.inputs import SweepInput
from contractcourt.units import (
    BlockHeight,
    FeeratePerKw,
    HexBytes,
    PublicKey,
    Satoshi,
    Script,
    Secret,
    Signature,
    Txid,
)
from storage import fee_wallets, nodes
from storage.database import Database
from storage.seal import Seal
from workers.signer.channel_keys import ChannelKeys
from workers.signer.errors import ForeignKeyDocument, MalformedKeyDocument, UnknownNode
from workers.signer.fee_wallet import (
    SCRIPTS,
    FeeWalletKeys,
    descriptor_checksum,
    parse_fee_wallet,
)
from workers.signer.keyring import KeyRing
from workers.signer.signatures import sign_sweep
from workers.signer.signing import Signer
from workers.simulation import fee_wallet
from workers.simulation.channel import SimulatedChannel

FOREIGN = Script(bytes.fromhex("0014" + "66" * 20))
FLOOR = FeeratePerKw(253)
_WIF_TEST, _COMPRESSED, _SECRET = b"\xef", b"\x01", b"\x11" * 32
SINGLE = base58.encode(_WIF_TEST + _SECRET + _COMPRESSED)
UNCOMPRESSED = base58.encode(_WIF_TEST + _SECRET)

# -- descriptors --


@pytest.mark.parametrize(
    ("body", "checksum"),
    [("raw(deadbeef)", "89f8spxm"), ("wpkh(0)", descriptor_checksum("wpkh(0)"))],
)
def test_checksums_are_those_of_bip_380(body: str, checksum: str) -> None:
    assert descriptor_checksum(body) == checksum
    changed = body[:-2] + ("1" if body[-2] != "1" else "2") + ")"
    assert descriptor_checksum(changed) != checksum


def test_origin_and_hardened_steps_are_understood() -> None:
    plain = fee_wallet.descriptor("alice").partition("#")[0]
    key = plain.removeprefix("wpkh(").partition("/")[0]
    told = set()
    for inner in (f"{key}/0/*", f"[d34db33f/84'/1h]{key}/0/*", f"{key}/0'/*", f"{key}/0/*'"):
        body = f"wpkh({inner})"
        wallet = parse_fee_wallet(f"{body}#{descriptor_checksum(body)}")
        assert len(set(wallet.scripts())) == SCRIPTS
        assert not wallet.mainnet
        told.add(tuple(wallet.scripts()))
    assert len(told) == 3  # the origin is a remark, and changes nothing


def test_bip_84s_first_address_is_the_first_script() -> None:
    """BIP 84's test vector: m/84'/0'/0'/0/0 of the well-known twelve words."""
    body = (
        "wpkh(xprv9s21ZrQH143K3GJpoapnV8SFfukcVBSfeCficPSGfubmSFDxo1kuHnLisriDvSnRRuL2Qrg5ggqHKNVpxR8"
        "6QEC8w35uxmGoggxtQTPvfUu/84'/0'/0'/0/*)"
    )
    wallet = parse_fee_wallet(f"{body}#{descriptor_checksum(body)}")
    assert wallet.mainnet
    assert wallet.scripts()[0].hex() == "0014c0cebcd6c3d3ca8c75dc5ec62ebe55330ef910e2"


def test_a_single_key_is_a_wallet_of_one_script() -> None:
    wallet = parse_fee_wallet(with_checksum(f"wpkh({SINGLE})"))
    assert len(wallet.scripts()) == 1
    assert wallet.private_key(0) == _SECRET


def with_checksum(body: str) -> str:
    return f"{body}#{descriptor_checksum(body)}"


PATH = fee_wallet.descriptor("alice").partition("#")[0]


@pytest.mark.parametrize(
    "descriptor",
    [
        "",
        "wpkh()",
        fee_wallet.descriptor("alice").partition("#")[0],
        fee_wallet.descriptor("alice")[:-1] + "z",
        with_checksum("wsh(multi(1,a,b))"),
        with_checksum("wpkh(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)"),
        with_checksum(f"wpkh({UNCOMPRESSED})"),
        fee_wallet.descriptor("alice").replace("wpkh", "pkh"),
        with_checksum(PATH.replace("/*", "/2147483648/*")),
        with_checksum(PATH.replace("/*", f"/{'9' * 5000}/*")),
        PATH.replace("/*", "/\u0663/*") + "#qqqqqqqq",
    ],
)
def test_what_is_no_such_descriptor_is_refused_without_a_word_of_it(descriptor: str) -> None:
    with pytest.raises(MalformedKeyDocument) as caught:
        parse_fee_wallet(descriptor)
    assert "tprv" not in str(caught.value)
    assert "fee_wallet" in str(caught.value)


# -- the vault --


@pytest.fixture
def signer(db: Database) -> Signer:
    with db.transaction() as conn:
        nodes.add_node(conn, "alice", [FOREIGN])
        nodes.add_node(conn, "bob", [FOREIGN])
    return Signer(db, KeyRing(Seal(bytes(range(32))), mainnet=False))


def document(node: str, descriptor: str) -> bytes:
    return json.dumps({"node": node, "fee_wallet": descriptor}).encode()


def test_importing_makes_its_scripts_known_and_no_secret(signer: Signer, db: Database) -> None:
    descriptor = fee_wallet.descriptor("alice")
    for _ in range(2):
        assert signer.import_keys(document("alice", descriptor)) == "fee wallet of node alice"
    with db.transaction() as conn:
        known = fee_wallets.scripts(conn)
        rows = conn.execute("SELECT sealed FROM sealed_secrets").fetchall()
    assert [one.script_pubkey for one in known] == fee_wallet.scripts("alice")
    assert not any(one.scanned for one in known)
    assert all(b"tprv" not in bytes(sealed) for (sealed,) in rows)


def test_a_wallet_serves_one_node_and_a_node_has_one(signer: Signer) -> None:
    signer.import_keys(document("alice", fee_wallet.descriptor("alice")))
    with pytest.raises(ForeignKeyDocument):
        signer.import_keys(document("alice", fee_wallet.descriptor("another")))
    with pytest.raises(ForeignKeyDocument):
        signer.import_keys(document("bob", fee_wallet.descriptor("alice")))
    with pytest.raises(UnknownNode):
        signer.import_keys(document("carol", fee_wallet.descriptor("carol")))


# -- bumps --

WALLET = parse_fee_wallet(fee_wallet.descriptor("alice"))


#: What made a coin of it.
PARENT = HexBytes(
    Transaction(
        2,
        (TxIn(OutPoint.of(Txid(b"\x0b" * 32), 0)),),
        (TxOut(200_000, bytes(WALLET.scripts()[3])),),
        0,
    ).serialize()
)


def bumped(budget_sat: int = 60_000) -> tuple[SimulatedChannel, Draft, BumpCommitment]:
    """Our commitment's child, paid for by one coin."""
    sim = SimulatedChannel("bumped", feerate_per_kw=253)
    sim.funded(OutPoint.of(Txid(b"\x09" * 32), 1))
    made, want = child_of(sim.channel, sim.local_commitment(0), sim.ours.point(0), budget_sat)
    return sim, made, want


def child_of(
    channel: Channel, commitment: LocalCommitment, point: PublicKey, budget_sat: int = 60_000
) -> tuple[Draft, BumpCommitment]:
    """The child of this commitment of ours, made at this point, paid for by one coin."""
    anchor = anchor_of(channel, commitment, point)
    want = BumpCommitment(anchor, commitment, BlockHeight(300), Satoshi(budget_sat))
    item = SweepInput(channel, want, BlockHeight(100), FeeratePerKw(250_000), FLOOR)
    coin = WalletCoin(OutPoint.of(Txid(b"\x0a" * 32), 0), Satoshi(200_000), WALLET.scripts()[3], 3)
    made = draft(
        Group.alone(item, FeeratePerKw(5_000)), FeeWallet((coin,), WALLET.scripts()[4]), FLOOR
    )
    assert isinstance(made, Draft)
    return made, want


def anchor_of(channel: Channel, commitment: LocalCommitment, point: PublicKey) -> Contract:
    """Our anchor, as the law names it."""
    closing = Classified(CloseKind.LOCAL, Side.LOCAL, commitment.number, point, ())
    tx = Transaction.parse(commitment.tx)
    outputs = recognised(channel, closing, tx)
    found = build_contracts(channel, closing, tx, BlockHeight(1), outputs)
    return next(one for one in found if one.kind is ContractKind.ANCHOR)


def request_of(channel: Channel, made: Draft, want: BumpCommitment) -> SigningRequest:
    """What the signer is asked for it."""
    coins = [wallet_input(c.outpoint, c.value_sat, c.script_pubkey, c.index) for c in made.coins]
    inputs = [contract_input(channel, want.contract), *coins]
    return bump_request(channel.node, HexBytes(made.tx.serialize()), inputs, want.commitment)


def sign(
    sim: SimulatedChannel, request: SigningRequest, policy: FeePolicy = DEFAULT_FEE_POLICY
) -> Transaction:
    keys = {sim.channel.channel_point: keys_of(sim)}
    allowed = Allowed({sim.sweep_script}, dict(enumerate(WALLET.scripts())))
    return sign_sweep(keys, WALLET, request, check_request(request), allowed, policy)


def keys_of(sim: SimulatedChannel) -> ChannelKeys:
    ours = sim.ours
    return ChannelKeys(
        funding_key=ours.secret("funding"),
        revocation_base_key=ours.secret("revocation_base"),
        payment_key=ours.secret("payment"),
        delayed_payment_base_key=ours.secret("delayed_payment_base"),
        htlc_base_key=ours.secret("htlc_base"),
        commitment_seed=ours.secret("commitment_seed"),
    )


def reason_of(sim: SimulatedChannel, request: SigningRequest) -> RefusalReason:
    with pytest.raises(SigningRefused) as caught:
        sign(sim, request)
    return caught.value.reason


def test_a_bump_is_signed_and_valid() -> None:
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    signed = sign(sim, request)
    spent = [(one.value_sat, one.script_pubkey) for one in request.inputs]
    assert consensus.verify_transaction(signed.serialize(), spent) is None
    assert signed.txid() == made.tx.txid()
    assert signed.weight() <= made.weight


def with_tx(request: SigningRequest, tx: Transaction) -> SigningRequest:
    return with_fields(request, tx=HexBytes(tx.serialize()))


def with_coin(request: SigningRequest, **changes: object) -> SigningRequest:
    coin: SigningInput = with_fields(request.inputs[1], **changes)
    return with_fields(request, inputs=(request.inputs[0], coin))


def test_a_bump_pays_nobody_else() -> None:
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    elsewhere = replace(made.tx, outputs=(TxOut(made.tx.outputs[0].value, bytes(FOREIGN)),))
    assert reason_of(sim, with_tx(request, elsewhere)) is RefusalReason.FOREIGN_OUTPUT


def test_a_cheap_bump_brings_what_is_left_of_the_anchor_to_the_wallet() -> None:
    sim, made, want = bumped()
    coin = made.coins[0].value_sat
    cheap = replace(made.tx, outputs=(TxOut(coin + 330 - 200, bytes(WALLET.scripts()[4])),))
    signed = sign(sim, with_tx(request_of(sim.channel, made, want), cheap))
    assert signed.txid() == cheap.txid()


def test_a_bump_never_costs_more_than_half_of_what_the_commitment_holds() -> None:
    sim, made, want = bumped()
    value = made.tx.outputs[0].value
    burnt = replace(made.tx, outputs=(TxOut(value - 190_000, bytes(WALLET.scripts()[4])),))
    request = with_tx(request_of(sim.channel, made, want), burnt)
    poor = with_fields(want.commitment, to_local_msat=100_000_000)
    assert reason_of(sim, with_fields(request, commitment=poor)) is RefusalReason.UNREASONABLE_FEE


def test_a_coin_is_one_of_the_wallet() -> None:
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    assert reason_of(sim, with_coin(request, wallet_index=4)) is RefusalReason.WRONG_SCRIPT
    assert reason_of(sim, with_coin(request, wallet_index=-1)) is RefusalReason.WRONG_SCRIPT
    assert reason_of(sim, with_coin(request, wallet_index=10**9)) is RefusalReason.WRONG_SCRIPT
    both = with_coin(request, channel=sim.channel)
    assert reason_of(sim, both) is RefusalReason.MALFORMED_REQUEST
    # As a contract's its value would count for what fees may take.
    revoked = with_fields(want.contract, kind=ContractKind.REVOKED_HTLC)
    saved = with_fields(
        with_coin(request, contract=revoked), purpose=SigningPurpose.SWEEP, commitment=None
    )
    assert reason_of(sim, saved) is RefusalReason.MALFORMED_REQUEST
    neither = with_coin(request, wallet_index=None)
    assert reason_of(sim, neither) is RefusalReason.MALFORMED_REQUEST


def test_a_bump_spends_the_anchor_of_its_own_commitment() -> None:
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    assert want.commitment.number == 0
    other = msgspec.structs.replace(want.commitment, txid=Txid(b"\x01" * 32))
    assert reason_of(sim, with_fields(request, commitment=other)) is RefusalReason.WRONG_CONTRACT
    assert reason_of(sim, with_fields(request, commitment=None)) is RefusalReason.MALFORMED_REQUEST


def test_a_bump_takes_no_other_contract_along() -> None:
    """All that a bump spends may go to the fee wallet."""
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    elsewhere = OutPoint.of(Txid(b"\x01" * 32), 0)
    anchor, coin = request.inputs
    contract = with_fields(want.contract, outpoint=elsewhere)
    another = with_fields(anchor, outpoint=elsewhere, contract=contract)
    inputs = (anchor, another, coin)
    tx = replace(made.tx, inputs=tuple(TxIn(one.outpoint) for one in inputs))
    both = with_fields(with_tx(request, tx), inputs=inputs)
    assert reason_of(sim, both) is RefusalReason.MALFORMED_REQUEST


def test_a_bump_spends_no_other_anchor_in_the_name_of_its_commitment() -> None:
    """Whoever pays to our anchor's script again and again would have a coin burnt each time."""
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    elsewhere = OutPoint.of(Txid(b"\x01" * 32), 0)
    anchor, coin = request.inputs
    contract = with_fields(want.contract, outpoint=elsewhere)
    anchor = with_fields(anchor, outpoint=elsewhere, contract=contract)
    # As the last input its value needs no proof.
    first = OutPoint.of(Transaction.parse(PARENT).txid(), 0)
    coin = with_fields(coin, outpoint=first)
    tx = replace(made.tx, inputs=tuple(TxIn(one.outpoint) for one in (coin, anchor)))
    lie = with_fields(
        with_tx(request, tx),
        inputs=(coin, anchor),
        parents=(PARENT,),
        commitment=with_fields(want.commitment, txid=elsewhere.txid),
    )
    assert reason_of(sim, lie) is RefusalReason.MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"to_local_msat": 10**12}, RefusalReason.WRONG_COMMITMENT),
        ({"number": 1}, RefusalReason.WRONG_COMMITMENT),
        ({"number": 2**48}, RefusalReason.MALFORMED_REQUEST),
        ({"number": -1}, RefusalReason.MALFORMED_REQUEST),
        ({"remote_signature": Signature(b"\x01" * 64)}, RefusalReason.BAD_REMOTE_SIGNATURE),
    ],
)
def test_a_bump_pays_for_a_commitment_of_ours_that_the_peer_signed(
    changes: dict[str, object], reason: RefusalReason
) -> None:
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    told = with_fields(want.commitment, **changes)
    assert reason_of(sim, with_fields(request, commitment=told)) is reason


@pytest.mark.parametrize("capacity_sat", [-1, 21_000_000 * 10**8 + 1, 2**64])
def test_a_channel_holds_no_more_than_there_can_be(capacity_sat: int) -> None:
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    channel = with_fields(sim.channel, capacity_sat=capacity_sat)
    anchor = with_fields(request.inputs[0], channel=channel)
    told = with_fields(request, inputs=(anchor, request.inputs[1]))
    assert reason_of(sim, told) is RefusalReason.MALFORMED_REQUEST


def test_a_commitment_of_another_seed_is_none_of_ours() -> None:
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    tx = check_request(request)
    keys = replace(keys_of(sim), commitment_seed=Secret(bytes(32)))
    allowed = Allowed({sim.sweep_script}, dict(enumerate(WALLET.scripts())))
    with pytest.raises(SigningRefused) as caught:
        sign_sweep(
            {sim.channel.channel_point: keys}, WALLET, request, tx, allowed, DEFAULT_FEE_POLICY
        )
    assert caught.value.reason is RefusalReason.WRONG_COMMITMENT


def test_coins_alone_are_nothing_to_sweep() -> None:
    sim, made, want = bumped()
    request = request_of(sim.channel, made, want)
    tx = replace(made.tx, inputs=made.tx.inputs[1:])
    alone = with_fields(with_tx(request, tx), inputs=request.inputs[1:])
    assert reason_of(sim, alone) is RefusalReason.MALFORMED_REQUEST
    # Nor at no cost: one coin pays for fewer transactions than several.
    money = sum(coin.value_sat for coin in alone.inputs)
    at_no_cost = replace(tx, outputs=(replace(tx.outputs[0], value=money),))
    sweep = with_fields(with_tx(alone, at_no_cost), purpose=SigningPurpose.SWEEP, commitment=None)
    assert reason_of(sim, sweep) is RefusalReason.MALFORMED_REQUEST


def test_a_wallet_shows_no_key() -> None:
    assert isinstance(WALLET, FeeWalletKeys)
    assert "tprv" not in repr(WALLET)
    assert str(WALLET.private_key(0)) not in repr(WALLET)

"""A thief with the signer's token pays to an HTLC script of his own making, to move our money.

He says that he is the peer of a channel of ours, so he may sign for the peer, and knows the secret
that revokes: the delayed output of "our" HTLC transaction is his to spend at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from msgspec.structs import replace as with_fields

from chain import consensus
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.sighash import segwit_v0
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.bolt3 import points, scripts
from contractcourt.bolt3.commitment import htlc_script, to_local_script
from contractcourt.bolt3.derivation import derive_private_key
from contractcourt.bolt3.htlc import remote_sighash
from contractcourt.bolt3.keys import commitment_keys
from contractcourt.channel import (
    ANCHORS_ZERO_FEE_HTLC,
    STATIC_REMOTEKEY,
    Channel,
    Direction,
    Htlc,
    Side,
)
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningRefused,
    SigningRequest,
    contract_input,
    sweep_request,
    wallet_input,
)
from contractcourt.units import (
    BlockHeight,
    Blocks,
    HexBytes,
    Millisatoshi,
    PaymentHash,
    PublicKey,
    Satoshi,
    Script,
)
from storage import nodes
from storage.database import Database
from storage.seal import Seal
from workers.signer.keyring import KeyRing
from workers.signer.signing import Signer
from workers.simulation import fee_wallet
from workers.simulation.channel import SimulatedChannel
from workers.simulation.keys import Keys

SIM = SimulatedChannel("trapped").funded(OutPoint(bytes(35) + b"\x01"))
THIEF = Keys("thief")
_COIN = 3


@pytest.fixture
def signer(db: Database) -> Signer:
    """With the keys of one channel of alice's, and her fee wallet."""
    with db.transaction() as conn:
        nodes.add_node(conn, "alice", [SIM.sweep_script])
    made = Signer(db, KeyRing(Seal(bytes(range(32))), mainnet=False))
    for document in (
        SIM.key_document(),
        {"node": "alice", "fee_wallet": fee_wallet.descriptor("alice")},
    ):
        made.import_keys(json.dumps(document).encode())
    return made


@dataclass(frozen=True)
class Spent:
    """An output, and the transaction that made it. `peer` signs for the peer of an HTLC."""

    given: SigningInput
    made_by: Transaction
    peer: Keys | None = None

    @property
    def contract(self) -> Contract:
        """What it is of; a coin of the fee wallet is of none."""
        assert self.given.contract is not None
        return self.given.contract

    @property
    def delayed(self) -> bytes:
        """Where an HTLC transaction moves it to."""
        channel, point = self.given.channel, self.contract.per_commitment_point
        assert channel is not None
        assert point is not None
        keys = commitment_keys(channel, Side.LOCAL, point)
        return bytes(p2wsh(to_local_script(channel, keys)))

    def told_as(self, value_sat: int) -> Spent:
        """The same, said to be worth something else."""
        told = Satoshi(value_sat)
        contract = with_fields(self.contract, value_sat=told)
        return replace(self, given=with_fields(self.given, value_sat=told, contract=contract))


def _made(value_sat: int, script: Script) -> tuple[Transaction, OutPoint]:
    tx = Transaction(2, (TxIn(OutPoint(bytes(36))),), (TxOut(value_sat, bytes(script)),))
    return tx, OutPoint.of(tx.txid(), 0)


def stranger(channel_type: str) -> Channel:
    """Our channel, but for the peer, who is the thief."""
    return with_fields(SIM.channel, channel_type=channel_type, remote=THIEF.side(6, 354))


def htlc(channel: Channel, peer: Keys, point: PublicKey, value_sat: int) -> Spent:
    """An HTLC that we offered on our commitment at this point, says who asks."""
    amount, expiry = Millisatoshi(value_sat * 1000), BlockHeight(1)
    told = Htlc(0, Direction.OFFERED, amount, PaymentHash(bytes(32)), expiry)
    script = htlc_script(channel, commitment_keys(channel, Side.LOCAL, point), told)
    tx, outpoint = _made(value_sat, p2wsh(script))
    contract = Contract(
        outpoint=outpoint,
        kind=ContractKind.OFFERED_HTLC,
        value_sat=Satoshi(value_sat),
        script_pubkey=p2wsh(script),
        commitment_owner=Side.LOCAL,
        commitment_number=None,
        per_commitment_point=point,
        csv_delay=Blocks(1 if channel.anchors else 0),
        stage=ContractStage.SWEEPING,
        confirmed_height=BlockHeight(1),
        htlc=told,
    )
    return Spent(contract_input(channel, contract), tx, peer)


def trap(channel_type: str, value_sat: int) -> Spent:
    """The thief's own."""
    return htlc(stranger(channel_type), THIEF, THIEF.point(0), value_sat)


def to_remote(value_sat: int) -> Spent:
    """Ours, on the peer's commitment."""
    script = p2wsh(scripts.to_remote(SIM.channel.local.payment_basepoint))
    tx, outpoint = _made(value_sat, script)
    contract = Contract(
        outpoint=outpoint,
        kind=ContractKind.TO_REMOTE,
        value_sat=Satoshi(value_sat),
        script_pubkey=script,
        commitment_owner=Side.REMOTE,
        commitment_number=0,
        per_commitment_point=None,
        csv_delay=Blocks(1),
        stage=ContractStage.SWEEPING,
        confirmed_height=BlockHeight(1),
    )
    return Spent(contract_input(SIM.channel, contract), tx)


def coin(value_sat: int) -> Spent:
    """One of alice's fee wallet."""
    script = fee_wallet.scripts("alice")[_COIN]
    tx, outpoint = _made(value_sat, script)
    return Spent(wallet_input(outpoint, Satoshi(value_sat), script, _COIN), tx)


def request(spent: Sequence[Spent], *outputs: tuple[int, bytes]) -> SigningRequest:
    """To spend these, with the peer's signature of every HTLC transaction and every parent."""
    tx = Transaction(
        2,
        tuple(TxIn(one.given.outpoint, sequence=_sequence(one)) for one in spent),
        tuple(TxOut(value, script) for value, script in outputs),
        locktime=1,
    )
    inputs = [_signed_by_peer(one, tx, index) for index, one in enumerate(spent)]
    parents = [HexBytes(one.made_by.serialize()) for one in spent[:-1]]
    return sweep_request("alice", HexBytes(tx.serialize()), inputs, parents)


def _sequence(spent: Spent) -> int:
    contract = spent.given.contract
    return 1 if contract is None else contract.csv_delay


def _signed_by_peer(spent: Spent, tx: Transaction, index: int) -> SigningInput:
    given, contract = spent.given, spent.given.contract
    if spent.peer is None or contract is None or contract.htlc is None:
        return given
    point, channel = contract.per_commitment_point, given.owner
    assert point is not None
    script = htlc_script(channel, commitment_keys(channel, Side.LOCAL, point), contract.htlc)
    digest = segwit_v0(tx, index, script, given.value_sat, remote_sighash(channel))
    signature = points.sign(derive_private_key(spent.peer.secret("htlc_base"), point), digest)
    told = with_fields(contract.htlc, remote_signature=signature)
    return with_fields(given, contract=with_fields(contract, htlc=told))


def reason_of(signer: Signer, asked: SigningRequest) -> RefusalReason:
    with pytest.raises(SigningRefused) as caught:
        signer.sign(asked)
    return caught.value.reason


def change() -> bytes:
    """A script of the fee wallet."""
    return bytes(fee_wallet.scripts("alice")[0])


@pytest.mark.parametrize("channel_type", [ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY])
def test_his_htlc_takes_no_coin_of_ours_along(signer: Signer, channel_type: str) -> None:
    """A thousand satoshi of his, and two million of the fee wallet, for a fee of five hundred."""
    his = trap(channel_type, 1_000)
    all_of_it = request([his, coin(2_000_000)], (2_000_500, his.delayed))
    assert reason_of(signer, all_of_it) is RefusalReason.UNREASONABLE_FEE


@pytest.mark.parametrize("channel_type", [ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY])
def test_his_htlc_takes_no_contract_of_ours_along(signer: Signer, channel_type: str) -> None:
    his = trap(channel_type, 1_000)
    all_of_it = request([his, to_remote(2_000_000)], (2_000_500, his.delayed))
    assert reason_of(signer, all_of_it) is RefusalReason.MALFORMED_REQUEST


@pytest.mark.parametrize("channel_type", [ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY])
def test_his_htlc_is_not_said_to_be_worth_what_ours_is(signer: Signer, channel_type: str) -> None:
    """Our signature of the last input is void for its true value, but he revokes without it."""
    his = trap(channel_type, 1_000).told_as(499_000)
    asked = request([coin(500_000), his], (1_000, change()), (499_000, his.delayed))
    assert reason_of(signer, asked) is RefusalReason.MALFORMED_REQUEST


def test_his_htlc_does_not_raise_what_ours_may_pay(signer: Signer) -> None:
    """All of ours to the miners, half of it in the name of an HTLC that goes back to him."""
    his = trap(ANCHORS_ZERO_FEE_HTLC, 150_000)
    burning = request([his, to_remote(300_000)], (150_000, his.delayed))
    assert reason_of(signer, burning) is RefusalReason.MALFORMED_REQUEST


def test_the_fee_wallet_is_not_emptied_into_the_sweep_scripts(signer: Signer) -> None:
    """Nothing would be left that pays for a commitment or for HTLC transactions."""
    for value in (1_000, 500_000):
        his = trap(ANCHORS_ZERO_FEE_HTLC, value)
        beside_his = request(
            [his, coin(500_000)], (value, his.delayed), (499_500, bytes(SIM.sweep_script))
        )
        assert reason_of(signer, beside_his) is RefusalReason.FOREIGN_OUTPUT
    ours = to_remote(1_000)
    for swept, reason in ((1_001, RefusalReason.FOREIGN_OUTPUT), (1_000, None)):
        outputs = (swept, bytes(SIM.sweep_script)), (500_500 - swept, change())
        asked = request([ours, coin(500_000)], *outputs)
        if reason is None:
            assert signer.sign(asked)
        else:
            assert reason_of(signer, asked) is reason


def test_our_htlc_and_a_coin_that_pays_for_it_are_signed(signer: Signer) -> None:
    ours = htlc(SIM.channel, SIM.theirs, SIM.ours.point(0), 50_000)
    asked = request([ours, coin(20_000)], (50_000, ours.delayed), (19_000, change()))
    signed = signer.sign(asked)
    spent = [(one.value_sat, one.script_pubkey) for one in asked.inputs]
    assert consensus.verify_transaction(signed.tx, spent) is None


@pytest.mark.parametrize("turned", [False, True])
def test_a_channel_is_proven_in_each_way_it_is_described(signer: Signer, turned: bool) -> None:
    """With the peer's help one of two HTLCs would be moved to a delayed key of the thief's."""
    his_side = THIEF.side(6, 354)
    local = with_fields(
        SIM.channel.local, delayed_payment_basepoint=his_side.delayed_payment_basepoint
    )
    channels = [with_fields(SIM.channel, local=local), SIM.channel]
    both = [
        htlc(channel, SIM.theirs, SIM.ours.point(0), value_sat)
        for channel, value_sat in zip(channels, (50_000, 40_000), strict=True)
    ]
    if turned:
        both.reverse()
    moved = [(one.given.value_sat, one.delayed) for one in both]
    asked = request([*both, coin(20_000)], *moved, (19_000, change()))
    assert reason_of(signer, asked) is RefusalReason.WRONG_KEY

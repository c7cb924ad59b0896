"""Who holds the signer's token and means ill: every request on a real vault, refused by name.

The rules one by one are in tests/contractcourt/test_signing_*.py; here two nodes have their
channels in one vault, and each request is an honest one with one lie in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest
from msgspec.structs import replace as with_fields

from chain import consensus
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import points
from contractcourt.bolt3.commitment import build_commitment
from contractcourt.channel import Htlc, LocalCommitment, Side
from contractcourt.contract import ContractKind
from contractcourt.signing import (
    RefusalReason,
    SigningPurpose,
    SigningRefused,
    SigningRequest,
    ValueUnproved,
)
from contractcourt.units import (
    FeeratePerKw,
    HexBytes,
    Millisatoshi,
    PaymentHash,
    Satoshi,
    Script,
    Secret,
    Signature,
    Txid,
)
from storage import channels, nodes
from storage.database import Database
from storage.seal import Seal
from tests.contractcourt.hostile import (
    FOREIGN,
    allowed_by,
    changed,
    set_output,
    set_sequence,
    sweep_of,
    with_channel,
    with_input,
)
from tests.workers.ldk_signing import Recording
from tests.workers.test_signer_fee_wallet import bumped, child_of, request_of
from workers.signer.keyring import KeyRing
from workers.signer.signing import Signer
from workers.simulation import fee_wallet

ALICE, MALLORY = Recording("anchors_4_local_close_htlcs"), Recording("static_5_remote_close_htlcs")
TO_LOCAL = sweep_of("anchors_4_local_close_htlcs", ContractKind.TO_LOCAL)
CLAIM = sweep_of("static_5_remote_close_htlcs", ContractKind.RECEIVED_HTLC)
COMMITMENTS = [ALICE.commitment_request(made) for made, _ in ALICE.local_commitments()]


def of_mallory(request: SigningRequest) -> SigningRequest:
    """The request, for a channel that is mallory's."""
    inputs = tuple(
        with_fields(spent, channel=with_fields(spent.owner, node="mallory"))
        for spent in request.inputs
    )
    return with_fields(request, node="mallory", inputs=inputs)


@dataclass(frozen=True)
class Vault:
    """A signer with the keys of both, and how many signatures it made."""

    signer: Signer
    db: Database
    made: list[bytes]

    def refuses(self, request: SigningRequest) -> RefusalReason | type[ValueUnproved]:
        """Why; and nothing was signed, nothing recorded."""
        before = self.recorded()
        with pytest.raises((SigningRefused, ValueUnproved)) as caught:
            self.signer.sign(request)
        assert self.made == []
        assert self.recorded() == before
        if isinstance(caught.value, SigningRefused):
            return caught.value.reason
        return ValueUnproved

    def recorded(self) -> list[tuple[object, ...]]:
        """Every commitment ever signed, every script ever pinned."""
        with self.db.transaction() as conn:
            signed = conn.execute("SELECT * FROM signed_commitments ORDER BY 1").fetchall()
            return signed + conn.execute("SELECT * FROM sealed_secrets ORDER BY 1").fetchall()


@pytest.fixture
def vault(db: Database, monkeypatch: pytest.MonkeyPatch) -> Vault:
    signer = Signer(db, KeyRing(Seal(bytes(range(32))), mainnet=False))
    theirs = with_fields(MALLORY.channel, node="mallory")
    with db.transaction() as conn:
        nodes.add_node(conn, "alice", list(allowed_by(TO_LOCAL)))
        nodes.add_node(conn, "mallory", list(allowed_by(CLAIM)))
        channels.register(conn, ALICE.channel)
        channels.register(conn, theirs)
    for recording in (ALICE, MALLORY):
        signer.import_keys(json.dumps(recording.key_document).encode())
    # Both may: so whatever is refused below is refused for the lie alone.
    assert signer.sign(TO_LOCAL)
    assert signer.sign(of_mallory(CLAIM))
    made: list[bytes] = []
    sign = points.sign

    def counted(secret: Secret, digest: bytes) -> Signature:
        made.append(digest)
        return sign(secret, digest)

    monkeypatch.setattr(points, "sign", counted)
    return Vault(signer, db, made)


def together(*requests: SigningRequest) -> SigningRequest:
    """One aggregated request with the inputs and outputs of all, for the first one's node."""
    txs = [Transaction.parse(request.tx) for request in requests]
    tx = replace(
        txs[0],
        inputs=tuple(item for tx in txs for item in tx.inputs),
        outputs=tuple(item for tx in txs for item in tx.outputs),
        locktime=max(tx.locktime for tx in txs),
    )
    inputs = tuple(spent for request in requests for spent in request.inputs)
    return with_fields(requests[0], tx=HexBytes(tx.serialize()), inputs=inputs)


def all_to_fees(request: SigningRequest) -> SigningRequest:
    return changed(request, set_output(0, value=1))


def moved(request: SigningRequest, outpoint: OutPoint) -> SigningRequest:
    """The same contract said to be at another outpoint, in every place that names it."""
    spent = with_input(request, outpoint=outpoint)
    return changed(
        spent, lambda tx: replace(tx, inputs=(replace(tx.inputs[0], outpoint=outpoint),))
    )


SWEEPS: dict[str, tuple[SigningRequest, RefusalReason]] = {
    "a script of the thief's": (
        changed(TO_LOCAL, set_output(0, script_pubkey=bytes(FOREIGN))),
        RefusalReason.FOREIGN_OUTPUT,
    ),
    "the script of the other node": (
        changed(TO_LOCAL, set_output(0, script_pubkey=bytes(next(iter(allowed_by(CLAIM)))))),
        RefusalReason.FOREIGN_OUTPUT,
    ),
    "another channel's output under this channel's name": (
        with_fields(
            CLAIM,
            node="alice",
            inputs=(with_fields(CLAIM.inputs[0], channel=ALICE.channel),),
        ),
        RefusalReason.WRONG_SCRIPT,
    ),
    "another node's channel in one aggregate": (
        together(TO_LOCAL, of_mallory(CLAIM)),
        RefusalReason.WRONG_NODE,
    ),
    "another node's channel said to be this node's": (
        together(TO_LOCAL, CLAIM),
        RefusalReason.WRONG_NODE,
    ),
    "this node's channel asked for by another": (of_mallory(TO_LOCAL), RefusalReason.WRONG_NODE),
    "all of it for the miners": (all_to_fees(TO_LOCAL), RefusalReason.UNREASONABLE_FEE),
    "more than there is": (
        changed(TO_LOCAL, set_output(0, value=21_000_000 * 100_000_000)),
        RefusalReason.UNREASONABLE_FEE,
    ),
    "an input worth less than nothing": (
        with_input(TO_LOCAL, value_sat=Satoshi(-1)),
        RefusalReason.MALFORMED_REQUEST,
    ),
    "an input worth more than can ever be": (
        with_input(TO_LOCAL, value_sat=Satoshi(2**63)),
        RefusalReason.MALFORMED_REQUEST,
    ),
    "one input twice": (together(TO_LOCAL, TO_LOCAL), RefusalReason.MALFORMED_REQUEST),
    "an input that the transaction lacks": (
        with_fields(TO_LOCAL, inputs=TO_LOCAL.inputs * 2),
        RefusalReason.MALFORMED_REQUEST,
    ),
    "no inputs": (with_fields(TO_LOCAL, inputs=()), RefusalReason.MALFORMED_REQUEST),
    "a delay not waited for": (
        changed(TO_LOCAL, set_sequence(0xFFFFFFFF)),
        RefusalReason.WRONG_TIMELOCK,
    ),
    "a locktime that is a time": (
        changed(TO_LOCAL, lambda tx: replace(tx, locktime=2**32 - 1)),
        RefusalReason.WRONG_TIMELOCK,
    ),
    "a peer that announced a shorter delay": (
        with_channel(
            changed(TO_LOCAL, set_sequence(1)),
            remote=with_fields(ALICE.channel.remote, to_self_delay=1),
        ),
        RefusalReason.WRONG_SCRIPT,
    ),
    "the funding output as a sweep": (
        with_fields(COMMITMENTS[-1], purpose=SigningPurpose.SWEEP),
        RefusalReason.WRONG_CONTRACT,
    ),
    "a bump that names no commitment": (
        with_fields(TO_LOCAL, purpose=SigningPurpose.BUMP),
        RefusalReason.MALFORMED_REQUEST,
    ),
    "a channel with other keys of ours": (
        with_channel(TO_LOCAL, local=MALLORY.channel.local),
        RefusalReason.WRONG_KEY,
    ),
}
_OTHER = Secret(b"\x07" * 32)
_HASH = PaymentHash(sha256(_OTHER).digest())
CLAIMS: dict[str, tuple[Callable[[SigningRequest], SigningRequest], RefusalReason]] = {
    "no preimage": (lambda r: with_input(r, preimage=None), RefusalReason.WRONG_SECRET),
    "a preimage of something else": (
        lambda r: with_input(r, preimage=_OTHER),
        RefusalReason.WRONG_SECRET,
    ),
    "an HTLC of another hash": (
        lambda r: with_input(r, preimage=_OTHER, htlc=with_fields(htlc_of(r), payment_hash=_HASH)),
        RefusalReason.WRONG_SCRIPT,
    ),
}


def htlc_of(request: SigningRequest) -> Htlc:
    contract = request.inputs[0].contract
    assert contract is not None
    assert contract.htlc is not None
    return contract.htlc


@pytest.mark.parametrize("lie", SWEEPS)
def test_a_sweep_with_a_lie_in_it(vault: Vault, lie: str) -> None:
    request, reason = SWEEPS[lie]
    assert vault.refuses(request) is reason


@pytest.mark.parametrize("lie", CLAIMS)
def test_a_claim_with_a_lie_in_it(vault: Vault, lie: str) -> None:
    spoil, reason = CLAIMS[lie]
    assert vault.refuses(spoil(of_mallory(CLAIM))) is reason


def test_a_contract_at_another_outpoint_gives_a_signature_for_nothing(vault: Vault) -> None:
    """Which outputs there are the signer cannot know: it signs for the script and value told."""
    elsewhere = moved(TO_LOCAL, OutPoint.of(Txid(b"\x05" * 32), 0))
    signed = Transaction.parse(vault.signer.sign(elsewhere).tx)
    assert {Script(output.script_pubkey) for output in signed.outputs} == allowed_by(TO_LOCAL)


# -- values --

BOTH = together(
    *(sweep_of("anchors_4_local_close_htlcs", ContractKind.TO_LOCAL, number) for number in (1, 2))
)
PARENTS = tuple(ALICE.parent(spent.outpoint.txid) for spent in BOTH.inputs)


def burning() -> SigningRequest:
    """Two outputs in one transaction that pays the node half of the larger one alone."""
    most = max(spent.value_sat for spent in BOTH.inputs)
    paying = changed(BOTH, lambda tx: replace(tx, outputs=tx.outputs[:1]))
    return changed(paying, set_output(0, value=most // 2 + 2))


def telling(request: SigningRequest, index: int, value_sat: int) -> SigningRequest:
    """The same with another value for one input."""
    inputs = list(request.inputs)
    contract = inputs[index].contract
    assert contract is not None
    told = Satoshi(value_sat)
    contract = with_fields(contract, value_sat=told)
    inputs[index] = with_fields(inputs[index], value_sat=told, contract=contract)
    return with_fields(request, inputs=tuple(inputs))


def test_one_sweep_in_two_requests_each_with_a_lie_about_the_other_input(vault: Vault) -> None:
    """Each would give a good signature of one input, for a fee of nearly all."""
    burnt = burning()
    first, last = telling(burnt, 0, 10_000), telling(burnt, 1, 1)
    for parents in ((), PARENTS[:1], PARENTS[1:]):
        unproved = with_fields(burnt, parents=parents)
        truth = RefusalReason.UNREASONABLE_FEE if parents == PARENTS[:1] else ValueUnproved
        assert vault.refuses(unproved) is truth
    for lie in (first, last):
        assert vault.refuses(lie) is ValueUnproved
        assert vault.refuses(with_fields(lie, parents=PARENTS)) is RefusalReason.WRONG_VALUE
    assert vault.refuses(with_fields(burnt, parents=PARENTS)) is RefusalReason.UNREASONABLE_FEE
    # Without proof is the last one, in every request: what is told of it has to be signed by it.
    assert vault.refuses(with_fields(first, parents=PARENTS[1:])) is ValueUnproved
    void = vault.signer.sign(with_fields(last, parents=PARENTS[:1]))
    true = [(spent.value_sat, spent.script_pubkey) for spent in burnt.inputs]
    assert consensus.verify_transaction(void.tx, true) is not None


def test_two_outputs_are_swept_together_by_what_made_them(vault: Vault) -> None:
    both = with_fields(BOTH, parents=PARENTS)
    signed = vault.signer.sign(both)
    spent = [(one.value_sat, one.script_pubkey) for one in both.inputs]
    assert consensus.verify_transaction(signed.tx, spent) is None


BUMPED = bumped()


def test_a_bump_of_a_commitment_that_was_made_up(vault: Vault) -> None:
    """Somebody pays our anchor's script himself, and says that all the world hangs on it."""
    sim, made, want = BUMPED
    vault.signer.import_keys(json.dumps(sim.key_document()).encode())
    document = {"node": "alice", "fee_wallet": fee_wallet.descriptor("alice")}
    vault.signer.import_keys(json.dumps(document).encode())
    number, rich = 1, Millisatoshi(10**12)
    channel = with_fields(sim.channel, capacity_sat=Satoshi(10**9))
    point, feerate = sim.ours.point(number), FeeratePerKw(253)
    built = build_commitment(channel, Side.LOCAL, number, point, feerate, rich, Millisatoshi(0)).tx
    told = LocalCommitment(
        number,
        built.txid(),
        HexBytes(built.serialize()),
        want.commitment.remote_signature,
        feerate,
        rich,
        Millisatoshi(0),
    )
    child, wish = child_of(channel, told, point)
    lie = request_of(channel, child, wish)
    assert vault.refuses(lie) is RefusalReason.BAD_REMOTE_SIGNATURE
    richer = with_fields(lie, commitment=with_fields(told, to_local_msat=Millisatoshi(2 * rich)))
    assert vault.refuses(richer) is RefusalReason.WRONG_COMMITMENT
    assert vault.signer.sign(request_of(sim.channel, made, want)).txid == made.tx.txid()


# -- commitments --


def test_after_one_commitment_no_other(vault: Vault) -> None:
    """Neither a revoked one nor a newer one; and the very same one again."""
    *revoked, newest = COMMITMENTS
    answer = vault.signer.sign(newest)
    for request in revoked:
        with pytest.raises(SigningRefused) as caught:
            vault.signer.sign(request)
        assert caught.value.reason is RefusalReason.SECOND_COMMITMENT
    assert vault.signer.sign(newest) == answer
    assert [bytes(row[1]) for row in signed_commitments(vault)] == [bytes(answer.txid)]


def signed_commitments(vault: Vault) -> list[tuple[bytes, bytes]]:
    with vault.db.transaction() as conn:
        return conn.execute("SELECT funding_outpoint, txid FROM signed_commitments").fetchall()


COMMITMENT_LIES: dict[str, tuple[SigningRequest, RefusalReason]] = {
    "another locktime": (
        changed(COMMITMENTS[-1], lambda tx: replace(tx, locktime=tx.locktime ^ 1)),
        RefusalReason.WRONG_COMMITMENT,
    ),
    "a larger share for us": (
        changed(COMMITMENTS[-1], set_output(-1, value=1)),
        RefusalReason.WRONG_COMMITMENT,
    ),
    "an output of the thief's": (
        changed(COMMITMENTS[-1], set_output(-1, script_pubkey=bytes(FOREIGN))),
        RefusalReason.WRONG_COMMITMENT,
    ),
    "the numbers of another state": (
        with_fields(COMMITMENTS[-1], commitment=COMMITMENTS[0].commitment),
        RefusalReason.WRONG_COMMITMENT,
    ),
    "no commitment": (
        with_fields(COMMITMENTS[-1], commitment=None),
        RefusalReason.MALFORMED_REQUEST,
    ),
    "a sweep as a commitment": (
        with_fields(TO_LOCAL, purpose=SigningPurpose.COMMITMENT),
        RefusalReason.MALFORMED_REQUEST,
    ),
    "for another node": (of_mallory(COMMITMENTS[-1]), RefusalReason.WRONG_NODE),
}


@pytest.mark.parametrize("lie", COMMITMENT_LIES)
def test_a_commitment_with_a_lie_in_it(vault: Vault, lie: str) -> None:
    request, reason = COMMITMENT_LIES[lie]
    assert vault.refuses(request) is reason
    assert signed_commitments(vault) == []

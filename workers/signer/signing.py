"""The whole way of a signature: judge, derive, sign, prove the result, record, answer.

Every step raises before anything is given away. A commitment is recorded in the vault, in a
committed transaction, before its signature leaves this process (promise P3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain import consensus
from contractcourt.bitcoin.sighash import segwit_v0
from contractcourt.bitcoin.transaction import Transaction, TxIn
from contractcourt.bolt3 import points, witness
from contractcourt.channel import Channel, LocalCommitment
from contractcourt.claims import witness_of
from contractcourt.signing import (
    PointAnswer,
    PointRequest,
    RefusalReason,
    SignedTransaction,
    SigningInput,
    SigningPurpose,
    SigningRefused,
    SigningRequest,
)
from contractcourt.signing_policy import (
    DEFAULT_FEE_POLICY,
    FeePolicy,
    check_commitment,
    check_feerate,
    check_is_commitment,
    check_request,
    check_sweep,
    is_number,
)
from contractcourt.units import HexBytes, PublicKey, Script, Secret
from storage import vault
from storage.database import Database
from workers.signer.channel_keys import ChannelKeys
from workers.signer.documents import parse_key_document
from workers.signer.keyring import Conn, KeyRing


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs what the law allows, with keys that never leave it."""

    database: Database
    keyring: KeyRing
    policy: FeePolicy = DEFAULT_FEE_POLICY

    def import_keys(self, raw: bytes) -> str:
        """Keep the keys of a document (`documents`). Returns what was imported, in words.

        Raises:
            MalformedKeyDocument, ForeignKeyDocument.
        """
        document = parse_key_document(raw, mainnet=self.keyring.mainnet)
        with self.database.transaction() as conn:
            return self.keyring.store(conn, document)

    def local_point(self, request: PointRequest) -> PointAnswer:
        """Our per-commitment point.

        Raises:
            SigningRefused, KeysMissing.
        """
        if not is_number(request.number):
            raise SigningRefused(RefusalReason.MALFORMED_REQUEST, "number is not of 48 bits")
        with self.database.transaction() as conn:
            candidates = self.keyring.channel_keys(conn, request.channel)
            if request.commitment is not None and len(candidates) > 1:
                tx = Transaction.parse(request.commitment.tx)
                candidates = self._settled(
                    conn, request.channel, candidates, request.commitment, tx
                )
        return PointAnswer(candidates[0].per_commitment_point(request.number))

    def sign(self, request: SigningRequest) -> SignedTransaction:
        """The request's transaction with every witness.

        Raises:
            SigningRefused, KeysMissing, UnknownNode.
            LawError: a point or a transaction of the request is malformed.
        """
        tx = check_request(request)
        with self.database.transaction() as conn:
            match request.purpose:
                case SigningPurpose.COMMITMENT:
                    signed = self._commitment(conn, request, tx)
                case SigningPurpose.SWEEP:
                    signed = self._sweep(conn, request, tx)
        return SignedTransaction(HexBytes(signed.serialize()), signed.txid())

    def _commitment(self, conn: Conn, request: SigningRequest, tx: Transaction) -> Transaction:
        channel, commitment = request.channel, request.commitment
        candidates = self.keyring.channel_keys(conn, channel)
        if commitment is not None and len(candidates) > 1:
            candidates = self._settled(conn, channel, candidates, commitment, tx)
        keys = candidates[0]
        commitment, script = check_commitment(request, tx, keys.per_commitment_point)
        local, remote = channel.local.funding_pubkey, channel.remote.funding_pubkey
        ours = _signature(keys.funding_key, local, tx, 0, request.inputs[0], script)
        signed = _with_witnesses(
            tx,
            [
                witness.funding(
                    (local, ours), (remote, witness.encoded(commitment.remote_signature)), script
                )
            ],
        )
        _prove(signed, request.inputs)
        first = vault.record_signed_commitment(conn, channel.funding_outpoint, signed.txid())
        if first != signed.txid():
            raise SigningRefused(
                RefusalReason.SECOND_COMMITMENT,
                f"commitment {first} was signed for {channel.funding_outpoint} before; "
                "no other one ever will be",
            )
        return signed

    def _sweep(self, conn: Conn, request: SigningRequest, tx: Transaction) -> Transaction:
        channel = request.channel
        keys = self.keyring.channel_keys(conn, channel)[0]
        allowed = self.keyring.sweep_scripts(conn, channel.node)
        claims = check_sweep(request, tx, allowed, self.policy)
        witnesses = []
        for index, (claim, spent) in enumerate(zip(claims, request.inputs, strict=True)):
            point = spent.contract.per_commitment_point if spent.contract else None
            secret = keys.private_key(claim.key, point, spent.per_commitment_secret)
            ours = _signature(secret, claim.public_key, tx, index, spent, claim.script_code)
            witnesses.append(witness_of(channel, claim, spent, ours))
        signed = _with_witnesses(tx, witnesses)
        check_feerate(request.inputs, signed, self.policy)
        _prove(signed, request.inputs)
        return signed

    def _settled(
        self,
        conn: Conn,
        channel: Channel,
        candidates: Sequence[ChannelKeys],
        commitment: LocalCommitment,
        tx: Transaction,
    ) -> tuple[ChannelKeys, ...]:
        """The candidates that `commitment` was made with; a single one is remembered."""
        fitting = tuple(keys for keys in candidates if _made(channel, keys, commitment, tx))
        if len(fitting) == 1:
            self.keyring.settle_seed(conn, channel, fitting[0])
        return fitting or tuple(candidates)


def _made(
    channel: Channel, keys: ChannelKeys, commitment: LocalCommitment, tx: Transaction
) -> bool:
    try:
        point = keys.per_commitment_point(commitment.number)
        check_is_commitment(channel, commitment, tx, point)
    except SigningRefused:
        return False
    return True


def _signature(
    secret: Secret,
    expected: PublicKey,
    tx: Transaction,
    index: int,
    spent: SigningInput,
    script_code: Script,
) -> bytes:
    """Our SIGHASH_ALL signature of one input, encoded, and verified under the expected key."""
    digest = segwit_v0(tx, index, script_code, spent.value_sat, witness.SIGHASH_ALL)
    signature = points.sign(secret, digest)
    if not points.verify(expected, digest, signature):
        raise SigningRefused(
            RefusalReason.WRONG_KEY, f"our signature of input {index} does not verify: wrong key"
        )
    return witness.encoded(signature)


def _with_witnesses(tx: Transaction, witnesses: Sequence[witness.Witness]) -> Transaction:
    inputs = tuple(
        TxIn(i.outpoint, i.script_sig, i.sequence, w)
        for i, w in zip(tx.inputs, witnesses, strict=True)
    )
    return Transaction(tx.version, inputs, tx.outputs, tx.locktime)


def _prove(signed: Transaction, inputs: Sequence[SigningInput]) -> None:
    """Have the script engine run every input, where one is installed (promise P9)."""
    if not consensus.available():
        return
    spent = [(i.value_sat, i.script_pubkey) for i in inputs]
    reason = consensus.verify_transaction(signed.serialize(), spent)
    if reason is not None:
        raise SigningRefused(
            RefusalReason.INVALID_TRANSACTION, f"the script engine rejects it: {reason}"
        )

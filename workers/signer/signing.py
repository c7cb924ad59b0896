"""The whole way of a signature: judge, derive, sign, prove the result, record, answer.

Every step raises before anything is given away. A commitment is recorded in the vault, in a
committed transaction, before its signature leaves this process (promise P3).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from chain import consensus
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import Channel, LocalCommitment
from contractcourt.errors import ContractCourtError
from contractcourt.fee_rules import DEFAULT_FEE_POLICY, FeePolicy
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
from contractcourt.signing_policy import check_is_commitment, check_request, is_number
from contractcourt.units import HexBytes
from storage import vault
from storage.database import Connection, Database
from workers.signer.channel_keys import ChannelKeys
from workers.signer.documents import parse_key_document
from workers.signer.keyring import KeyRing
from workers.signer.opened import Opened
from workers.signer.signatures import sign_commitment, sign_sweep


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
            SigningRefused, ValueUnproved, KeysMissing, UnknownNode.
            LawError: a point or a transaction of the request is malformed.
        """
        with self.database.transaction() as conn:
            return self._sign(conn, request, Opened(self.keyring, conn))

    def sign_many(
        self, requests: Sequence[SigningRequest]
    ) -> list[SignedTransaction | ContractCourtError]:
        """Each request's transaction, or what `sign` would raise for it.

        Together as long as none is refused, so that keys are looked for once. What is written
        for a request that is refused must not stay: then each has a transaction of its own.
        """
        if len(requests) > 1:
            with suppress(ContractCourtError), self.database.transaction() as conn:
                opened = Opened(self.keyring, conn)
                opened.read_ahead(requests)
                return [self._sign(conn, request, opened) for request in requests]
        return [self._signed_or_error(request) for request in requests]

    def _signed_or_error(self, request: SigningRequest) -> SignedTransaction | ContractCourtError:
        try:
            return self.sign(request)
        except ContractCourtError as error:
            return error

    def _sign(self, conn: Connection, request: SigningRequest, opened: Opened) -> SignedTransaction:
        tx = check_request(request)
        match request.purpose:
            case SigningPurpose.COMMITMENT:
                signed = self._commitment(conn, request, tx)
            case SigningPurpose.SWEEP | SigningPurpose.BUMP:
                signed = self._sweep(opened, request, tx)
        return SignedTransaction(HexBytes(signed.serialize()), signed.txid())

    def _commitment(
        self, conn: Connection, request: SigningRequest, tx: Transaction
    ) -> Transaction:
        channel, commitment = request.inputs[0].owner, request.commitment
        candidates = self.keyring.channel_keys(conn, channel)
        if commitment is not None and len(candidates) > 1:
            candidates = self._settled(conn, channel, candidates, commitment, tx)
        signed = sign_commitment(candidates[0], request, tx)
        _prove(signed, request.inputs)
        first = vault.record_signed_commitment(conn, channel.funding_outpoint, signed.txid())
        if first != signed.txid():
            raise SigningRefused(
                RefusalReason.SECOND_COMMITMENT,
                f"commitment {first} was signed for {channel.funding_outpoint} before; "
                "no other one ever will be",
            )
        return signed

    def _sweep(self, opened: Opened, request: SigningRequest, tx: Transaction) -> Transaction:
        found = opened.keys_of(request.channels)
        keys = {point: _fitting(candidates, request) for point, candidates in found.items()}
        wallet, allowed = opened.of_node(request.node)
        signed = sign_sweep(keys, wallet, request, tx, allowed, self.policy)
        _prove(signed, request.inputs)
        return signed

    def _settled(
        self,
        conn: Connection,
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


def _fitting(candidates: Sequence[ChannelKeys], request: SigningRequest) -> ChannelKeys:
    """Those that a bump's commitment was made with; a sweep needs no seed, so any will do."""
    commitment = request.commitment
    if request.purpose is not SigningPurpose.BUMP or commitment is None or len(candidates) == 1:
        return candidates[0]
    channel, tx = request.channels[0], Transaction.parse(commitment.tx)
    fitting = (keys for keys in candidates if _made(channel, keys, commitment, tx))
    return next(fitting, candidates[0])


def _made(
    channel: Channel, keys: ChannelKeys, commitment: LocalCommitment, tx: Transaction
) -> bool:
    if not is_number(commitment.number):
        return False
    try:
        point = keys.per_commitment_point(commitment.number)
        check_is_commitment(channel, commitment, tx, point)
    except SigningRefused:
        return False
    return True


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

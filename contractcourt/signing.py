"""What a task asks of the signer, what the signer answers, and why it may refuse.

The signer holds the only secrets, so a request carries everything else: the channel, the
unsigned transaction and, for every input, the output it spends and the contract the law named.
`contractcourt.signing_policy` holds the rules such a request is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Channel, LocalCommitment
from contractcourt.contract import Contract
from contractcourt.errors import ContractCourtError
from contractcourt.units import HexBytes, PublicKey, Satoshi, Script, Secret, Txid

#: The longest body that a signer reads, in bytes: more than one sweep needs that comes with the
#: largest transactions that nodes relay, one for each of its inputs.
MAX_BODY_BYTES = 16 * 1_048_576
#: What every problem's `type` begins with that a signer answers.
PROBLEM_TYPE = "urn:contractcourt:signer:"


class SigningPurpose(StrEnum):
    """What a signature is for; each purpose has its own rules."""

    #: Our own commitment, spending the funding output: once per funding output (promise P3).
    COMMITMENT = "commitment"
    #: Outputs of confirmed commitments, towards the node's own scripts.
    SWEEP = "sweep"
    #: The child of our unconfirmed commitment, paid for by the node's fee wallet.
    BUMP = "bump"


class RefusalReason(StrEnum):
    """Why the signer will not sign. Stable names: they travel in the refusal's `type`."""

    #: The request contradicts itself: inputs that do not match, a witness, a missing part.
    MALFORMED_REQUEST = "malformed-request"
    #: The law has no rules for this channel type, so nothing of it is signed.
    UNSUPPORTED_CHANNEL_TYPE = "unsupported-channel-type"
    #: Our derived key is not the one this channel was registered with.
    WRONG_KEY = "wrong-key"
    #: These keys were first used for a channel of another node.
    WRONG_NODE = "wrong-node"
    #: The transaction is not the commitment that the request's own numbers describe.
    WRONG_COMMITMENT = "wrong-commitment"
    #: The peer's signature does not verify.
    BAD_REMOTE_SIGNATURE = "bad-remote-signature"
    #: Another commitment was signed for this funding output before (promise P3).
    SECOND_COMMITMENT = "second-commitment"
    #: The contract is not of a kind that may be spent so.
    WRONG_CONTRACT = "wrong-contract"
    #: The script rebuilt from our keys is not the one the spent output pays to.
    WRONG_SCRIPT = "wrong-script"
    #: nSequence or nLockTime do not meet the contract's delay or expiry.
    WRONG_TIMELOCK = "wrong-timelock"
    #: A preimage or a revocation secret is missing or belongs to something else.
    WRONG_SECRET = "wrong-secret"
    #: An output pays a script that the node's owner never allowed.
    FOREIGN_OUTPUT = "foreign-output"
    #: The transaction that made an input says that it has another value or script.
    WRONG_VALUE = "wrong-value"
    #: The outputs are worth more than the inputs, or the fee is beyond policy.
    UNREASONABLE_FEE = "unreasonable-fee"
    #: The script engine rejects the finished transaction.
    INVALID_TRANSACTION = "invalid-transaction"


class SigningRefused(ContractCourtError):
    """The signer refuses, and asking again will not help."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ValueUnproved(ContractCourtError):
    """Nothing shows what an input is worth: a request that brings what made it is signed."""


class SigningInput(msgspec.Struct, frozen=True):
    """One output to spend, in the order of the transaction's inputs.

    Of a channel: `contract` is None only for its funding output, `preimage` claims an HTLC by its
    hash, `per_commitment_secret` is the peer's revealed secret of a revoked commitment. Of the
    node's fee wallet: `wallet_index` is the coin's place in its descriptor, and nothing else is
    given.
    """

    outpoint: OutPoint
    value_sat: Satoshi
    script_pubkey: Script
    channel: Channel | None = None
    contract: Contract | None = None
    preimage: Secret | None = None
    per_commitment_secret: Secret | None = None
    wallet_index: int | None = None

    @property
    def owner(self) -> Channel:
        """The channel whose output it is. Raises SigningRefused for a coin."""
        if self.channel is None:
            raise SigningRefused(
                RefusalReason.MALFORMED_REQUEST, f"the input {self.outpoint} names no channel"
            )
        return self.channel


class SigningRequest(msgspec.Struct, frozen=True):
    """One transaction of one node to sign. `tx` is unsigned: it has no witness.

    `commitment` is what is to be signed, or, of a bump, what the child pays for. `parents` are the
    transactions that made the inputs, without witness, each once; what each has to show is in
    `contractcourt.proved_values`.
    """

    node: str
    purpose: SigningPurpose
    tx: HexBytes
    inputs: tuple[SigningInput, ...]
    commitment: LocalCommitment | None = None
    parents: tuple[HexBytes, ...] = ()

    @property
    def channels(self) -> list[Channel]:
        """Whose outputs are spent, one for each input that is not a coin."""
        return [spent.channel for spent in self.inputs if spent.channel is not None]


class SignedTransaction(msgspec.Struct, frozen=True):
    """The signer's answer: the transaction with every witness, ready to publish."""

    tx: HexBytes
    txid: Txid


class SigningProblem(msgspec.Struct, frozen=True):
    """Why a request got no signature, in the words of problem details (RFC 9457)."""

    type: str
    status: int
    detail: str


class SigningAnswer(msgspec.Struct, frozen=True):
    """The answer to one request of many: either of the two."""

    signed: SignedTransaction | None = None
    problem: SigningProblem | None = None


class PointRequest(msgspec.Struct, frozen=True):
    """Asks for our per-commitment point of commitment `number` (counted up from 0).

    `commitment` is any commitment of ours, when one is known: by it the signer tells which of
    lnd's ways of making the seed this channel was opened with. Other channels do not need it.
    """

    channel: Channel
    number: int
    commitment: LocalCommitment | None = None


class PointAnswer(msgspec.Struct, frozen=True):
    """Our per-commitment point of the number asked for."""

    per_commitment_point: PublicKey


def commitment_request(
    channel: Channel, commitment: LocalCommitment, funding_script: Script
) -> SigningRequest:
    """The request for our own commitment. `funding_script` is the funding output's P2WSH."""
    funding = SigningInput(channel.funding_outpoint, channel.capacity_sat, funding_script, channel)
    return SigningRequest(
        channel.node, SigningPurpose.COMMITMENT, commitment.tx, (funding,), commitment
    )


def sweep_request(
    node: str, tx: HexBytes, inputs: Sequence[SigningInput], parents: Sequence[HexBytes] = ()
) -> SigningRequest:
    """The request for a transaction that takes contracts of this node's channels."""
    return SigningRequest(node, SigningPurpose.SWEEP, tx, tuple(inputs), parents=tuple(parents))


def bump_request(
    node: str, tx: HexBytes, inputs: Sequence[SigningInput], commitment: LocalCommitment
) -> SigningRequest:
    """The request for the child of our commitment: its anchor, and coins that pay for both."""
    return SigningRequest(node, SigningPurpose.BUMP, tx, tuple(inputs), commitment)


def contract_input(
    channel: Channel,
    contract: Contract,
    preimage: Secret | None = None,
    per_commitment_secret: Secret | None = None,
) -> SigningInput:
    """A contract's output as an input to sign."""
    return SigningInput(
        outpoint=contract.outpoint,
        value_sat=contract.value_sat,
        script_pubkey=contract.script_pubkey,
        channel=channel,
        contract=contract,
        preimage=preimage,
        per_commitment_secret=per_commitment_secret,
    )


def wallet_input(
    outpoint: OutPoint, value_sat: Satoshi, script_pubkey: Script, index: int
) -> SigningInput:
    """A coin of the fee wallet as an input to sign."""
    return SigningInput(outpoint, value_sat, script_pubkey, wallet_index=index)

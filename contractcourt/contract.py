"""One contract: an output of the confirmed commitment that somebody may win.

A contract is judged by what the chain says of its outpoint, never by memory of our own
attempts (users_ask L1): a buried spend by anybody resolves it.
"""

from __future__ import annotations

from enum import StrEnum

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Htlc, Side
from contractcourt.record import Record
from contractcourt.units import BlockHash, BlockHeight, Blocks, PublicKey, Satoshi, Script, Txid


class ContractKind(StrEnum):
    """What an output is, in BOLT 3's words, and whose way of spending it is ours."""

    #: Our delayed main output on our own commitment.
    TO_LOCAL = "to_local"
    #: Our main output on the peer's commitment (P2WPKH, or P2WSH with CSV 1 under anchors).
    TO_REMOTE = "to_remote"
    #: Our anchor (330 sat) on any commitment.
    ANCHOR = "anchor"
    #: An HTLC that our node offered.
    OFFERED_HTLC = "offered_htlc"
    #: An HTLC that our node received.
    RECEIVED_HTLC = "received_htlc"
    #: The delayed output of our own HTLC-timeout or HTLC-success transaction.
    SECOND_LEVEL = "second_level"
    #: The cheater's delayed main output on a revoked commitment.
    REVOKED_TO_LOCAL = "revoked_to_local"
    #: Outputs of a revoked commitment that are neither main outputs nor anchors.
    REVOKED_HTLC = "revoked_htlc"
    #: The cheater's HTLC output moved to the second level, where it can be punished too.
    REVOKED_SECOND_LEVEL = "revoked_second_level"
    #: The spend of a funding output that the law cannot explain.
    UNKNOWN_SPEND = "unknown_spend"


#: Outputs of a commitment whose script is that of an HTLC.
HTLC_OUTPUTS = (
    ContractKind.OFFERED_HTLC,
    ContractKind.RECEIVED_HTLC,
    ContractKind.REVOKED_HTLC,
)


class ContractStage(StrEnum):
    """How far a contract is."""

    #: Not yet spendable: a CSV delay or an expiry runs.
    IMMATURE = "immature"
    #: Spendable; a sweep has been asked for.
    SWEEPING = "sweeping"
    #: The law has no resolver for it (yet); it holds the case open.
    UNRESOLVED = "unresolved"
    #: A spend is on chain and not yet buried.
    SPENT = "spent"
    #: A spend is buried: nothing is left to win or lose here.
    RESOLVED = "resolved"


class Spend(Record, frozen=True):
    """Who spent an outpoint, and in which block."""

    txid: Txid
    height: BlockHeight
    block_hash: BlockHash


class Contract(Record, frozen=True):
    """One output of the confirmed commitment, with all that the signer needs to spend it.

    `commitment_owner` says whose commitment it stands on, `per_commitment_point` is that
    commitment's. `csv_delay` (blocks, relative to the confirmation of the commitment) is the
    nSequence of its spend, 0 when none is needed.
    """

    outpoint: OutPoint
    kind: ContractKind
    value_sat: Satoshi
    script_pubkey: Script
    commitment_owner: Side
    commitment_number: int | None
    per_commitment_point: PublicKey | None
    csv_delay: Blocks
    stage: ContractStage
    confirmed_height: BlockHeight
    htlc: Htlc | None = None
    spend: Spend | None = None
    #: Our side won it (its spend pays our sweep script); None while unknown.
    ours: bool | None = None
    #: The sweeper won't pay for its spend, so only somebody else's would end it otherwise.
    given_up: bool = False

    @property
    def can_be_rebuilt(self) -> bool:
        """Its script follows from what is known: an HTLC's only with the HTLC."""
        return self.kind is not ContractKind.REVOKED_HTLC or self.htlc is not None

"""Everything the law can want. One union of values; carrying one out twice does no harm.

Watches, wake-ups and marks are rows written in the commit that stores the case. Publishing,
sweeping, notifying and asking the signer go through the outbox after that commit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Htlc, LocalCommitment
from contractcourt.contract import Contract
from contractcourt.units import (
    BlockHeight,
    HexBytes,
    PaymentHash,
    Satoshi,
    Script,
    Secret,
    Txid,
)


class CloseKind(StrEnum):
    """Which transaction spent the funding output (BOLT 5, `bolt5_rules.md` section 3)."""

    COOPERATIVE = "cooperative"
    LOCAL = "local"
    REMOTE = "remote"
    REMOTE_PENDING = "remote_pending"
    BREACH = "breach"
    #: The peer is ahead of all we know: we lost data, only our main output can be claimed.
    DATA_LOSS = "data_loss"
    #: One of our own commitments, but not one we still hold: an old or a lost state of ours.
    LOCAL_UNKNOWN = "local_unknown"
    UNKNOWN_SPEND = "unknown_spend"


class PublishCommitment(msgspec.Struct, frozen=True, tag="publish_commitment"):
    """Sign our commitment and publish it until some commitment confirms."""

    funding_outpoint: OutPoint
    commitment: LocalCommitment


class SweepOutput(msgspec.Struct, frozen=True, tag="sweep_output"):
    """Spend this contract's output to `sweep_script`; it can be mined in the next block.

    `preimage` claims an HTLC by its hash; `per_commitment_secret` is the peer's revealed secret,
    by which the output of a revoked commitment is taken. An HTLC on our own commitment goes by
    its second-level transaction (H3). `deadline`: it should be mined by this height, None when
    nothing is lost by waiting. `budget_sat`: no fee for it passes this.
    """

    contract: Contract
    sweep_script: Script
    preimage: Secret | None = None
    per_commitment_secret: Secret | None = None
    deadline: BlockHeight | None = None
    budget_sat: Satoshi = Satoshi(0)


class BumpCommitment(msgspec.Struct, frozen=True, tag="bump_commitment"):
    """Pay for our unconfirmed commitment by a child that spends its anchor (F5, L3).

    `contract` is the anchor of `commitment`. `deadline` and `budget_sat` as for `SweepOutput`.
    """

    contract: Contract
    commitment: LocalCommitment
    deadline: BlockHeight | None = None
    budget_sat: Satoshi = Satoshi(0)


class PublishHtlcTransaction(msgspec.Struct, frozen=True, tag="publish_htlc_transaction"):
    """Sign our HTLC-timeout or HTLC-success transaction and publish it as it is (H2).

    `tx` has no witness. `preimage` is there for HTLC-success.
    """

    contract: Contract
    tx: HexBytes
    preimage: Secret | None = None


class RememberRevokedState(msgspec.Struct, frozen=True, tag="remember_revoked_state"):
    """Keep what is needed to punish this revoked commitment: its HTLCs that have outputs."""

    number: int
    htlcs: tuple[Htlc, ...]


class RecallRevokedState(msgspec.Struct, frozen=True, tag="recall_revoked_state"):
    """Give the case what was remembered of a revoked commitment that is now on chain."""

    number: int


class SharePreimage(msgspec.Struct, frozen=True, tag="share_preimage"):
    """Tell every other channel of the node that holds an HTLC with this payment hash."""

    node: str
    payment_hash: PaymentHash
    preimage: Secret


class WatchOutpoint(msgspec.Struct, frozen=True, tag="watch_outpoint"):
    """Tell the case when this outpoint is spent. `from_height`: where it was made, if known."""

    outpoint: OutPoint
    script_pubkey: Script
    from_height: BlockHeight | None = None


class UnwatchOutpoint(msgspec.Struct, frozen=True, tag="unwatch_outpoint"):
    """This outpoint can no longer matter: its own transaction left the chain."""

    outpoint: OutPoint


#: Reasons to be woken after which waiting on loses money. All others are only appointments.
HTLC_DUE = "an HTLC is due"
HTLC_EXPIRES = "a received HTLC expires"
PRESSING = (HTLC_DUE, HTLC_EXPIRES)


class WakeAt(msgspec.Struct, frozen=True, tag="wake_at"):
    """Give the case a `HeightReached` when the chain is at `height`.

    A watcher that has just started may hold it back for a short grace, never past `hard_height`
    (users_ask L13); None when it can't wait at all. `urgent`: an HTLC expires there, so it
    overtakes other work (users_ask C7).
    """

    height: BlockHeight
    reason: str
    value_at_risk_sat: Satoshi = Satoshi(0)
    hard_height: BlockHeight | None = None
    urgent: bool = False


class MarkChannelClosed(msgspec.Struct, frozen=True, tag="mark_channel_closed"):
    """The close is final: store the channel as closed, in the commit of its resolutions."""

    kind: CloseKind
    closing_txid: Txid
    height: BlockHeight
    resolutions: tuple[Contract, ...]


class MarkChannelReopened(msgspec.Struct, frozen=True, tag="mark_channel_reopened"):
    """A reorg took the close back: the channel is not closed and not resolved."""


class MarkFullyResolved(msgspec.Struct, frozen=True, tag="mark_fully_resolved"):
    """Nothing is left to win or lose."""

    height: BlockHeight


class MarkUnresolved(msgspec.Struct, frozen=True, tag="mark_unresolved"):
    """A reorg took back the spend of a contract: the case is open again."""


OWED_UPSTREAM = frozenset({"htlc.fulfilled", "htlc.failed"})


class NotifyNode(msgspec.Struct, frozen=True, tag="notify_node"):
    """Send the node a webhook, at least once and in order for one channel."""

    event_type: str
    data: dict[str, Any]

    @property
    def urgent(self) -> bool:
        """The node owes it to the HTLC's other channel, before that one expires upstream (U1)."""
        return self.event_type in OWED_UPSTREAM


class AskLocalPoint(msgspec.Struct, frozen=True, tag="ask_local_point"):
    """Ask the signer for our per-commitment point of this commitment number."""

    number: int


class RaiseAlarm(msgspec.Struct, frozen=True, tag="raise_alarm"):
    """Tell the operator; `message` says what to do."""

    kind: AlarmKind
    message: str


Effect = (
    PublishCommitment
    | SweepOutput
    | BumpCommitment
    | PublishHtlcTransaction
    | RememberRevokedState
    | RecallRevokedState
    | SharePreimage
    | WatchOutpoint
    | UnwatchOutpoint
    | WakeAt
    | MarkChannelClosed
    | MarkChannelReopened
    | MarkFullyResolved
    | MarkUnresolved
    | NotifyNode
    | AskLocalPoint
    | RaiseAlarm
)

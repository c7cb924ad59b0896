"""What a node's operator may choose: deltas, depths, and what share of a stake fees may take."""

from __future__ import annotations

from typing import Annotated

import msgspec

from contractcourt.units import Blocks, FeeratePerKw

_Delta = Annotated[Blocks, msgspec.Meta(ge=0, le=2_016)]
_Depth = Annotated[Blocks, msgspec.Meta(ge=1, le=2_016)]
_Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node's choices. Deltas and depths in blocks, lnd's values by default.

    Budgets are shares of the value that a fee is to save; no fee ever passes its budget.
    """

    #: Go on chain for a received HTLC with a known preimage this long before its expiry.
    incoming_broadcast_delta: _Delta = Blocks(16)
    #: Go on chain for an offered HTLC this long before its expiry.
    outgoing_broadcast_delta: _Delta = Blocks(0)
    #: An offered HTLC shall be back this long after its expiry: what is left of the upstream
    #: HTLC's life then is the margin (BOLT 2 suggests 34 blocks between the two).
    outgoing_deadline_delta: _Delta = Blocks(18)
    #: The node is told so long before an HTLC takes the channel on chain, or a contract is lost.
    at_risk_blocks: _Delta = Blocks(6)
    #: A contract is resolved when its spend is buried under this many blocks.
    final_depth: _Depth = Blocks(6)
    #: Of what has a deadline, and of what our own commitment holds that has one.
    budget_percent: _Percent = 50
    #: Of the peer's money on a revoked commitment; up to all of it (users_ask L17).
    breach_budget_percent: _Percent = 50
    #: No fee rate beyond this, whatever the budget: 1,000 sat/vB. Nor beyond what the signer signs,
    #: 2,500 sat/vB.
    max_feerate_per_kw: Annotated[FeeratePerKw, msgspec.Meta(ge=253)] = FeeratePerKw(250_000)
    #: What can't pay for its own sweep for so long is given up, with a report.
    give_up_blocks: Annotated[Blocks, msgspec.Meta(ge=144)] = Blocks(4_032)

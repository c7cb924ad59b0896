"""Every kind of alarm there is: one closed set, so that none can be raised without its page.

`docs/how-to/alarms.md` has the cause of each and what to do; a test keeps the two equal.
"""

from __future__ import annotations

from enum import StrEnum


class AlarmKind(StrEnum):
    """A stable name: scripts, dashboards and alert rules choose by it."""

    # -- A close that the court can't take care of by itself --
    BREACH = "breach"
    DATA_LOSS = "data_loss"
    LOCAL_UNKNOWN = "local_unknown"
    UNKNOWN_SPEND = "unknown_spend"
    BREACH_UNPUNISHED = "breach_unpunished"
    HTLC_UNSIGNED = "htlc_unsigned"
    UNKNOWN_OUTPUT = "unknown_output"
    GIVEN_UP = "given_up"

    # -- What a node did or left out --
    UNKNOWN_CHANNEL_TYPE = "unknown_channel_type"
    NO_LOCAL_COMMITMENT = "no_local_commitment"
    UPDATE_AFTER_FORCE_CLOSE = "update_after_force_close"
    SPLICE_WITHOUT_OUTPOINT = "splice_without_outpoint"
    SPLICE_WITH_OTHER_KEYS = "splice_with_other_keys"
    EVENT_REFUSED = "event_refused"

    # -- Transactions that do not get out --
    COMMITMENT_INVALID = "commitment_invalid"
    COMMITMENT_POLICY = "commitment_policy"
    COMMITMENT_UNKNOWN = "commitment_unknown"
    UNKNOWN_REFUSAL = "unknown_refusal"
    NOT_SIGNED = "not_signed"
    QUARANTINED = "quarantined"
    CONTESTED = "contested"
    NOT_WORTH_SWEEPING = "not_worth_sweeping"

    # -- Money for fees --
    FEE_WALLET_SHORT = "fee_wallet_short"
    FEE_WALLET_RESERVE = "fee_wallet_reserve"

    # -- A part of the court --
    SIGNER_AWAY = "signer_away"
    NO_LOCAL_POINT = "no_local_point"
    BLOCK_UNAVAILABLE = "block_unavailable"
    LOOK_BACK_BLOCKED = "look_back_blocked"
    FUNDING_NOT_FOUND = "funding_not_found"
    REORG_TOO_DEEP = "reorg_too_deep"
    DEAD_LETTER = "dead_letter"
    ENDPOINT_SILENT = "endpoint_silent"
    LAW_BROKEN = "law_broken"
    DOCKET_PART_MISSING = "docket_part_missing"
    DOCKET_NOT_PROVED = "docket_not_proved"
    DOCKET_STALLED = "docket_stalled"

    # -- What the Bitcoin nodes tell --
    NODE_NOT_FOLLOWED = "node_not_followed"
    NO_NEW_BLOCK = "no_new_block"
    SOURCES_DIFFER = "sources_differ"
    MINORITY_CHAIN = "minority_chain"
    SECOND_SOURCE_AWAY = "second_source_away"

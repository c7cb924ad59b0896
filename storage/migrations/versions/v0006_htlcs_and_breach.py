"""HTLCs and breaches: what must be kept to punish, and the kinds that come with resolving them."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

REVOKED_STATES = """
CREATE TABLE revoked_states (
    channel_id bigint NOT NULL REFERENCES channels (id),
    number bigint NOT NULL CHECK (number >= 0),
    -- 53 bytes for each HTLC that had an output; storage/revoked_states.py has the layout.
    htlcs bytea NOT NULL CHECK (length(htlcs) > 0 AND length(htlcs) % 53 = 0),
    PRIMARY KEY (channel_id, number)
);
"""
KINDS = """
ALTER TABLE docket
    DROP CONSTRAINT docket_kind_check,
    ADD CONSTRAINT docket_kind_check CHECK (kind IN (
        'channel_opened', 'channel_updated', 'preimage_learned', 'force_close_requested',
        'funding_replaced', 'spend_confirmed', 'spend_unconfirmed', 'height_reached',
        'transaction_published', 'local_point_learned', 'revoked_state_recalled'));
ALTER TABLE contracts
    DROP CONSTRAINT contracts_kind_check,
    ADD CONSTRAINT contracts_kind_check CHECK (kind IN (
        'to_local', 'to_remote', 'anchor', 'offered_htlc', 'received_htlc', 'second_level',
        'revoked_to_local', 'revoked_htlc', 'revoked_second_level', 'unknown_spend'));
ALTER TABLE outbox
    DROP CONSTRAINT outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN (
        'publish_commitment', 'publish_htlc_transaction', 'sweep_output', 'notify_node',
        'ask_local_point'));
"""


def upgrade() -> None:
    op.execute(REVOKED_STATES)
    op.execute(KINDS)

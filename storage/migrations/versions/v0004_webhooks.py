"""What the gateway must find again: message ids it answered, and where a preimage belongs."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

RECEIPTS = """
CREATE TABLE webhook_receipts (
    node text NOT NULL REFERENCES nodes (name),
    message_id text NOT NULL CHECK (length(message_id) BETWEEN 1 AND 256),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    channel_id bigint REFERENCES channels (id),
    seq bigint CHECK (seq > 0),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A message id names one message of its node, for ever.
    PRIMARY KEY (node, message_id),
    CHECK (seq IS NULL OR channel_id IS NOT NULL)
);
"""

CHANNEL_HTLCS = """
CREATE TABLE channel_htlcs (
    payment_hash bytea NOT NULL CHECK (length(payment_hash) = 32),
    channel_id bigint NOT NULL REFERENCES channels (id),
    PRIMARY KEY (payment_hash, channel_id)
);
CREATE INDEX channel_htlcs_of_channel ON channel_htlcs (channel_id);
"""


def upgrade() -> None:
    op.execute(RECEIPTS)
    op.execute(CHANNEL_HTLCS)

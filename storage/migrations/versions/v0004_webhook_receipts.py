"""Receipts of the nodes' webhooks: a message id names one message of its node, for ever."""

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
    PRIMARY KEY (node, message_id),
    CHECK ((channel_id IS NULL) = (seq IS NULL))
);
"""


def upgrade() -> None:
    op.execute(RECEIPTS)

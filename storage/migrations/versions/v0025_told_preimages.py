"""What nodes tell of preimages is kept, for the HTLC may be told later than its preimage."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"

TOLD_PREIMAGES = """
CREATE TABLE told_preimages (
    node text NOT NULL REFERENCES nodes (name),
    payment_hash bytea NOT NULL CHECK (length(payment_hash) = 32),
    preimage bytea NOT NULL CHECK (length(preimage) = 32),
    told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (node, payment_hash)
);
CREATE INDEX told_preimages_told ON told_preimages USING brin (told_at);
"""


def upgrade() -> None:
    op.execute(TOLD_PREIMAGES)

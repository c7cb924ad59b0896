"""Since when a lease is led, and who woke up after its epoch was over."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

LEADERSHIP = """
ALTER TABLE leases ADD COLUMN taken_at timestamptz NOT NULL DEFAULT clock_timestamp();

CREATE TABLE fencings (
    lease text NOT NULL REFERENCES leases (name),
    epoch bigint NOT NULL CHECK (epoch > 0),
    holder uuid NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (lease, epoch)
);
"""


def upgrade() -> None:
    op.execute(LEADERSHIP)

"""How far a node's channels have heard of its policy: whoever tells them may be cut off."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"

POLICY_TOLD = """
-- The last channel that heard of it; null: all have. And when that one did.
ALTER TABLE nodes ADD COLUMN policy_told_to bigint, ADD COLUMN policy_told_at timestamptz;
"""


def upgrade() -> None:
    op.execute(POLICY_TOLD)

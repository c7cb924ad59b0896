"""What a node owes to an HTLC upstream overtakes the letters of other channels."""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"

URGENT = """
ALTER TABLE outbox ADD COLUMN urgent boolean NOT NULL DEFAULT false;
CREATE INDEX outbox_urgent_letters ON outbox (endpoint, id) WHERE sent_at IS NULL AND urgent;
"""


def upgrade() -> None:
    op.execute(URGENT)

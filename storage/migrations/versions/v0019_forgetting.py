"""What is long over is found by when it came, for a few bytes for each hundred pages."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"

BY_ARRIVAL = """
CREATE INDEX webhook_receipts_received ON webhook_receipts USING brin (received_at);
"""


def upgrade() -> None:
    op.execute(BY_ARRIVAL)

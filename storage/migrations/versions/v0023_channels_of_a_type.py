"""A node's open channels of one type are found by an index, however many it has of others."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"

OF_A_TYPE = """
DROP INDEX channels_not_closed;
CREATE INDEX channels_open_by_type ON channels (node, channel_type) WHERE closed_id IS NULL;
"""


def upgrade() -> None:
    op.execute(OF_A_TYPE)

"""Who refers to a row that changes its key is found by an index, not by reading every channel.

`channel_resolutions.fully_resolved` is a part of the key that `channels` refers to (promise P2),
and changes once for every channel: Postgres then looks for the channels that still hold on to the
old key.
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

CLOSED_CHANNELS = """
CREATE INDEX channels_closed ON channels (closed_id, fully_resolved) WHERE closed_id IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(CLOSED_CHANNELS)

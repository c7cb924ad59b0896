"""A new watch is looked back for once: its outpoint may have been spent before it was watched."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

LOOK_BACK = """
ALTER TABLE watches ADD COLUMN looked_back boolean NOT NULL DEFAULT false;
-- Only what is still to be looked for: a start with many watches reads no other row.
CREATE INDEX watches_to_look_back ON watches (id) WHERE NOT looked_back AND removed_at IS NULL;
"""


def upgrade() -> None:
    op.execute(LOOK_BACK)

"""In which transaction a wish last changed, so that a round need not look at the others again."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

CHANGES = """
ALTER TABLE sweep_inputs
    ADD COLUMN changed_in xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE sweep_rounds
    -- Of the last round that ended: the step of the chain, and the oldest open transaction then.
    ADD COLUMN looked_step bigint,
    ADD COLUMN looked_from xid8,
    -- The last `asked` that wants everything looked at anew.
    ADD COLUMN anew bigint NOT NULL DEFAULT 0;
"""


def upgrade() -> None:
    op.execute(CHANGES)

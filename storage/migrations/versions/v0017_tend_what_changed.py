"""When a wish last changed: what is out for it is looked at again, and nothing else is."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

SWEEPS = """
ALTER TABLE sweep_inputs ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp();
"""


def upgrade() -> None:
    op.execute(SWEEPS)

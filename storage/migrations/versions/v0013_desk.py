"""What the docket page asks for: deadlines of sweeps by height, closes by their kind."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

SWEEP_INPUTS = """
ALTER TABLE sweep_inputs
    -- By when it should be mined; NULL when nothing is lost by waiting.
    ADD COLUMN deadline integer CHECK (deadline >= 0),
    -- What depends on it.
    ADD COLUMN value_sat bigint CHECK (value_sat >= 0);
UPDATE sweep_inputs
SET deadline = (want::jsonb #>> '{effect,deadline}')::integer,
    value_sat = (want::jsonb #>> '{effect,contract,value_sat}')::bigint
WHERE state IN ('wanted', 'quarantined');
CREATE INDEX sweep_inputs_due ON sweep_inputs (deadline)
    WHERE deadline IS NOT NULL AND state IN ('wanted', 'quarantined');
"""
CLOSES = "CREATE INDEX channel_resolutions_by_kind ON channel_resolutions (close_kind, channel_id)"


def upgrade() -> None:
    op.execute(SWEEP_INPUTS)
    op.execute(CLOSES)

"""A round of sweeping finds what has changed by an index, however much of its node is out."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"

CHANGED = """
CREATE INDEX sweep_inputs_changed ON sweep_inputs (node, changed_in);
CREATE INDEX broadcasts_of_lane ON broadcasts (node, urgent, last_outcome, last_attempt_at)
    WHERE state = 'open';
"""


def upgrade() -> None:
    op.execute(CHANGED)

"""A round of sweeping is held under an id of its own, so that nobody gives back another's."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE sweep_rounds ADD COLUMN claim uuid")

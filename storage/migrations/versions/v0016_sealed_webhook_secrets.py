"""Webhook secrets of nodes are sealed; those of before when whoever has the key migrates."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

SEALED = """
ALTER TABLE node_secrets
    ADD COLUMN sealed bytea,
    ALTER COLUMN secret DROP NOT NULL,
    ADD CONSTRAINT node_secrets_plain_or_sealed CHECK ((secret IS NULL) <> (sealed IS NULL));
"""


def upgrade() -> None:
    op.execute(SEALED)

"""Webhook secrets of nodes are sealed; those of before when whoever has the key migrates.

And a temporary table of a caller stands in no table's place in the functions that run as the owner.
"""

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

DEFINERS = """
DO $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND prosecdef
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', one, current_schema());
    END LOOP;
END $$;
"""


def upgrade() -> None:
    op.execute(SEALED)
    op.execute(DEFINERS)

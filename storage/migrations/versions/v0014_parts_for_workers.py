"""A worker makes room on the docket, whose tables it does not own and may not change."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"

#: All that it can do with it is to make an empty part that is missing. Temporary tables are looked
#: at last: whoever calls it cannot put one of his own in the docket's place.
MAKE_PARTS = """
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION make_docket_part(date) SECURITY DEFINER'
        ' SET search_path = %I, pg_temp', current_schema());
END $$;
REVOKE EXECUTE ON FUNCTION make_docket_part(date) FROM PUBLIC;
"""


def upgrade() -> None:
    op.execute(MAKE_PARTS)

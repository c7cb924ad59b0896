"""When a contract's spend can be mined is said by its case; nobody read the column beside it.

It goes a version later, when no worker writes it any more.
"""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"

NOT_ASKED_FOR = "ALTER TABLE contracts ALTER COLUMN maturity_height SET DEFAULT 0"


def upgrade() -> None:
    op.execute(NOT_ASKED_FOR)

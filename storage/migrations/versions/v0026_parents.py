"""What made the coins of fee wallets: it proves to the signer what they are worth."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"

#: Apart from the coins, for one transaction may make thousands of them.
PARENTS = """
CREATE TABLE fee_wallet_parents (
    txid bytea PRIMARY KEY CHECK (length(txid) = 32),
    -- Without witness: what the txid is the hash of.
    raw_tx bytea NOT NULL CHECK (length(raw_tx) BETWEEN 1 AND 100000)
);
"""


def upgrade() -> None:
    op.execute(PARENTS)

"""What the watcher follows: the chain's blocks and cursor, spends, watches, deadlines, leases."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

LEASES = """
CREATE TABLE leases (
    name text PRIMARY KEY CHECK (name <> ''),
    holder uuid NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 0),
    expires_at timestamptz NOT NULL,
    -- The epoch is part of a key: a block transaction's FOR KEY SHARE then stops a take-over
    -- until it commits, but never a renewal (users_ask C9).
    UNIQUE (name, epoch)
);
"""

BLOCKS = """
CREATE TABLE blocks (
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),
    prev_hash bytea CHECK (length(prev_hash) = 32),
    height integer NOT NULL CHECK (height >= 0),
    stale boolean NOT NULL DEFAULT false,
    connected_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX blocks_one_best_at_height ON blocks (height) WHERE NOT stale;
CREATE INDEX blocks_by_height ON blocks (height);

CREATE TABLE chain_cursor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    height integer NOT NULL CHECK (height >= 0),
    hash bytea NOT NULL REFERENCES blocks (hash),
    step bigint NOT NULL DEFAULT 0
);
"""

SPENDS = """
CREATE TABLE spends (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id bigint NOT NULL REFERENCES channels (id),
    outpoint bytea NOT NULL CHECK (length(outpoint) = 36),
    txid bytea NOT NULL CHECK (length(txid) = 32),
    raw_tx bytea NOT NULL CHECK (length(raw_tx) > 0),
    height integer NOT NULL,
    block_hash bytea NOT NULL CHECK (length(block_hash) = 32),
    stale boolean NOT NULL DEFAULT false,
    UNIQUE (outpoint, block_hash)
);
-- On the best chain an output is spent once.
CREATE UNIQUE INDEX spends_one_confirmed ON spends (outpoint) WHERE NOT stale;
CREATE INDEX spends_in_block ON spends (block_hash);
CREATE INDEX spends_stale ON spends (outpoint) WHERE stale;
"""

WATCHES = """
CREATE TABLE watches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id bigint NOT NULL REFERENCES channels (id),
    outpoint bytea NOT NULL CHECK (length(outpoint) = 36),
    script_pubkey bytea NOT NULL,
    from_height integer,
    removed_at timestamptz,
    -- The transaction of the last change: what a follower reads on from. Numbers from a
    -- sequence would be seen out of order, and one that commits late would be missed.
    changed_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    UNIQUE (outpoint, channel_id)
) WITH (fillfactor = 90);
CREATE INDEX watches_changed ON watches (changed_in);
CREATE INDEX watches_of_channel ON watches (channel_id);
"""

DEADLINES = """
CREATE TABLE deadlines (
    channel_id bigint NOT NULL REFERENCES channels (id),
    height integer NOT NULL CHECK (height >= 0),
    reason text NOT NULL CHECK (reason <> ''),
    value_at_risk_sat bigint NOT NULL CHECK (value_at_risk_sat >= 0),
    -- Height first: "what is due" is one range of this index.
    PRIMARY KEY (height, channel_id, reason)
);
CREATE INDEX deadlines_of_channel ON deadlines (channel_id);
"""


def upgrade() -> None:
    for statements in (LEASES, BLOCKS, SPENDS, WATCHES, DEADLINES):
        op.execute(statements)

"""What is carried out after a commit: the outbox, broadcasts, force closes, alarms, the vault."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

OUTBOX = """
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id bigint NOT NULL REFERENCES channels (id),
    kind text NOT NULL CHECK (kind IN (
        'publish_commitment', 'sweep_output', 'notify_node', 'ask_local_point', 'raise_alarm')),
    effect text NOT NULL CHECK (effect <> ''),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz
);
CREATE INDEX outbox_unsent ON outbox (due_at, id) WHERE sent_at IS NULL;
CREATE INDEX outbox_unsent_of_channel ON outbox (channel_id, kind, id) WHERE sent_at IS NULL;
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
"""

BROADCASTS = """
CREATE TABLE broadcasts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id bigint NOT NULL REFERENCES channels (id),
    purpose text NOT NULL CHECK (purpose <> ''),
    txid bytea NOT NULL UNIQUE CHECK (length(txid) = 32),
    raw_tx bytea NOT NULL CHECK (length(raw_tx) > 0),
    state text NOT NULL DEFAULT 'open' CHECK (state IN (
        'open', 'confirmed', 'conflicted', 'abandoned')),
    last_outcome text CHECK (last_outcome <> ''),
    last_reason text,
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    first_attempt_at timestamptz,
    last_attempt_at timestamptz
);
CREATE INDEX broadcasts_open ON broadcasts (id) WHERE state = 'open';
CREATE INDEX broadcasts_of_channel ON broadcasts (channel_id, id);

CREATE TABLE broadcast_inputs (
    broadcast_id bigint NOT NULL REFERENCES broadcasts (id),
    position integer NOT NULL CHECK (position >= 0),
    outpoint bytea NOT NULL CHECK (length(outpoint) = 36),
    PRIMARY KEY (broadcast_id, position)
);
CREATE INDEX broadcast_inputs_by_outpoint ON broadcast_inputs (outpoint);
"""

FORCE_CLOSES = """
CREATE TABLE force_closes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id bigint NOT NULL REFERENCES channels (id),
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 512),
    requested_by text NOT NULL CHECK (requested_by <> ''),
    reason text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closing_txid bytea CHECK (length(closing_txid) = 32),
    concluded_at timestamptz,
    UNIQUE (channel_id, idempotency_key)
);
-- P3: one open force close a channel.
CREATE UNIQUE INDEX force_closes_one_open ON force_closes (channel_id)
    WHERE concluded_at IS NULL;
"""

ALARMS = """
CREATE TABLE alarms (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id bigint REFERENCES channels (id),
    kind text NOT NULL CHECK (kind <> ''),
    message text NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    cleared_at timestamptz
);
CREATE UNIQUE INDEX alarms_once_while_open ON alarms (channel_id, kind, md5(message))
    NULLS NOT DISTINCT WHERE cleared_at IS NULL;
"""

VAULT = """
CREATE TABLE sealed_secrets (
    name text PRIMARY KEY CHECK (name <> ''),
    sealed bytea NOT NULL CHECK (length(sealed) > 0),
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- P3: the one commitment the signer ever signed for a funding output.
CREATE TABLE signed_commitments (
    funding_outpoint bytea PRIMARY KEY CHECK (length(funding_outpoint) = 36),
    txid bytea NOT NULL CHECK (length(txid) = 32),
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER signed_commitments_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON signed_commitments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    for statements in (OUTBOX, BROADCASTS, FORCE_CLOSES, ALARMS, VAULT):
        op.execute(statements)

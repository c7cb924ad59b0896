"""Nodes, channels, dockets, cases and contracts.

What stands here cannot be stored wrongly, whatever the code above does: a closed channel without
its resolutions, a resolved one with an open contract, a gap or a change in a docket, an event
applied backwards.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

NODES = """
CREATE TABLE nodes (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    sweep_scripts bytea[] NOT NULL CHECK (cardinality(sweep_scripts) > 0),
    webhook_url text CHECK (webhook_url <> ''),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE node_secrets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node text NOT NULL REFERENCES nodes (name),
    secret text NOT NULL CHECK (secret LIKE 'whsec\\_%'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz
);
-- Old secrets run out; exactly one does not.
CREATE UNIQUE INDEX node_secrets_one_lasting ON node_secrets (node) WHERE expires_at IS NULL;
CREATE INDEX node_secrets_of_node ON node_secrets (node, id);
"""

CHANNELS = """
CREATE TABLE channels (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_point bytea NOT NULL UNIQUE CHECK (length(channel_point) = 36),
    node text NOT NULL REFERENCES nodes (name),
    capacity_sat bigint NOT NULL CHECK (capacity_sat > 0),
    state text NOT NULL DEFAULT 'DEFAULT' CHECK (state IN (
        'DEFAULT', 'BROADCAST_COMMIT', 'COMMITMENT_BROADCASTED',
        'CONTRACT_CLOSED', 'WAITING_FULL_RESOLUTION', 'FULLY_RESOLVED')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The channel's id while it is closed: what the foreign key below holds on to.
    closed_id bigint GENERATED ALWAYS AS (CASE WHEN state IN (
        'CONTRACT_CLOSED', 'WAITING_FULL_RESOLUTION', 'FULLY_RESOLVED') THEN id END) STORED,
    fully_resolved boolean NOT NULL GENERATED ALWAYS AS (state = 'FULLY_RESOLVED') STORED
);
CREATE INDEX channels_by_state ON channels (state, id);
CREATE INDEX channels_by_node ON channels (node, id);

CREATE TABLE channel_resolutions (
    channel_id bigint PRIMARY KEY REFERENCES channels (id),
    close_kind text NOT NULL CHECK (close_kind IN (
        'cooperative', 'local', 'remote', 'remote_pending', 'breach', 'data_loss',
        'local_unknown', 'unknown_spend')),
    closing_txid bytea NOT NULL CHECK (length(closing_txid) = 32),
    closed_height integer NOT NULL CHECK (closed_height >= 0),
    resolutions jsonb NOT NULL CHECK (jsonb_typeof(resolutions) = 'array'),
    fully_resolved_height integer CHECK (fully_resolved_height >= closed_height),
    fully_resolved boolean NOT NULL
        GENERATED ALWAYS AS (fully_resolved_height IS NOT NULL) STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (channel_id, fully_resolved)
);

-- P2: a channel is closed only together with its resolutions, and fully resolved only together
-- with the height of it. Looked at when the transaction commits.
ALTER TABLE channels ADD CONSTRAINT channels_closed_with_resolutions
    FOREIGN KEY (closed_id, fully_resolved)
    REFERENCES channel_resolutions (channel_id, fully_resolved)
    DEFERRABLE INITIALLY DEFERRED;
"""

# The other way round: resolutions of a channel that is not closed.
RESOLUTIONS_ONLY_WHEN_CLOSED = """
CREATE FUNCTION check_resolutions_only_when_closed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    checked bigint;
BEGIN
    IF TG_TABLE_NAME = 'channels' THEN checked := NEW.id; ELSE checked := NEW.channel_id; END IF;
    PERFORM 1 FROM channels WHERE id = checked AND closed_id IS NULL FOR SHARE;
    IF FOUND AND EXISTS (SELECT 1 FROM channel_resolutions WHERE channel_id = checked) THEN
        RAISE EXCEPTION 'channel % has resolutions but is not closed', checked
            USING ERRCODE = 'check_violation', CONSTRAINT = 'resolutions_only_when_closed';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER resolutions_only_when_closed
    AFTER INSERT ON channel_resolutions DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_resolutions_only_when_closed();
CREATE CONSTRAINT TRIGGER resolutions_only_when_closed
    AFTER UPDATE OF state ON channels DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.state IN (
        'CONTRACT_CLOSED', 'WAITING_FULL_RESOLUTION', 'FULLY_RESOLVED')
        AND NEW.state IN ('DEFAULT', 'BROADCAST_COMMIT', 'COMMITMENT_BROADCASTED'))
    EXECUTE FUNCTION check_resolutions_only_when_closed();
"""

DOCKET = """
CREATE TABLE docket_heads (
    channel_id bigint PRIMARY KEY REFERENCES channels (id),
    last_seq bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    last_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
        CHECK (length(last_hash) = 32)
) WITH (fillfactor = 70);

CREATE TABLE docket (
    channel_id bigint NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 512),
    source text NOT NULL CHECK (source IN ('node', 'chain', 'court', 'operator')),
    kind text NOT NULL CHECK (kind IN (
        'channel_opened', 'channel_updated', 'preimage_learned', 'force_close_requested',
        'funding_replaced', 'spend_confirmed', 'spend_unconfirmed', 'height_reached',
        'transaction_published', 'local_point_learned')),
    -- The exact text that was hashed.
    payload text NOT NULL CHECK (payload <> ''),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (channel_id, seq),
    UNIQUE (channel_id, idempotency_key)
);

-- Entries that no commit has applied yet. Small, and emptied all the time.
CREATE TABLE unapplied (
    channel_id bigint NOT NULL,
    seq bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (channel_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
"""

DOCKET_RULES = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER docket_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON docket
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- P1: an entry follows its channel's last one without a gap, moves the head, and waits in
-- `unapplied`, all by the same INSERT.
CREATE FUNCTION extend_docket_heads() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted bigint;
    extended bigint;
BEGIN
    SELECT count(DISTINCT channel_id) INTO wanted FROM added;
    UPDATE docket_heads AS h
    SET last_seq = a.last, last_hash = a.last_hash
    FROM (
        SELECT channel_id, min(seq) AS first, max(seq) AS last, count(*) AS entries,
               (array_agg(hash ORDER BY seq DESC))[1] AS last_hash
        FROM added GROUP BY channel_id
    ) AS a
    WHERE h.channel_id = a.channel_id AND h.last_seq = a.first - 1
      AND a.entries = a.last - a.first + 1;
    GET DIAGNOSTICS extended = ROW_COUNT;
    IF extended <> wanted THEN
        RAISE EXCEPTION 'docket entries must follow the last one of their channel'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'docket_gapless';
    END IF;
    INSERT INTO unapplied (channel_id, seq, created_at)
    SELECT channel_id, seq, created_at FROM added;
    RETURN NULL;
END $$;

CREATE TRIGGER docket_gapless AFTER INSERT ON docket
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION extend_docket_heads();
-- Only the docket itself moves its heads.
CREATE TRIGGER docket_heads_follow_docket BEFORE UPDATE OR DELETE OR TRUNCATE ON docket_heads
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_change();
"""

CASES = """
CREATE TABLE cases (
    channel_id bigint PRIMARY KEY REFERENCES channels (id),
    case_json text NOT NULL CHECK (case_json <> ''),
    applied_seq bigint NOT NULL CHECK (applied_seq >= 0),
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- An entry is applied once: never backwards, never beyond the docket, one version a step.
CREATE FUNCTION check_case_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.applied_seq > (SELECT last_seq FROM docket_heads WHERE channel_id = NEW.channel_id)
       OR TG_OP = 'UPDATE' AND (NEW.applied_seq < OLD.applied_seq
                                OR NEW.version <> OLD.version + 1) THEN
        RAISE EXCEPTION 'case of channel % cannot go to entry %, version %',
            NEW.channel_id, NEW.applied_seq, NEW.version
            USING ERRCODE = 'check_violation', CONSTRAINT = 'case_moves_forward';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER case_moves_forward BEFORE INSERT OR UPDATE ON cases
    FOR EACH ROW EXECUTE FUNCTION check_case_moves_forward();

CREATE TABLE contracts (
    channel_id bigint NOT NULL REFERENCES channels (id),
    outpoint bytea NOT NULL CHECK (length(outpoint) = 36),
    kind text NOT NULL CHECK (kind IN (
        'to_local', 'to_remote', 'anchor', 'offered_htlc', 'received_htlc',
        'revoked_to_local', 'revoked_htlc', 'unknown_spend')),
    value_sat bigint NOT NULL CHECK (value_sat >= 0),
    stage text NOT NULL CHECK (stage IN (
        'immature', 'sweeping', 'unresolved', 'spent', 'resolved')),
    confirmed_height integer NOT NULL,
    maturity_height integer NOT NULL,
    payment_hash bytea CHECK (length(payment_hash) = 32),
    cltv_expiry bigint,
    spend_txid bytea CHECK (length(spend_txid) = 32),
    spend_height integer,
    ours boolean,
    PRIMARY KEY (channel_id, outpoint),
    CHECK ((spend_txid IS NULL) = (spend_height IS NULL))
) WITH (fillfactor = 80);
"""

# Deferred, and under a lock of the channel's row, so that two transactions cannot each miss
# what the other is about to commit.
RESOLVED_RULE = """
CREATE FUNCTION check_fully_resolved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    checked bigint;
BEGIN
    IF TG_TABLE_NAME = 'channels' THEN checked := NEW.id; ELSE checked := NEW.channel_id; END IF;
    PERFORM 1 FROM channels WHERE id = checked AND state = 'FULLY_RESOLVED' FOR SHARE;
    IF FOUND AND EXISTS (
        SELECT 1 FROM contracts WHERE channel_id = checked AND stage <> 'resolved'
    ) THEN
        RAISE EXCEPTION 'channel % is FULLY_RESOLVED with an unresolved contract', checked
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fully_resolved_contracts';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER fully_resolved_contracts
    AFTER INSERT OR UPDATE OF state ON channels DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'FULLY_RESOLVED') EXECUTE FUNCTION check_fully_resolved();
CREATE CONSTRAINT TRIGGER fully_resolved_contracts
    AFTER INSERT OR UPDATE ON contracts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.stage <> 'resolved') EXECUTE FUNCTION check_fully_resolved();
"""


def upgrade() -> None:
    for statements in (
        NODES,
        CHANNELS,
        RESOLUTIONS_ONLY_WHEN_CLOSED,
        DOCKET,
        DOCKET_RULES,
        CASES,
        RESOLVED_RULE,
    ):
        op.execute(statements)

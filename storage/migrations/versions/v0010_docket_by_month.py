"""The docket in months: what is old leaves the tables that every append and wake-up touches.

Parts are made ahead by ATTACH, never by `CREATE TABLE ... PARTITION OF`, and leave by DETACH
CONCURRENTLY: neither locks out an append (users_ask P8).
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

#: The table so far becomes the part that ends with this month. It is scanned once, not rewritten.
DOCKET = """
DROP TRIGGER docket_append_only ON docket;
DROP TRIGGER docket_gapless ON docket;
ALTER TABLE docket RENAME TO docket_so_far;
ALTER TABLE docket_so_far RENAME CONSTRAINT docket_pkey TO docket_so_far_pkey;
ALTER TABLE docket_so_far RENAME CONSTRAINT docket_channel_id_idempotency_key_key
    TO docket_so_far_channel_id_idempotency_key_key;
CREATE TABLE docket (LIKE docket_so_far INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (created_at);
CREATE TRIGGER docket_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON docket
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER docket_gapless AFTER INSERT ON docket
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION extend_docket_heads();
"""

#: Parts that nothing reads but the audit and whoever looks. No checks of its own: what was once
#: appended stays valid there, whatever later versions ask of a new entry.
ARCHIVE = """
CREATE TABLE docket_archive (LIKE docket_so_far INCLUDING DEFAULTS)
    PARTITION BY RANGE (created_at);
CREATE TRIGGER docket_archive_append_only
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON docket_archive
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE VIEW docket_history AS SELECT * FROM docket UNION ALL SELECT * FROM docket_archive;
"""

PARTS = """
-- An entry enters through `docket` alone, whose trigger keeps the numbers without a gap. Across
-- months a number is unique because it follows the head, and a key because it is looked up under
-- the head's lock.
CREATE FUNCTION guard_docket_part(part text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER docket_part_append_only'
        ' BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
END $$;

-- False when the month has its part already. Waits for another maker, never for an append.
CREATE FUNCTION make_docket_part(month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    part text := to_char(month, '"docket_"YYYY_MM');
    first timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    next timestamptz := (date_trunc('month', month::timestamp) + interval '1 month')
        AT TIME ZONE 'UTC';
BEGIN
    LOCK TABLE docket IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(format('%I', part)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE docket INCLUDING DEFAULTS INCLUDING CONSTRAINTS,'
        ' PRIMARY KEY (channel_id, seq), UNIQUE (channel_id, idempotency_key))', part);
    PERFORM guard_docket_part(part);
    EXECUTE format('ALTER TABLE docket ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        part, first, next);
    RETURN true;
END $$;

-- From standing alone, where DETACH left it, to the archive. What the court held before it had
-- months is one part, which may reach back before its month.
CREATE FUNCTION archive_docket_part(month date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text := to_char(month, '"docket_"YYYY_MM');
    first timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    next timestamptz := (date_trunc('month', month::timestamp) + interval '1 month')
        AT TIME ZONE 'UTC';
    reaches_back boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE created_at < %L)', part, first)
        INTO reaches_back;
    EXECUTE format('ALTER TABLE docket_archive ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%L)',
        part, CASE WHEN reaches_back THEN 'MINVALUE' ELSE quote_literal(first) END, next);
END $$;

DO $$
DECLARE
    now_utc timestamp := clock_timestamp() AT TIME ZONE 'UTC';
    part text := to_char(now_utc, '"docket_"YYYY_MM');
    next timestamptz := (date_trunc('month', now_utc) + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF EXISTS (SELECT FROM docket_so_far) THEN
        EXECUTE format('ALTER TABLE docket_so_far RENAME TO %I', part);
        PERFORM guard_docket_part(part);
        EXECUTE format('ALTER TABLE docket ATTACH PARTITION %I'
            ' FOR VALUES FROM (MINVALUE) TO (%L)', part, next);
    ELSE
        DROP TABLE docket_so_far;
    END IF;
    FOR ahead IN 0..1 LOOP
        PERFORM make_docket_part((now_utc + make_interval(months => ahead))::date);
    END LOOP;
END $$;
"""

CHECKPOINTS = """
-- From where a channel's docket is proved on, once what came before may be gone.
CREATE TABLE docket_checkpoints (
    channel_id bigint PRIMARY KEY REFERENCES channels (id),
    seq bigint NOT NULL CHECK (seq > 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    case_json text NOT NULL CHECK (case_json <> ''),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- It stands on an entry that is there and applied, and never goes back.
CREATE FUNCTION check_docket_checkpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.seq < OLD.seq
       OR NOT EXISTS (SELECT FROM docket_history AS d
                      WHERE d.channel_id = NEW.channel_id AND d.seq = NEW.seq
                        AND d.hash = NEW.hash)
       OR NEW.seq > (SELECT applied_seq FROM cases WHERE channel_id = NEW.channel_id) THEN
        RAISE EXCEPTION 'no checkpoint of channel % at entry %', NEW.channel_id, NEW.seq
            USING ERRCODE = 'check_violation', CONSTRAINT = 'checkpoint_stands_on_an_entry';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER checkpoint_stands_on_an_entry BEFORE INSERT OR UPDATE ON docket_checkpoints
    FOR EACH ROW EXECUTE FUNCTION check_docket_checkpoint();
CREATE TRIGGER docket_checkpoints_kept BEFORE DELETE OR TRUNCATE ON docket_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    for statements in (DOCKET, ARCHIVE, PARTS, CHECKPOINTS):
        op.execute(statements)

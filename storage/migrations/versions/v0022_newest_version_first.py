"""Cases and heads of dockets are found by their newest version, however many a snapshot keeps.

See docs/decisions/0029-newest-version-first.md.
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"

KEYS = """
ALTER TABLE cases
    DROP CONSTRAINT cases_pkey,
    ADD PRIMARY KEY (channel_id, version);
ALTER TABLE docket_heads
    DROP CONSTRAINT docket_heads_pkey,
    ADD PRIMARY KEY (channel_id, last_seq);
"""

#: What the keys of the channel alone said. A first version is always the same, so of two that are
#: stored at once the second waits for the first, by the key, and sees it here.
ONE_A_CHANNEL = """
CREATE FUNCTION check_one_a_channel() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    twice bigint;
BEGIN
    EXECUTE format(
        'SELECT channel_id FROM %I WHERE channel_id = ANY($1)
         GROUP BY channel_id HAVING count(*) > 1 LIMIT 1', TG_TABLE_NAME)
        INTO twice USING (SELECT array_agg(channel_id) FROM added);
    IF twice IS NOT NULL THEN
        RAISE EXCEPTION 'channel % would stand twice in %', twice, TG_TABLE_NAME
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'one_a_channel';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER one_a_channel AFTER INSERT ON cases
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_one_a_channel();
CREATE TRIGGER one_a_channel AFTER INSERT ON docket_heads
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_one_a_channel();
"""

#: As before, but from the entry that was applied on: the heads before it are not met.
MOVES_FORWARD = """
CREATE OR REPLACE FUNCTION check_case_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM docket_heads
                   WHERE channel_id = NEW.channel_id AND last_seq >= NEW.applied_seq)
       OR TG_OP = 'UPDATE' AND (NEW.applied_seq < OLD.applied_seq
                                OR NEW.version <> OLD.version + 1) THEN
        RAISE EXCEPTION 'case of channel % cannot go to entry %, version %',
            NEW.channel_id, NEW.applied_seq, NEW.version
            USING ERRCODE = 'check_violation', CONSTRAINT = 'case_moves_forward';
    END IF;
    RETURN NEW;
END $$;
"""


def upgrade() -> None:
    for statements in (KEYS, ONE_A_CHANNEL, MOVES_FORWARD):
        op.execute(statements)

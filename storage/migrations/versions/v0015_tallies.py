"""Tallies: what Prometheus is told, counted in the commit that makes it so.

A tally is a row that is only ever inserted: writers never wait for each other, and a count is
right in every snapshot. `tallies.fold` keeps them few. A scrape thus costs the same at a thousand
channels as at a million. The triggers count for everybody, whatever a role may write itself.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

TALLIES = """
CREATE TABLE tallies (
    name text NOT NULL CHECK (name <> ''),
    label text NOT NULL,
    amount double precision NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
"""

DOCKET = """
CREATE FUNCTION tally_docket() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tallies SELECT 'docket_entries', kind, count(*) FROM added GROUP BY kind;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_docket AFTER INSERT ON docket
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION tally_docket();
INSERT INTO tallies SELECT 'docket_entries', kind, count(*) FROM docket_history GROUP BY kind;

-- An entry is applied when it leaves `unapplied`. The upper bounds of the buckets, in seconds.
CREATE FUNCTION tally_applied() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tallies
    SELECT 'applied_within', bound, count(*)
    FROM (SELECT CASE WHEN waited <= 0.1 THEN '0.1' WHEN waited <= 0.5 THEN '0.5'
                      WHEN waited <= 1 THEN '1' WHEN waited <= 5 THEN '5'
                      WHEN waited <= 15 THEN '15' WHEN waited <= 60 THEN '60'
                      WHEN waited <= 600 THEN '600' ELSE '+Inf' END AS bound
          FROM (SELECT extract(epoch FROM clock_timestamp() - created_at) AS waited
                FROM gone) AS waits) AS bounds
    GROUP BY bound
    UNION ALL
    SELECT 'applied_after_seconds', '',
           sum(greatest(extract(epoch FROM clock_timestamp() - created_at), 0))
    FROM gone HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_applied AFTER DELETE ON unapplied
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION tally_applied();
-- How long those before this version waited nobody knows any more.
INSERT INTO tallies
SELECT 'applied_within', '0.1', (SELECT count(*) FROM docket_history) - count(*) FROM unapplied;
"""

CHANNELS = """
CREATE FUNCTION tally_new_channels() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tallies SELECT 'channels', state, count(*) FROM added GROUP BY state;
    RETURN NULL;
END $$;
CREATE FUNCTION tally_moved_channels() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tallies
    SELECT 'channels', moved.state, sum(moved.amount)
    FROM (SELECT a.id, b.state AS before, a.state AS after
          FROM added AS a JOIN gone AS b USING (id) WHERE a.state <> b.state) AS c
    CROSS JOIN LATERAL (VALUES (c.before, -1), (c.after, 1)) AS moved (state, amount)
    GROUP BY moved.state;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_new_channels AFTER INSERT ON channels
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION tally_new_channels();
CREATE TRIGGER tally_moved_channels AFTER UPDATE ON channels
    REFERENCING OLD TABLE AS gone NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION tally_moved_channels();
INSERT INTO tallies SELECT 'channels', state, count(*) FROM channels GROUP BY state;
"""

#: Open ones by what the node said last, the others by what the chain has made of them.
BROADCASTS = """
CREATE FUNCTION tally_broadcast() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO tallies VALUES (
            CASE OLD.state WHEN 'open' THEN 'broadcasts_open' ELSE 'broadcasts_settled' END,
            CASE OLD.state WHEN 'open' THEN coalesce(OLD.last_outcome, 'none')
                           ELSE OLD.state END, -1);
    END IF;
    INSERT INTO tallies VALUES (
        CASE NEW.state WHEN 'open' THEN 'broadcasts_open' ELSE 'broadcasts_settled' END,
        CASE NEW.state WHEN 'open' THEN coalesce(NEW.last_outcome, 'none') ELSE NEW.state END, 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_new_broadcast AFTER INSERT ON broadcasts
    FOR EACH ROW EXECUTE FUNCTION tally_broadcast();
CREATE TRIGGER tally_broadcast AFTER UPDATE OF state, last_outcome ON broadcasts
    FOR EACH ROW WHEN (OLD.state <> NEW.state
                       OR OLD.last_outcome IS DISTINCT FROM NEW.last_outcome)
    EXECUTE FUNCTION tally_broadcast();
INSERT INTO tallies
SELECT CASE state WHEN 'open' THEN 'broadcasts_open' ELSE 'broadcasts_settled' END,
       CASE state WHEN 'open' THEN coalesce(last_outcome, 'none') ELSE state END, count(*)
FROM broadcasts GROUP BY 1, 2;
"""

ALARMS = """
CREATE FUNCTION tally_alarm() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tallies VALUES ('alarms_raised', NEW.kind, 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_alarm AFTER INSERT ON alarms
    FOR EACH ROW EXECUTE FUNCTION tally_alarm();
INSERT INTO tallies SELECT 'alarms_raised', kind, count(*) FROM alarms GROUP BY kind;
"""


def upgrade() -> None:
    for statements in (TALLIES, DOCKET, CHANNELS, BROADCASTS, ALARMS):
        op.execute(statements)

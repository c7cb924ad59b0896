"""Letters: webhooks that wait in the outbox, by endpoint; those nobody took; and the operator's."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

LETTERS = """
ALTER TABLE outbox
    ALTER COLUMN channel_id DROP NOT NULL,
    -- Whom a webhook goes to: a node's name, or @operator.
    ADD COLUMN endpoint text CHECK (endpoint <> ''),
    -- How often the endpoint answered and did not take it.
    ADD COLUMN refusals integer NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    DROP CONSTRAINT outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN (
        'publish_commitment', 'publish_htlc_transaction', 'notify_node', 'ask_local_point',
        'notify_operator')),
    ADD CONSTRAINT outbox_of_a_channel CHECK (
        channel_id IS NOT NULL OR kind = 'notify_operator');
UPDATE outbox AS o SET endpoint = c.node
FROM channels AS c WHERE c.id = o.channel_id AND o.kind = 'notify_node' AND o.sent_at IS NULL;
CREATE INDEX outbox_letters ON outbox (endpoint, due_at, id)
    WHERE sent_at IS NULL AND endpoint IS NOT NULL;

-- A worker of the version before this one names no endpoint.
CREATE FUNCTION address_letter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.endpoint := (SELECT node FROM channels WHERE id = NEW.channel_id);
    RETURN NEW;
END $$;
CREATE TRIGGER address_letter BEFORE INSERT ON outbox
    FOR EACH ROW WHEN (NEW.kind = 'notify_node' AND NEW.endpoint IS NULL)
    EXECUTE FUNCTION address_letter();
"""

ENDPOINTS = """
CREATE TABLE webhook_endpoints (
    name text PRIMARY KEY CHECK (name <> ''),
    -- Rounds in a row in which it did not answer, and until when it is left alone for that.
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    open_until timestamptz,
    -- Some worker sends to it until then, under an id of its own.
    busy_until timestamptz,
    claim uuid,
    last_error text,
    last_answer_at timestamptz
);
"""

DEAD_LETTERS = """
CREATE TABLE dead_letters (
    -- Its id in the outbox, hence the webhook-id it keeps when it is replayed.
    id bigint PRIMARY KEY,
    endpoint text NOT NULL,
    channel_id bigint REFERENCES channels (id),
    kind text NOT NULL CHECK (kind IN ('notify_node', 'notify_operator')),
    effect text NOT NULL CHECK (effect <> ''),
    attempts integer NOT NULL CHECK (attempts > 0),
    last_error text NOT NULL,
    created_at timestamptz NOT NULL,
    died_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at timestamptz
);
CREATE INDEX dead_letters_waiting ON dead_letters (endpoint, id) WHERE replayed_at IS NULL;
-- What every later letter of the channel names as missing.
CREATE INDEX dead_letters_of_channel ON dead_letters (channel_id, id) WHERE replayed_at IS NULL;
"""

#: Whoever raises or clears an alarm, the operator's letter stands in the same commit.
OPERATOR = """
CREATE FUNCTION tell_operator() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (channel_id, kind, endpoint, effect)
    VALUES (NEW.channel_id, 'notify_operator', '@operator', jsonb_build_object(
        'type', 'notify_operator', 'alarm_id', NEW.id,
        'event_type', CASE WHEN NEW.cleared_at IS NULL
                           THEN 'alarm.raised' ELSE 'alarm.cleared' END)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER alarm_raised AFTER INSERT ON alarms
    FOR EACH ROW EXECUTE FUNCTION tell_operator();
CREATE TRIGGER alarm_cleared AFTER UPDATE OF cleared_at ON alarms
    FOR EACH ROW WHEN (OLD.cleared_at IS NULL AND NEW.cleared_at IS NOT NULL)
    EXECUTE FUNCTION tell_operator();
"""


def upgrade() -> None:
    for statements in (LETTERS, ENDPOINTS, DEAD_LETTERS, OPERATOR):
        op.execute(statements)

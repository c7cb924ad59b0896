"""What people look for, and what the court forgets, is found by an index in a large court too."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"

#: Of a node in a state; of all alarms, dead letters and sweeps those that wait for somebody; and of
#: all deadlines those that lose money.
LOOKED_FOR = """
CREATE INDEX channels_of_node_in_state ON channels (node, state, id);
CREATE INDEX alarms_open ON alarms (id) WHERE cleared_at IS NULL;
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE replayed_at IS NULL;
CREATE INDEX sweep_inputs_quarantined ON sweep_inputs (outpoint) WHERE state = 'quarantined';
-- Those that pressed until their channels were closed: contracts have deadlines of their own.
DELETE FROM deadlines AS d USING channels AS c
WHERE c.id = d.channel_id AND c.closed_id IS NOT NULL AND d.reason = 'an HTLC is due';
CREATE INDEX deadlines_pressing ON deadlines (height, channel_id) INCLUDE (value_at_risk_sat)
    WHERE reason IN ('an HTLC is due', 'a received HTLC expires') AND value_at_risk_sat > 0;
"""
#: An effect is not found by passing over the letters of an endpoint that is silent.
EFFECTS = """
CREATE INDEX outbox_effects ON outbox (due_at, id) WHERE sent_at IS NULL AND endpoint IS NULL;
DROP INDEX outbox_unsent;
"""
#: What punished a channel is deleted once, not looked for every night.
PUNISHED = """
ALTER TABLE channel_resolutions ADD COLUMN forgotten boolean NOT NULL DEFAULT false;
CREATE INDEX channel_resolutions_to_forget
    ON channel_resolutions (fully_resolved_height, channel_id) WHERE NOT forgotten;
"""


def upgrade() -> None:
    for statements in (LOOKED_FOR, EFFECTS, PUNISHED):
        op.execute(statements)

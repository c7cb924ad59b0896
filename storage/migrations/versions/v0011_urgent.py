"""What may not wait behind other work: marked where it waits, and told cheaply of a breach."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

#: NULL in cases that were stored before: a breach there is found at the pace of all other work.
CASES = """
ALTER TABLE cases
    ADD COLUMN obscuring_factor bigint CHECK (obscuring_factor >= 0),
    ADD COLUMN revoked_below bigint NOT NULL DEFAULT 0 CHECK (revoked_below >= 0);
"""

DEADLINES = """
ALTER TABLE deadlines ADD COLUMN urgent boolean NOT NULL DEFAULT false;
UPDATE deadlines SET urgent = true
WHERE reason IN ('an HTLC is due', 'an offered HTLC times out');
CREATE INDEX deadlines_urgent ON deadlines (height, channel_id) WHERE urgent;
"""

SWEEPS = """
ALTER TABLE sweep_inputs ADD COLUMN urgent boolean NOT NULL DEFAULT false;
UPDATE sweep_inputs SET urgent = true
WHERE (want::jsonb -> 'effect' ->> 'deadline') IS NOT NULL;
DROP INDEX sweep_inputs_wanted;
CREATE INDEX sweep_inputs_wanted ON sweep_inputs (node, urgent, created_at)
    WHERE state = 'wanted';

ALTER TABLE broadcasts ADD COLUMN urgent boolean NOT NULL DEFAULT false;
UPDATE broadcasts AS b SET urgent = true
WHERE EXISTS (SELECT 1 FROM broadcast_inputs AS i JOIN sweep_inputs AS w USING (outpoint)
              WHERE i.broadcast_id = b.id AND w.urgent);

ALTER TABLE sweep_rounds
    ADD COLUMN urgent boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT sweep_rounds_pkey,
    ADD PRIMARY KEY (node, urgent);
"""


def upgrade() -> None:
    for statements in (CASES, DEADLINES, SWEEPS):
        op.execute(statements)

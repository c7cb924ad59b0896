"""A signer that comes back after hours finds what waits for it within seconds (users_ask L20)."""

from __future__ import annotations

from contractcourt.events import ForceCloseRequested
from storage import alarms, docket, outbox
from storage.database import Database
from tasks.arbitration import arbitrate
from tasks.publish import publish
from tasks.resources import Resources
from tests.tasks.opened import open_channel

_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")
_UNTIL_DUE = """
    SELECT attempts, extract(epoch FROM due_at - clock_timestamp())::float8
    FROM outbox WHERE id = %(id)s
"""


def test_our_commitment_is_asked_for_every_few_seconds_however_long_the_signer_is_away(
    db: Database, cut_off: Resources
) -> None:
    _, channel_id = open_channel(db, "signer away")
    db.run(
        lambda conn: docket.append(
            conn, channel_id, _ASKED, idempotency_key="asked", source="operator"
        )
    )
    arbitrate(db, [channel_id])
    with db.transaction() as conn:
        waiting = outbox.unsent(conn, channel_id)
    [row] = [row for row in waiting if row.kind == "publish_commitment"]
    for _ in range(8):
        publish(cut_off, [row.id])
    with db.transaction() as conn:
        [(attempts, seconds)] = conn.execute(_UNTIL_DUE, {"id": row.id}).fetchall()
        assert (attempts, seconds <= outbox.AWAY_SECONDS) == (8, True)
        assert alarms.list_open(conn, channel_id=channel_id) == []

"""`contractcourt alarms`: what somebody has to look at."""

from __future__ import annotations

from storage import alarms as alarm_table
from workers.cli import tables
from workers.cli.access import transaction
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir


def alarms(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Open alarms, the oldest first: about a channel, a node, or the court itself."""
    with transaction(data_dir) as conn:
        raised = alarm_table.list_open(conn)
    rows = [
        {
            "raised_at": alarm.raised_at.isoformat(" ", "seconds"),
            "about": str(alarm.channel_point or alarm.node or "the court"),
            "kind": alarm.kind,
            "message": alarm.message,
        }
        for alarm in raised
    ]
    if as_json:
        tables.write_json(rows)
        return
    tables.show(
        ("since", "about", "kind", "what to do"),
        (tuple(row.values()) for row in rows),
        empty="no alarm is open",
    )

"""A node that takes its webhooks somewhere else from now on."""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from storage import alarms, endpoints, letters, nodes
from storage.database import Connection


def move(conn: Connection, node: str, url: str | None) -> bool:
    """Let all that waits for the node go to `url` at once; with None nobody listens any more.

    What the old address refused or did not answer is not held against the new one. False when
    it was there already, and nothing is changed then.

    Raises:
        UnknownNode: no node of this name.
    """
    if not nodes.set_webhook_url(conn, node, url):
        return False
    # In the order in which a worker notes what became of its letters.
    letters.forgive(conn, node)
    endpoints.start_anew(conn, node)
    alarms.clear_kind(conn, None, AlarmKind.ENDPOINT_SILENT, node=node)
    alarms.clear_of_channels(conn, node, AlarmKind.ENDPOINT_SILENT)
    return True

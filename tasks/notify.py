"""`contractcourt.notify`: webhooks to the nodes, at least once, in order for each channel."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache

import httpx2
import structlog
from standardwebhooks import Webhook

from contractcourt.case import Case
from contractcourt.effects import NotifyNode
from storage import nodes, outbox
from storage.database import Connection
from storage.nodes import Node
from storage.outbox import OutboxRow
from tasks import wakeups
from tasks.app import app
from tasks.crash_points import CrashPoint, reach
from tasks.errands import take
from tasks.resources import Resources, resources

_log = structlog.get_logger()
_TIMEOUT_SECONDS = 5.0


@app.task(name="contractcourt.notify")
def notify_task(ids: list[int], idempotency_key: str) -> None:
    """Send what these outbox rows hold, and whatever then is next in its channel's order."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        held = resources()
        for row, case in take(held, ids, "notify_node"):
            reach(CrashPoint.NOTIFY_TAKEN)
            if isinstance(row.effect, NotifyNode):
                _notify(held, row, case, row.effect)


@cache
def _client() -> httpx2.Client:
    return httpx2.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False)


def _notify(held: Resources, row: OutboxRow, case: Case, effect: NotifyNode) -> None:
    node = held.db.run(lambda conn: nodes.get_node(conn, case.channel.node))
    # A node that named no address reads the docket; for it there is nothing to send.
    error = None if node is None or node.webhook_url is None else _post(node, row, effect)

    reach(CrashPoint.NOTIFY_SENT)

    def note(conn: Connection) -> int | None:
        if error is not None:
            outbox.mark_failed(conn, row.id, error)
            return None
        outbox.mark_sent(conn, row.id)
        return outbox.next_notification(conn, row.channel_id)

    following = held.db.run(note)
    reach(CrashPoint.NOTIFY_STORED)
    if following is not None:
        wakeups.carry_out([(following, "notify_node")])


def _post(node: Node, row: OutboxRow, effect: NotifyNode) -> str | None:
    """None when the node took it, else why not."""
    now = datetime.now(UTC)
    message_id = f"msg_{row.id}"
    body = json.dumps(
        {"type": effect.event_type, "timestamp": row.created_at.isoformat(), "data": effect.data}
    )
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(node.secrets[0]).sign(message_id, now, body),
    }
    try:
        answer = _client().post(str(node.webhook_url), content=body, headers=headers)
    except httpx2.HTTPError as error:
        return f"{type(error).__name__}: {error}"
    if answer.is_success:
        return None
    _log.warning(
        "webhook refused", node=node.name, type=effect.event_type, status=answer.status_code
    )
    return f"the node answered {answer.status_code}"

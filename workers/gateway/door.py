"""The door of the docket: one signed message of a node becomes one commit, or nothing at all.

The message id is claimed in the same transaction that applies the message, so that a refused
message leaves no trace and an accepted one is known for ever; of two that come at once with the
same id, the second rolls back. A preimage alone is kept before. Whether the content fits the
channel is asked of the law itself, by applying it before the commit.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Set

import structlog

from storage import callers, receipts
from storage.callers import Caller
from storage.database import Connection
from storage.receipts import Receipt
from storage.seal import Seal
from tasks.crash_points import CrashPoint, reach
from tasks.logs import bound
from workers.gateway import strict_json
from workers.gateway.court import Court
from workers.gateway.messages import Message, Placed, apply, look, prepare, remember
from workers.gateway.payloads import parse_webhook
from workers.gateway.problems import Problem, unavailable
from workers.gateway.responses import WebhookAccepted
from workers.gateway.signatures import SignedMessage, verify
from workers.gateway.wakeup import WakeUp

_log = structlog.get_logger()
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def take(court: Court, node_name: str, signed: SignedMessage) -> WebhookAccepted:
    """Verify, read, check and commit one webhook.

    Raises:
        Problem, LawError: it is refused; nothing was stored.
        psycopg.Error: the database is away or busy; the sender must ask again.
    """
    with bound(node=node_name, idempotency_key=signed.message_id):
        try:
            accepted = _take(court, node_name, signed)
        except Exception as error:
            _log.warning("webhook_refused", error=type(error).__name__, detail=str(error))
            raise
        _log.info(
            "webhook_accepted",
            channel_point=accepted.channel_point,
            seq=accepted.seq,
            duplicate=accepted.duplicate,
        )
        return accepted


def _take(court: Court, node_name: str, signed: SignedMessage) -> WebhookAccepted:
    if court.webhook_seal is None:
        raise unavailable("this gateway has no key that opens webhook secrets")
    with court.db.transaction() as conn:
        caller = _find_caller(conn, court.webhook_seal, node_name, signed.message_id)
        verify(signed, None if caller is None else caller.secrets)
        assert caller is not None  # verify refuses a node that does not exist
        court.rates.prove(signed.sender, caller.node.name)
        webhook = parse_webhook(signed.body)
        stood = None if caller.earlier is not None else look(conn, caller.node, webhook)
    digest = _digest(signed.body)
    if caller.earlier is not None:
        accepted = _repeated(caller.earlier, digest)
    else:
        # Whatever waits for others (the signer) is done before a row is locked.
        message = prepare(court, caller.node, signed.message_id, webhook, stood)
        remember(court.db, message)
        accepted = _commit(court, message, digest)
    court.metrics.accepted.labels(webhook.type, str(accepted.duplicate).lower()).inc()
    return accepted


def _find_caller(conn: Connection, seal: Seal, name: str, message_id: str) -> Caller | None:
    return callers.find(conn, seal, name, message_id) if _NODE_NAME.fullmatch(name) else None


def _commit(court: Court, message: Message, digest: bytes) -> WebhookAccepted:
    held: set[int] = set()
    try:
        placed = _place(court, message, digest, held)
    except Exception:
        _let_others_look(court, held)
        raise
    if isinstance(placed, Receipt):
        _let_others_look(court, held)
        return _repeated(placed, digest)
    reach(CrashPoint.DOOR_COMMITTED)
    court.wake(placed.wake_up)
    reach(CrashPoint.DOOR_BEFORE_ANSWER)
    if not placed.places:
        return WebhookAccepted(channel_point=None, seq=None, duplicate=False)
    first = placed.places[0]
    return WebhookAccepted(
        channel_point=str(first.channel_point), seq=first.seq, duplicate=first.duplicate
    )


def _place(court: Court, message: Message, digest: bytes, held: set[int]) -> Placed | Receipt:
    """Apply the message and claim its id in one commit; the first use of the id if it has one."""
    with court.db.transaction() as conn:
        placed = apply(conn, message, held)
        first = placed.places[0] if placed.places else None
        earlier = receipts.claim(
            conn,
            message.node.name,
            message.message_id,
            digest,
            channel_id=None if first is None else first.channel_id,
            seq=None if first is None else first.seq,
        )
        if earlier is not None:
            conn.rollback()
            return earlier
        reach(CrashPoint.DOOR_BEFORE_COMMIT)
    return placed


def _let_others_look(court: Court, held: Set[int]) -> None:
    """A wake-up that met these cases left them to us, and nothing of what we did was committed."""
    court.wake(WakeUp(channels=tuple(sorted(held))))


def _repeated(earlier: Receipt, digest: bytes) -> WebhookAccepted:
    if earlier.digest != digest:
        raise Problem(
            "message-id-reused",
            "this webhook-id was used for a message with other data: give every message its own",
        )
    point = None if earlier.channel_point is None else str(earlier.channel_point)
    return WebhookAccepted(channel_point=point, seq=earlier.seq, duplicate=True)


def _digest(body: bytes) -> bytes:
    """SHA256 over type and data. The envelope's timestamp may differ when it is sent again."""
    told = strict_json.read(body)
    content = json.dumps([told["type"], told["data"]], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).digest()

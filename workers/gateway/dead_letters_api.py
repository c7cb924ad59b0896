"""Webhooks that their endpoint kept refusing: `GET /v1/dead-letters`, and sending one again."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Path

from storage import dead_letters
from storage.dead_letters import DeadLetter, Replay
from workers.gateway.addresses import After, EndpointName, Limit
from workers.gateway.court import Court
from workers.gateway.problems import Problem
from workers.gateway.responses import DeadLetterList, DeadLetterView, ReplayAnswer, refusals
from workers.gateway.wakeup import WakeUp

_log = structlog.get_logger()


def routes(court: Court) -> APIRouter:
    """Looking at dead letters takes a reader's token, replaying one the operator's."""
    router = APIRouter(prefix="/v1")

    @router.get("/dead-letters", tags=["look"], responses=refusals(401, 422, 503))
    def list_dead_letters(
        endpoint: EndpointName | None = None,
        with_replayed: bool = False,
        after: After = 0,
        limit: Limit = 100,
        authorization: Annotated[str | None, Header()] = None,
    ) -> DeadLetterList:
        """Webhooks that were given up and wait for an operator, in the order of their writing."""
        court.access.require_reader(authorization)
        with court.db.looking() as conn:
            found = dead_letters.list_letters(
                conn, endpoint=endpoint, with_replayed=with_replayed, after=after, limit=limit + 1
            )
        shown = found[:limit]
        return DeadLetterList(
            dead_letters=[view(letter) for letter in shown],
            next_after=shown[-1].id if len(found) > limit else None,
        )

    @router.post(
        "/dead-letters/{letter_id}/replay",
        tags=["act"],
        status_code=202,
        responses=refusals(401, 403, 404, 408, 413, 422, 503),
    )
    def replay_dead_letter(
        letter_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
        authorization: Annotated[str | None, Header()] = None,
    ) -> ReplayAnswer:
        """Send it again, under the same `webhook-id`. Takes the operator token; asking twice
        sends it once."""
        court.access.require_operator(authorization)
        return replay(court, letter_id)

    return router


def replay(court: Court, letter_id: int) -> ReplayAnswer:
    """Send one again and wake whoever sends. Raises Problem 404 when it is no dead letter."""
    with court.db.transaction() as conn:
        outcome = dead_letters.replay(conn, letter_id)
    if outcome is Replay.UNKNOWN:
        raise Problem("unknown-letter", f"{letter_id} is no dead letter")
    _log.info("dead_letter_replayed", letter_id=letter_id, outcome=outcome.value)
    court.wake(WakeUp(effects=((letter_id, "notify_node"),)))
    return ReplayAnswer(id=letter_id, outcome=outcome)


def view(letter: DeadLetter) -> DeadLetterView:
    """One dead letter, without what it says: that may hold a preimage."""
    return DeadLetterView(
        id=letter.id,
        message_id=letter.message_id,
        endpoint=letter.endpoint,
        channel_point=None if letter.channel_point is None else str(letter.channel_point),
        type=letter.event_type,
        attempts=letter.attempts,
        last_error=letter.last_error,
        created_at=letter.created_at,
        died_at=letter.died_at,
        replayed_at=letter.replayed_at,
    )

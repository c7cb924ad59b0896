"""`POST /v1/channels/{cp}/force-close`: the operator asks for a channel to be closed."""

from __future__ import annotations

import uuid
from typing import Annotated

import structlog
from fastapi import APIRouter, Header

from tasks.logs import bound
from workers.gateway import closing
from workers.gateway.court import Court
from workers.gateway.responses import ForceCloseAnswer, ForceCloseRequest, refusals

_log = structlog.get_logger()


def routes(court: Court) -> APIRouter:
    """The force-close route."""
    router = APIRouter(prefix="/v1", tags=["act"])

    @router.post(
        "/channels/{cp}/force-close",
        status_code=202,
        responses=refusals(400, 401, 403, 404, 408, 409, 413, 422, 503),
    )
    def force_close(
        cp: str,
        request: ForceCloseRequest | None = None,
        authorization: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str, Header(pattern=r"^[\x21-\x7e]{1,200}$")] = "",
    ) -> ForceCloseAnswer:
        """Close a channel by our commitment. Takes the operator token; answers at once.

        Asked again, it is dropped and answered with the first request's time and txid, and the
        commitment is sent again. The same `Idempotency-Key` gets the same answer.
        """
        court.access.require_operator(authorization)
        reason = "" if request is None else request.reason
        with bound(channel_point=cp):
            key = idempotency_key or str(uuid.uuid4())
            asked = closing.ask_as_operator(court, cp, reason=reason, key=key)
            _log.info("force_close_asked", outcome=asked.answer.outcome, reason=reason)
        court.wake(asked.wake_up)
        return asked.answer

    return router

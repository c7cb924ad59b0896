"""`POST /v1/nodes/{node}/events`: where a node's webhooks arrive."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool

from workers.gateway import door
from workers.gateway.court import Court
from workers.gateway.openapi import WEBHOOK_REQUEST
from workers.gateway.rates import address_of
from workers.gateway.responses import WebhookAccepted, refusals
from workers.gateway.signatures import SignedMessage


def routes(court: Court) -> APIRouter:
    """The webhook route."""
    router = APIRouter(prefix="/v1", tags=["node"])

    @router.post(
        "/nodes/{node}/events",
        status_code=202,
        responses=refusals(400, 401, 404, 408, 409, 413, 422, 503),
        openapi_extra=WEBHOOK_REQUEST,
    )
    async def take_event(
        node: str,
        request: Request,
        webhook_id: Annotated[str, Header()] = "",
        webhook_timestamp: Annotated[str, Header()] = "",
        webhook_signature: Annotated[str, Header()] = "",
    ) -> WebhookAccepted:
        """A webhook, signed by the Standard Webhooks scheme. Answered after the commit.

        The same `webhook-id` with the same data is answered as before, with `duplicate` set,
        and changes nothing.
        """
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": webhook_timestamp,
            "webhook-signature": webhook_signature,
        }
        sender = address_of(request.scope)
        signed = SignedMessage.read(headers, await request.body(), sender)
        return await run_in_threadpool(door.take, court, node, signed)

    return router

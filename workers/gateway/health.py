"""Probes: is the process alive, and could it take a webhook now."""

from __future__ import annotations

import psycopg
from fastapi import APIRouter, Response

from storage.migrate import current_revision, head_revision, is_behind
from workers.gateway.court import Court
from workers.gateway.problems import unavailable
from workers.gateway.responses import Health, Readiness, refusals

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def routes(court: Court) -> APIRouter:
    """`/healthz`, `/readyz` and `/metrics`."""
    router = APIRouter(tags=["probes"])

    @router.get("/healthz")
    async def healthz() -> Health:
        """The process is alive. Looks at nothing else."""
        return Health()

    @router.get("/readyz", responses=refusals(503))
    def readyz() -> Readiness:
        """The database answers and is migrated: webhooks can be taken."""
        return Readiness(revision=_ready_revision(court))

    @router.get("/metrics", response_class=Response, responses=refusals(503))
    def metrics() -> Response:
        """Prometheus text."""
        return Response(court.metrics.page(), media_type=_PROMETHEUS)

    return router


def _ready_revision(court: Court) -> str:
    try:
        # The pool first: its errors are psycopg's own, and it is what a webhook would use.
        with court.db.transaction():
            present = current_revision(court.db.url)
    except psycopg.Error as error:
        raise unavailable("Postgres cannot be reached") from error
    if present is None or is_behind(present):
        raise unavailable(
            f"the schema is at {present or 'nothing'}, before {head_revision()}: "
            "run contractcourt migrate"
        )
    return present

"""The gateway's application and its server."""

from __future__ import annotations

import signal
import time
from contextlib import AbstractContextManager, closing, nullcontext
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from storage import census
from storage.census import Census
from storage.database import Database
from tasks.settings import Settings
from tasks.signer_client import SignerClient
from workers.gateway import (
    channels_api,
    dead_letters_api,
    docs_page,
    force_close_api,
    health,
    openapi,
    page,
    problems,
    webhooks,
)
from workers.gateway.access import Access
from workers.gateway.court import Court
from workers.gateway.limits import BodyLimit
from workers.gateway.metrics import Counted, GatewayMetrics
from workers.gateway.wakeup import Waker

#: Connections to Postgres. More requests than that wait for one, then are told to come again.
_POOL_SIZE = 16
_POOL_WAIT_SECONDS = 5.0
#: A webhook is answered without our point rather than late.
_SIGNER_SECONDS = 2.0
_MAX_HEADER_BYTES = 16_384


def create_app(court: Court) -> FastAPI:
    """The gateway's routes over one court."""
    app = FastAPI(
        title="contractcourt",
        version="0.1.0",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    openapi.install(app)
    problems.install(app)
    for routes in (webhooks, channels_api, dead_letters_api, force_close_api, health, page):
        app.include_router(routes.routes(court))
    app.include_router(docs_page.routes(app))
    # The last added stands outermost: refused bodies are counted too.
    app.add_middleware(BodyLimit, max_bytes=court.max_body_bytes)
    app.add_middleware(Counted, metrics=court.metrics, clock=time.perf_counter)
    return app


def metrics_of(db: Database) -> GatewayMetrics:
    """Counters whose business figures come from `db`."""

    def count() -> Census:
        with db.transaction() as conn:
            return census.count(conn)

    return GatewayMetrics(count)


def serve(settings: Settings) -> None:
    """Serve until the process is told to stop.

    Raises:
        SettingsError: the database is not named.
    """
    # uvicorn raises the signal again after its own shutdown; ours still has to follow.
    signal.signal(signal.SIGTERM, _leave)
    db = Database(
        settings.required_database_url,
        max_size=_POOL_SIZE,
        application_name="contractcourt-gateway",
        wait_seconds=_POOL_WAIT_SECONDS,
    )
    with closing(db), closing(Waker()) as waker, _signer(settings) as signer:
        court = Court(
            db=db,
            access=Access(settings.operator_token, settings.viewer_token, settings.protect_reads),
            metrics=metrics_of(db),
            wake=waker,
            signer=signer,
            max_body_bytes=settings.max_body_bytes,
        )
        uvicorn.run(
            create_app(court),
            host=settings.gateway_host,
            port=settings.gateway_port,
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            timeout_graceful_shutdown=20,
        )


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _signer(settings: Settings) -> AbstractContextManager[SignerClient | None]:
    if settings.signer_url is None or settings.signer_token is None:
        return nullcontext()
    return SignerClient(settings.signer_url, settings.signer_token, timeout_seconds=_SIGNER_SECONDS)

"""The gateway's application and its server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, closing, nullcontext

import redis
import uvicorn
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.types import Scope

from storage import census, sight
from storage.census import Census
from storage.database import Database
from storage.sight import Sight
from tasks import backlog
from tasks.backlog import Backlog
from tasks.collector import collect_seldom
from tasks.reserve import RESERVE
from tasks.settings import Settings
from tasks.signer_client import SignerClient
from tasks.webhook_key import webhook_seal
from workers import listening
from workers.gateway import (
    channels_api,
    dead_letters_api,
    docs_page,
    force_close_api,
    health,
    openapi,
    problems,
    webhooks,
)
from workers.gateway.access import Access
from workers.gateway.court import Court
from workers.gateway.desk import routes as desk
from workers.gateway.desk import visitors
from workers.gateway.desk.sessions import Sessions
from workers.gateway.desk.stream import Stream
from workers.gateway.head_requests import HeadAsGet
from workers.gateway.heads import PromptHeads
from workers.gateway.limits import BodyLimit
from workers.gateway.metrics import Counted, GatewayMetrics
from workers.gateway.rates import Rate, Rates, StrangersLimit
from workers.gateway.responses import refusals
from workers.gateway.wakeup import Waker

#: Connections to Postgres. More requests than that wait for one, then are told to come again.
_POOL_SIZE = 16
_POOL_WAIT_SECONDS = 5.0
#: A webhook is answered without our point rather than late.
_SIGNER_SECONDS = 2.0
_MAX_HEADER_BYTES = 16_384
#: So many are accepted before the first of them is looked at: with those that may be at their
#: requests (`heads`) they are fewer than a process may have open.
_BACKLOG = 128
#: For requests under way at the end; `up` and container runtimes give ten for all of it (C13).
_GRACE_SECONDS = 5


def create_app(court: Court, stream: Stream | None = None) -> FastAPI:
    """The gateway's routes over one court; `stream` is what its open pages listen to."""
    app = FastAPI(
        title="contractcourt",
        version="0.1.0",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=refusals(429, 500),
    )
    openapi.install(app)
    problems.install(app)
    for routes in (webhooks, channels_api, dead_letters_api, force_close_api, health):
        app.include_router(routes.routes(court))
    app.include_router(desk.routes(court, stream or stream_of(court.db)))
    app.include_router(docs_page.routes(app))
    # The last added stands outermost: refused bodies are counted too.
    app.add_middleware(BodyLimit, max_bytes=court.max_body_bytes)
    app.add_middleware(StrangersLimit, rates=court.rates, has_login=_login_of(court.access))
    app.add_middleware(Counted, metrics=court.metrics, clock=time.perf_counter)
    app.add_middleware(HeadAsGet)
    return app


def _login_of(access: Access) -> Callable[[Scope], bool]:
    sessions = Sessions(access)
    return lambda scope: visitors.has_login(access, sessions, HTTPConnection(scope))


def metrics_of(db: Database, redis_url: str | None = None) -> GatewayMetrics:
    """Counters whose business figures come from `db`, and from the broker if it is named."""

    def count() -> Census:
        with db.looking() as conn:
            return census.count(conn, RESERVE)

    def measure() -> Backlog | None:
        try:
            return None if redis_url is None else backlog.measure(redis_url)
        except redis.RedisError:
            return None

    return GatewayMetrics(count, measure)


def stream_of(db: Database) -> Stream:
    """What open pages listen to; it looks into `db` only while one does."""

    def look(channel_ids: Collection[int]) -> Sight:
        with db.looking() as conn:
            return sight.look(conn, channel_ids)

    return Stream(look)


class _Server(uvicorn.Server):
    """Ends the streams of open pages first: a shutdown would wait for them in vain."""

    def __init__(self, config: uvicorn.Config, stream: Stream) -> None:
        super().__init__(config)
        self._stream = stream

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stream.close()
        await super().shutdown(sockets)


def server_config(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """How a gateway is served."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=PromptHeads,
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def serve(settings: Settings) -> None:
    """Serve until the process is told to stop.

    Raises:
        SettingsError: the database is not named.
        CannotListen: the port is taken.
    """
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
            metrics=metrics_of(db, settings.redis_url),
            wake=waker,
            signer=signer,
            max_body_bytes=settings.max_body_bytes,
            webhook_seal=webhook_seal(settings),
            rates=Rates(
                Rate(settings.node_rate, settings.node_rate * 10),
                Rate(settings.stranger_rate, settings.stranger_rate * 50),
            ),
        )
        stream = stream_of(db)
        app = create_app(court, stream)
        config = server_config(app, settings.gateway_host, settings.gateway_port)
        collect_seldom()
        listening.serve(_Server(config, stream))


def _signer(settings: Settings) -> AbstractContextManager[SignerClient | None]:
    if settings.signer_url is None or settings.signer_token is None:
        return nullcontext()
    return SignerClient(settings.signer_url, settings.signer_token, timeout_seconds=_SIGNER_SECONDS)

"""What the doctor asks of others' servers: Postgres, Redis, the Bitcoin node."""

from __future__ import annotations

from contextlib import closing

import psycopg
import redis

from chain import readiness
from chain.bitcoin_core import BitcoinCore
from chain.errors import ChainError, ChainUnavailable
from contractcourt.units import BlockHeight
from storage import blocks
from storage.errors import OldPostgres, WrongEncoding
from storage.migrate import current_revision, head_revision, is_behind
from tasks.settings import VISIBILITY_FACTOR, Settings
from workers.doctor.asking import ask_postgres
from workers.doctor.finding import (
    TIMEOUT_SECONDS,
    UP_HINT,
    Finding,
    fine,
    missing,
    wrong,
)
from workers.errors import last_line

OLDEST_REDIS = (6, 2)
#: What Postgres reports of itself: a standby, or a primary that is barred.
_READ_ONLY = ("in_hot_standby", "default_transaction_read_only")


def check_settings(settings: Settings) -> list[Finding]:
    """Settings that make no sense were refused when they were loaded; this shows the rule kept."""
    limit, timeout = settings.task_time_limit_seconds, settings.visibility_timeout_seconds
    words = (
        f"tasks end within {limit} s, and the broker delivers again after {timeout} s "
        f"(at least {VISIBILITY_FACTOR} times as long)"
    )
    return [fine("settings", words)]


def check_postgres(settings: Settings) -> list[Finding]:
    """Reachable, new enough, migrated, taking writes."""
    url = settings.database_url
    if url is None:
        return [missing("postgres", "DATABASE_URL")]
    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT_SECONDS) as connection:
            version = connection.info.server_version // 10_000
            told = map(connection.info.parameter_status, _READ_ONLY)
            takes_writes = "on" not in told
        revision, head = current_revision(url), head_revision()
    except (OldPostgres, WrongEncoding) as error:
        return [wrong("postgres", str(error))]
    except Exception as error:  # psycopg's and SQLAlchemy's: whatever it is, say it
        advice = f"is Postgres running there, and is DATABASE_URL right? {UP_HINT}"
        return [
            wrong("postgres", f"does not answer, or does not let us in: {last_line(error)}", advice)
        ]
    if is_behind(revision):
        state = f"its schema is at {revision or 'nothing'}, this code needs {head}"
        return [wrong("postgres", state, "run `contractcourt migrate`")]
    if not takes_writes:
        advice = "point DATABASE_URL at the primary; a provider may also bar writes to a full disk"
        return [wrong("postgres", "is read-only: nothing that happens can be stored", advice)]
    ahead = "" if revision == head else f", ahead of this code's {head}, which it serves too"
    return [fine("postgres", f"version {version}, schema {revision}{ahead}")]


def check_redis(settings: Settings) -> list[Finding]:
    """Reachable, new enough, refusing rather than evicting, taking writes."""
    if settings.redis_url is None:
        return [missing("redis", "REDIS_URL")]
    try:
        client = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            decode_responses=True,
        )
        with closing(client):
            server = client.info("server")
            policy = client.info("memory").get("maxmemory_policy", "unknown")
            refusal = _refused_write(client)
    except redis.RedisError as error:
        advice = f"is Redis running there, and is REDIS_URL right? {UP_HINT}"
        return [
            wrong("redis", f"does not answer, or does not let us in: {last_line(error)}", advice)
        ]
    version = str(server["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    findings = [
        fine("redis", f"version {version}")
        if numbers >= OLDEST_REDIS
        else wrong("redis", f"is version {version}", "Celery needs Redis 6.2 or later, or Valkey")
    ]
    if policy != "noeviction":
        advice = "set maxmemory-policy noeviction: an evicted wake-up is only found by reconcile"
        findings.append(wrong("redis", f"throws keys away when full ({policy})", advice))
    if refusal:
        advice = "no wake-up gets through: point REDIS_URL at the primary, or give it room"
        findings.append(wrong("redis", f"takes no writes: {refusal}", advice))
    return findings


def _refused_write(client: redis.Redis) -> str:
    """Why it takes none, as a replica, a full one and one that can't save do; empty if it does."""
    try:
        client.set("contractcourt.doctor", "", px=1)
    except redis.exceptions.NoPermissionError:
        return ""  # of a user that may write the queues alone
    except redis.ResponseError as error:
        return last_line(error)
    return ""


def check_bitcoin_node(settings: Settings) -> list[Finding]:
    """Reachable, lets us in, serves our network, is in sync, and still has what we need."""
    if settings.bitcoind_url is None:
        return [missing("bitcoind", "BITCOIND_URL")]
    # Before the node: while it is asked a block may come, and be taken in.
    cursor_height = _cursor_height(settings)
    try:
        node = BitcoinCore(
            settings.bitcoind_url,
            cookie_file=settings.bitcoind_cookie_file,
            timeout_seconds=TIMEOUT_SECONDS,
        )
        with closing(node):
            state = node.state()
    except ChainError as error:
        is_away = type(error) is ChainUnavailable  # the others say what to do
        advice = f"is a node running there, and is BITCOIND_URL right? {UP_HINT}" if is_away else ""
        return [wrong("bitcoind", str(error), advice)]
    pruned = "" if state.prune_height is None else f", pruned below {state.prune_height}"
    findings = [fine("bitcoind", f"{state.network}, height {state.height}{pruned}")]
    troubles = readiness.troubles(state, settings.network, cursor_height)
    return findings + [wrong("bitcoind", trouble.words) for trouble in troubles]


def _cursor_height(settings: Settings) -> BlockHeight | None:
    """The last block that the court has taken in; None before the first, or without Postgres."""
    if settings.database_url is None:
        return None
    cursor = ask_postgres(settings.database_url, blocks.cursor)
    return None if cursor is None else cursor.height

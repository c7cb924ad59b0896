"""`contractcourt doctor`: asks every dependency, and says in plain words what is wrong.

Each check answers with findings, never with an exception: one broken part must not hide another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import httpx2
import psycopg
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from chain.bitcoin_core import BitcoinCore
from chain.errors import ChainError
from storage import blocks, lease
from storage.database import Database
from storage.migrate import current_revision, head_revision, is_behind
from tasks.queues import QUEUES
from tasks.settings import VISIBILITY_FACTOR, Settings

OLDEST_POSTGRES = 14
OLDEST_REDIS = (6, 2)
_TIMEOUT_SECONDS = 5
#: How long workers are waited for; a second time, longer, where hosts are busy.
_INSPECTIONS = (1.0, 3.0)
#: kombu's own way is to try a broker for many seconds.
_IMPATIENT = {
    "max_retries": 0,
    "socket_connect_timeout": _TIMEOUT_SECONDS,
    "socket_timeout": _TIMEOUT_SECONDS,
}
_UNAUTHORIZED = (401, 403)
_COMPOSE_HINT = "or start everything with `contractcourt up`"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `advice` says what to do when it is wrong."""

    part: str
    is_wrong: bool
    words: str
    advice: str = ""

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order of the checks."""
    findings: list[Finding] = []
    for part, check in _CHECKS.items():
        try:
            findings += check(settings)
        except Exception as error:  # a check that fails itself must not hide the others
            findings.append(_wrong(part, f"could not be checked ({type(error).__name__})"))
    return findings


def check_settings(settings: Settings) -> list[Finding]:
    """Settings that make no sense were refused when they were loaded; this shows the rule kept."""
    limit, timeout = settings.task_time_limit_seconds, settings.visibility_timeout_seconds
    words = (
        f"tasks end within {limit} s, and the broker delivers again after {timeout} s "
        f"(at least {VISIBILITY_FACTOR} times as long)"
    )
    return [_fine("settings", words)]


def check_postgres(settings: Settings) -> list[Finding]:
    """Reachable, new enough, migrated."""
    url = settings.database_url
    if url is None:
        return [_missing("postgres", "DATABASE_URL")]
    try:
        with psycopg.connect(url, connect_timeout=_TIMEOUT_SECONDS) as connection:
            version = connection.info.server_version // 10_000
        revision, head = current_revision(url), head_revision()
    except Exception as error:  # psycopg's and SQLAlchemy's: whatever it is, say it
        advice = f"is Postgres running there, and is DATABASE_URL right? {_COMPOSE_HINT}"
        return [_wrong("postgres", f"does not let us in: {_last_line(error)}", advice)]
    if version < OLDEST_POSTGRES:
        advice = f"use Postgres {OLDEST_POSTGRES} or later"
        return [_wrong("postgres", f"is version {version}, which is too old", advice)]
    if is_behind(revision):
        state = f"its schema is at {revision or 'nothing'}, this code needs {head}"
        return [_wrong("postgres", state, "run `contractcourt migrate`")]
    ahead = "" if revision == head else f", ahead of this code's {head}, which it serves too"
    return [_fine("postgres", f"version {version}, schema {revision}{ahead}")]


def check_redis(settings: Settings) -> list[Finding]:
    """Reachable, new enough, refusing rather than evicting."""
    if settings.redis_url is None:
        return [_missing("redis", "REDIS_URL")]
    try:
        client = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            decode_responses=True,
        )
        with closing(client):
            server = client.info("server")
            policy = client.info("memory").get("maxmemory_policy", "unknown")
    except (redis.RedisError, ValueError) as error:  # ValueError: no Redis URL at all
        advice = f"is Redis running there, and is REDIS_URL right? {_COMPOSE_HINT}"
        return [_wrong("redis", f"does not let us in: {_last_line(error)}", advice)]
    version = str(server["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    findings = [
        _fine("redis", f"version {version}")
        if numbers >= OLDEST_REDIS
        else _wrong("redis", f"is version {version}", "Celery needs Redis 6.2 or later, or Valkey")
    ]
    if policy != "noeviction":
        advice = "set maxmemory-policy noeviction: an evicted wake-up is only found by reconcile"
        findings.append(_wrong("redis", f"throws keys away when full ({policy})", advice))
    return findings


def check_bitcoin_node(settings: Settings) -> list[Finding]:
    """Reachable, lets us in, serves our network, is in sync, and still has what we need."""
    if settings.bitcoind_url is None:
        return [_missing("bitcoind", "BITCOIND_URL")]
    try:
        node = BitcoinCore(
            settings.bitcoind_url,
            cookie_file=settings.bitcoind_cookie_file,
            timeout_seconds=_TIMEOUT_SECONDS,
        )
        with closing(node):
            state = node.state()
    except ChainError as error:
        return [_wrong("bitcoind", str(error))]
    if state.network != settings.network:
        words = f"serves {state.network}, but this court is for {settings.network}"
        return [_wrong("bitcoind", words, "set CONTRACTCOURT_NETWORK or BITCOIND_URL")]
    findings = [_fine("bitcoind", f"{state.network}, height {state.height}")]
    if state.syncing:
        findings.append(_wrong("bitcoind", "is still syncing", "wait until it has caught up"))
    if state.prune_height is not None:
        findings += _check_pruning(settings, state.prune_height)
    return findings


def check_watcher(settings: Settings) -> list[Finding]:
    """A watcher leads, and its cursor is there."""
    if settings.database_url is None:
        return []
    database = Database(settings.database_url, max_size=1, wait_seconds=_TIMEOUT_SECONDS)
    with closing(database):
        try:
            with database.transaction() as conn:
                leader = lease.read(conn, lease.CHAIN_WATCHER)
                cursor = blocks.cursor(conn)
        except psycopg.Error:
            return []  # check_postgres has said it
    if leader is None or not leader.live:
        advice = f"start `contractcourt watcher`, {_COMPOSE_HINT}"
        return [_wrong("watcher", "no watcher leads: nobody looks at the chain", advice)]
    height = "no block yet" if cursor is None else f"at height {cursor.height}"
    return [_fine("watcher", f"one leads (epoch {leader.epoch}), {height}")]


def check_workers(settings: Settings) -> list[Finding]:
    """Some worker that answers takes from each queue."""
    if settings.redis_url is None:
        return []
    missing, answered = set(QUEUES), 0
    for seconds in _INSPECTIONS:
        try:
            found = _queues_of_workers(settings.redis_url, seconds)
        except (OperationalError, redis.RedisError, OSError):
            return []  # check_redis has said it
        answered = max(answered, len(found))
        missing -= {name for names in found.values() for name in names}
        if not missing:
            return [
                _fine("workers", f"{answered} answer, and each queue has one that takes from it")
            ]
    if not answered:
        advice = f"start `contractcourt worker` on any host, {_COMPOSE_HINT}"
        return [_wrong("workers", "none answers: what happens is stored, and nobody acts", advice)]
    unserved = ",".join(name for name in QUEUES if name in missing)
    words = f"{answered} answer, but none of them takes from {unserved}"
    return [_wrong("workers", words, f"start `contractcourt worker --queues {unserved}`")]


def _queues_of_workers(redis_url: str, seconds: float) -> dict[str, set[str]]:
    """The queues of each worker that answers within so many seconds.

    Raises kombu's OperationalError, redis.RedisError or OSError: the broker does not answer.
    """
    # Not the court's own app, which reads the environment: these settings may be a data folder's.
    app = Celery("doctor", broker=redis_url, set_as_current=False)
    app.conf.broker_transport_options = _IMPATIENT
    with closing(app):
        found = app.control.inspect(timeout=seconds).active_queues() or {}
    return {worker: {str(queue["name"]) for queue in queues} for worker, queues in found.items()}


def check_signer(settings: Settings) -> list[Finding]:
    """Reachable, and it takes our token."""
    if settings.signer_url is None:
        return [_missing("signer", "CONTRACTCOURT_SIGNER_URL")]
    if settings.signer_token is None:
        return [_missing("signer", "CONTRACTCOURT_SIGNER_TOKEN")]
    url = settings.signer_url.rstrip("/")
    headers = {"Authorization": f"Bearer {settings.signer_token}"}
    try:
        with httpx2.Client(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            alive = client.get(f"{url}/healthz")
            # An empty request: refused for what it lacks by whom it lets in.
            asked = client.post(f"{url}/v1/sign", content=b"{}", headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [_silent("signer", url, error)]
    if not alive.is_success:
        return [_wrong("signer", f"answers {alive.status_code}", "its log says why")]
    if asked.status_code in _UNAUTHORIZED and "token" in asked.text:
        advice = "CONTRACTCOURT_SIGNER_TOKEN must be the same for the signer and for the workers"
        return [_wrong("signer", "does not take our token", advice)]
    return [_fine("signer", f"answers at {_shown(url)}")]


def check_gateway(settings: Settings) -> list[Finding]:
    """It takes webhooks. Without its address nobody can be asked: it may listen elsewhere."""
    if settings.gateway_url is None:
        return []
    url = settings.gateway_url.rstrip("/")
    try:
        with httpx2.Client(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            ready = client.get(f"{url}/readyz")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [_silent("gateway", url, error)]
    if not ready.is_success:
        words = f"takes no webhook: it answers {ready.status_code}"
        return [_wrong("gateway", words, "its log says why")]
    return [_fine("gateway", f"takes webhooks at {_shown(url)}")]


def _silent(part: str, url: str, error: Exception) -> Finding:
    words = f"does not answer at {_shown(url)} ({type(error).__name__})"
    return _wrong(part, words, f"start `contractcourt {part}`, {_COMPOSE_HINT}")


def _check_pruning(settings: Settings, prune_height: int) -> list[Finding]:
    """A pruned node is fine as long as the watcher is above what it threw away (users_ask B5)."""
    if settings.database_url is None:
        return []
    database = Database(settings.database_url, max_size=1, wait_seconds=_TIMEOUT_SECONDS)
    with closing(database):
        try:
            with database.transaction() as conn:
                cursor = blocks.cursor(conn)
        except psycopg.Error:
            return []
    if cursor is not None and cursor.height + 1 < prune_height:
        words = f"has pruned blocks up to {prune_height}, but the watcher is at {cursor.height}"
        return [_wrong("bitcoind", words, "let it fetch them from peers, or use another node")]
    return [_fine("bitcoind", f"is pruned below {prune_height}, which the watcher has passed")]


_CHECKS: dict[str, Callable[[Settings], list[Finding]]] = {
    "settings": check_settings,
    "postgres": check_postgres,
    "redis": check_redis,
    "bitcoind": check_bitcoin_node,
    "signer": check_signer,
    "gateway": check_gateway,
    "watcher": check_watcher,
    "workers": check_workers,
}


def _fine(part: str, words: str) -> Finding:
    return Finding(part, is_wrong=False, words=words)


def _wrong(part: str, words: str, advice: str = "") -> Finding:
    return Finding(part, is_wrong=True, words=words, advice=advice)


def _missing(part: str, variable: str) -> Finding:
    return _wrong(part, f"{variable} is not set", f"set it, {_COMPOSE_HINT} and pass --data-dir")


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__

"""What the doctor asks of the court's own processes: do they run, and do they serve us?"""

from __future__ import annotations

from contextlib import closing

import httpx2
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from contractcourt.signing import PROBLEM_TYPE
from storage import blocks, lease
from tasks.queues import QUEUES
from tasks.settings import Settings
from workers.doctor.asking import ask_postgres
from workers.doctor.finding import (
    TIMEOUT_SECONDS,
    UP_HINT,
    Finding,
    fine,
    missing,
    shown,
    wrong,
)

#: How long workers are waited for; a second time, longer, where hosts are busy.
_INSPECTIONS = (1.0, 3.0)
#: kombu's own way is to try a broker for many seconds.
_IMPATIENT = {
    "max_retries": 0,
    "socket_connect_timeout": TIMEOUT_SECONDS,
    "socket_timeout": TIMEOUT_SECONDS,
}
_UNAUTHORISED = (401, 403)


def check_watcher(settings: Settings) -> list[Finding]:
    """A watcher leads, and its cursor is there."""
    if settings.database_url is None:
        return []
    told = ask_postgres(
        settings.database_url,
        lambda conn: (lease.read(conn, lease.CHAIN_WATCHER), blocks.cursor(conn)),
    )
    if told is None:
        return []
    leader, cursor = told
    if leader is None or not leader.live:
        advice = f"start `contractcourt watcher`, {UP_HINT}"
        return [wrong("watcher", "no watcher leads: nobody looks at the chain", advice)]
    height = "no block yet" if cursor is None else f"at height {cursor.height}"
    return [fine("watcher", f"one leads (epoch {leader.epoch}), {height}")]


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
                fine("workers", f"{answered} answer, and each queue has one that takes from it")
            ]
    if not answered:
        advice = f"start `contractcourt worker` on any host, {UP_HINT}"
        return [wrong("workers", "none answers: what happens is stored, and nobody acts", advice)]
    unserved = ",".join(name for name in QUEUES if name in missing)
    words = f"{answered} answer, but none of them takes from {unserved}"
    return [wrong("workers", words, f"start `contractcourt worker --queues {unserved}`")]


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
        return [missing("signer", "CONTRACTCOURT_SIGNER_URL")]
    if settings.signer_token is None:
        return [missing("signer", "CONTRACTCOURT_SIGNER_TOKEN")]
    url = settings.signer_url.rstrip("/")
    headers = {"Authorization": f"Bearer {settings.signer_token}"}
    try:
        with httpx2.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            alive = client.get(f"{url}/healthz")
            # An empty request: refused for what it lacks by whom it lets in.
            asked = client.post(f"{url}/v1/sign", content=b"{}", headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [_silent("signer", url, error)]
    if not alive.is_success:
        return [wrong("signer", f"answers {alive.status_code}", "its log says why")]
    if asked.status_code in _UNAUTHORISED and "token" in asked.text:
        advice = "CONTRACTCOURT_SIGNER_TOKEN must be the same for the signer and for the workers"
        return [wrong("signer", "does not take our token", advice)]
    if PROBLEM_TYPE not in asked.text:
        words = f"another program answers at {shown(url)}, with {asked.status_code}"
        return [wrong("signer", words, "check CONTRACTCOURT_SIGNER_URL, and what stands between")]
    return [fine("signer", f"answers at {shown(url)}")]


def check_gateway(settings: Settings) -> list[Finding]:
    """It takes webhooks. Without its address nobody can be asked: it may listen elsewhere."""
    if settings.gateway_url is None:
        return []
    url = settings.gateway_url.rstrip("/")
    try:
        with httpx2.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            ready = client.get(f"{url}/readyz")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [_silent("gateway", url, error)]
    if not ready.is_success:
        words = f"takes no webhook: it answers {ready.status_code}"
        return [wrong("gateway", words, "its log says why")]
    return [fine("gateway", f"takes webhooks at {shown(url)}")]


def _silent(part: str, url: str, error: Exception) -> Finding:
    words = f"does not answer at {shown(url)} ({type(error).__name__})"
    return wrong(part, words, f"start `contractcourt {part}`, {UP_HINT}")

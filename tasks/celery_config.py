"""Celery's configuration, read when the app first needs it: importing the app reads nothing.

Why each line stands here: `docs/decisions/0010-celery-on-redis.md`.
"""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta

from celery.schedules import schedule
from kombu.entity import Queue

from tasks.environment import load_settings
from tasks.queues import QUEUES

_settings = load_settings()


def _keepalive() -> dict[int, int]:
    """A broker's host that vanished without a word is noticed within half a minute.

    A worker that only listens has no other way to hear of it. Linux names; others keep theirs.
    """
    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


_BEGUN_AT, _BEGUN = datetime.now(UTC), time.monotonic()


def _steady_now() -> datetime:
    """What the clock would say had nobody set it since this process began.

    By a clock that is set back beat would wait, with all its nudges, until that has caught up.
    """
    return _BEGUN_AT + timedelta(seconds=time.monotonic() - _BEGUN)


def _every(seconds: float) -> schedule:
    return schedule(seconds, nowfun=_steady_now)


broker_url = _settings.required_redis_url
broker_connection_retry_on_startup = True
# For as long as it takes: Celery's own limit ends a worker after fifty minutes without a broker.
broker_connection_max_retries = None
# A Redis that answers and refuses, as a replica or a full one does, is waited for like one that is
# away: Celery's own way is to end the worker.
broker_channel_error_retry = True
broker_transport_options = {
    "visibility_timeout": _settings.visibility_timeout_seconds,
    "socket_timeout": 10,
    "socket_keepalive": True,
    "socket_keepalive_options": _keepalive(),
    "health_check_interval": 10,
}

task_serializer = "json"
accept_content = ["json"]
result_backend = None
task_ignore_result = True
task_store_eager_result = False

task_acks_late = True
task_reject_on_worker_lost = True
task_time_limit = _settings.task_time_limit_seconds
task_soft_time_limit = _settings.task_soft_time_limit_seconds
# What runs is what counts. The usual count is of acknowledgements: each one that the broker did not
# take would cost the worker a place, until it consumes nothing any more.
worker_disable_prefetch = True
worker_prefetch_multiplier = 0
worker_max_tasks_per_child = _settings.max_tasks_per_child
worker_soft_shutdown_timeout = 5.0
worker_hijack_root_logger = False
worker_send_task_events = True
task_send_sent_event = True

timezone = "UTC"
enable_utc = True

task_default_queue = "arbitrate"
#: The urgent ones carry no other tasks but the same, for what may not wait behind the rest (C7).
task_queues = [Queue(name) for name in QUEUES]
task_routes = {
    "contractcourt.arbitrate": {"queue": "arbitrate"},
    "contractcourt.force_close": {"queue": "arbitrate"},
    "contractcourt.publish": {"queue": "publish"},
    "contractcourt.sweep": {"queue": "publish"},
    "contractcourt.hurry": {"queue": "urgent"},
    "contractcourt.rebroadcast": {"queue": "publish"},
    "contractcourt.ask_local_point": {"queue": "publish"},
    "contractcourt.notify": {"queue": "notify"},
    "contractcourt.reconcile": {"queue": "reconcile"},
    "contractcourt.archive": {"queue": "archive"},
}

#: Beat only nudges: two beats, or none, change nothing but how soon (users_ask C16).
beat_schedule = {
    "reconcile": {
        "task": "contractcourt.reconcile",
        "schedule": _every(_settings.reconcile_seconds),
        "options": {"expires": _settings.reconcile_seconds * 2},
    },
    "rebroadcast": {
        "task": "contractcourt.rebroadcast",
        "schedule": _every(_settings.rebroadcast_seconds),
        "options": {"expires": _settings.rebroadcast_seconds * 2},
    },
    "archive": {
        "task": "contractcourt.archive",
        "schedule": _every(_settings.archive_seconds),
        "options": {"expires": _settings.archive_seconds},
    },
}

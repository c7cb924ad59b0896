"""The Celery app: `celery -A tasks.app`. Importing it opens no socket and reads no setting."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import (
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)

from tasks import tracing
from tasks.collector import collect_seldom

app = Celery(
    "contractcourt",
    include=[
        "tasks.arbitrate",
        "tasks.force_close",
        "tasks.publish",
        "tasks.sweep",
        "tasks.points",
        "tasks.notify",
        "tasks.rebroadcast",
        "tasks.reconcile",
        "tasks.archive",
    ],
)
app.config_from_object("tasks.celery_config")
app.Task.Request = "tasks.in_hand:TaskInHand"


@setup_logging.connect
def _configure_logs(**_: Any) -> None:
    """Our logs, not Celery's: without this the worker replaces the handlers at start."""
    import structlog

    if structlog.is_configured():
        return  # by the command that started this process, under its own name
    from tasks.environment import load_settings
    from tasks.logs import configure

    settings = load_settings()
    configure("worker", level=settings.log_level, fmt=settings.log_format)


@worker_init.connect
def _give_nothing_back(**_: Any) -> None:
    """What a worker has in hand when it loses the broker stays with it.

    kombu would give it back by the lost connection, which ends the worker. It is done all the same,
    and else `reconcile` finds it, long before the broker gives it to another.
    """
    from kombu.transport.redis import Channel

    Channel.do_restore = False


@worker_init.connect
def _read_the_engine_in(**_: Any) -> None:
    """Before the fork, so that the first justice of no process waits for it."""
    from chain import consensus

    consensus.load()


@worker_process_init.connect
def _collect_less(**_: Any) -> None:
    """After the fork: what it brought along is no garbage."""
    collect_seldom()


@worker_process_init.connect
def _trace(**_: Any) -> None:
    """After the fork: what traces has a thread of its own."""
    tracing.start("worker")


@worker_process_shutdown.connect
def _close_resources(**_: Any) -> None:
    from tasks.resources import close

    close()
    tracing.stop()


@task_prerun.connect
def _begin_span(task: Any, **_: Any) -> None:
    """Every task is a span of its own name."""
    task.request.span = tracing.span(task.name)
    task.request.span.__enter__()


@task_postrun.connect
def _end_span(task: Any, **_: Any) -> None:
    begun = getattr(task.request, "span", None)
    if begun is not None:
        begun.__exit__(None, None, None)

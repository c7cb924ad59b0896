"""A Celery task that does nothing, under the court's own configuration: the floor of a task."""

from __future__ import annotations

from celery import Celery
from kombu.entity import Queue

from tasks import celery_config

app = Celery("bench")
app.config_from_object(celery_config)
app.conf.task_queues = [Queue("bench")]
app.conf.task_default_queue = "bench"
app.conf.task_routes = {}


@app.task(name="bench.nothing")
def nothing() -> None:
    """Do nothing."""

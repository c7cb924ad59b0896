"""Wake-ups: the only thing that travels through Redis. Losing one costs only time (users_ask C4).

Each message carries an idempotency key. Applying is idempotent by itself, so the key is for
people: the same key in two log lines is one message delivered twice.

Each call answers whether the broker took it. What it did not take stands in Postgres, committed,
where `reconcile` finds it: nobody has to do anything about it (P5). A broker that is away is found
out at once, and is not asked again for a moment, so that nobody waits for it.

What is urgent goes to queues of its own, each with a worker of its own (users_ask C7): `urgent` for
what is done at once, `urgent_sweeps` for the rounds, which take their time. Where one worker takes
from both, they make way for the other (`tasks.way`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Sequence

import structlog
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.pools import producers

from tasks import arbitration
from tasks.app import app

_log = structlog.get_logger()

#: Urgent channels, of which the first waits for the last, or outbox rows, told of in one message.
#: Of other channels as many as are advanced in one commit.
CHUNK = 200
#: kombu's own way is to try for many seconds; whoever wakes here holds a lease or an answer.
_IMPATIENT = {"max_retries": 0, "socket_connect_timeout": 2, "socket_timeout": 2}
_ASK_AGAIN_AFTER_SECONDS = 1.0
URGENT_QUEUE = "urgent"
URGENT_SWEEPS_QUEUE = "urgent_sweeps"

_TASK_OF = {
    "publish_commitment": "contractcourt.publish",
    "publish_htlc_transaction": "contractcourt.publish",
    "notify_node": "contractcourt.notify",
    "notify_operator": "contractcourt.notify",
    "ask_local_point": "contractcourt.ask_local_point",
}


def wake(channel_ids: Sequence[int], *, urgent: bool = False) -> bool:
    """Tell the workers that these channels have something to apply."""
    most = CHUNK if urgent else arbitration.CHUNK
    return _send("contractcourt.arbitrate", sorted(set(channel_ids)), most, urgent=urgent)


def carry_out(rows: Iterable[tuple[int, str]], urgent: Collection[int] = ()) -> bool:
    """Tell the workers of outbox rows, as (id, kind); `urgent` has the ids of the urgent ones."""
    by_task: dict[tuple[str, bool], list[int]] = {}
    for outbox_id, kind in rows:
        by_task.setdefault((_TASK_OF[kind], outbox_id in urgent), []).append(outbox_id)
    told = [_send(task, ids, CHUNK, urgent=hurries) for (task, hurries), ids in by_task.items()]
    return all(told)


def deliver(endpoints: Iterable[str]) -> bool:
    """Tell the workers that letters wait for these endpoints."""
    told = [
        _send_one("contractcourt.notify", {"ids": [], "endpoints": [endpoint]})
        for endpoint in sorted(set(endpoints))
    ]
    return all(told)


def sweep(nodes: Iterable[str], *, urgent: bool = False) -> bool:
    """Tell the workers that something has changed for these nodes' sweeps.

    `urgent`: for what has a deadline; else for all the rest.
    """
    queue = URGENT_SWEEPS_QUEUE if urgent else None
    told = [
        _send_one("contractcourt.sweep", {"nodes": [node], "urgent": urgent}, queue)
        for node in sorted(set(nodes))
    ]
    return all(told)


def new_block() -> bool:
    """Tell the workers that the chain has moved: what is open is published again.

    What a broker forgot is looked for as well, so that a court without a beat forgets nothing
    for longer than a block takes (users_ask C16).
    """
    told = [
        _send_one("contractcourt.hurry", {}),
        _send_one("contractcourt.rebroadcast", {}),
        _send_one("contractcourt.reconcile", {}),
    ]
    return all(told)


def _send(task: str, ids: Sequence[int], most: int, *, urgent: bool) -> bool:
    chunks = [list(ids[start : start + most]) for start in range(0, len(ids), most)]
    told = [_send_one(task, {"ids": chunk}, URGENT_QUEUE if urgent else None) for chunk in chunks]
    return all(told)


def _send_one(task: str, kwargs: dict[str, object], queue: str | None = None) -> bool:
    """To this queue, or to that of the task (`celery_config.task_routes`)."""
    if _broker.is_away():
        return False
    key = f"wake:{uuid.uuid4()}"
    try:
        with producers[_connection()].acquire(block=True) as producer:
            app.send_task(
                task,
                kwargs={**kwargs, "idempotency_key": key},
                task_id=key,
                queue=queue,
                producer=producer,
                retry=False,
                ignore_result=True,
            )
    except OperationalError as error:
        _broker.went_away()
        _log.warning("broker away, reconcile will wake", task=task, error=str(error))
        return False
    return True


def _connection() -> Connection:
    """Names the pool of producers; equal ones share it."""
    usual: Connection = app.connection_for_write()
    options = {**(usual.transport_options or {}), **_IMPATIENT}
    impatient: Connection = usual.clone(transport_options=options)
    return impatient


class _Broker:
    """What this process last met at the broker."""

    def __init__(self) -> None:
        self._ask_again_at = 0.0

    def is_away(self) -> bool:
        return time.monotonic() < self._ask_again_at

    def went_away(self) -> None:
        self._ask_again_at = time.monotonic() + _ASK_AGAIN_AFTER_SECONDS


_broker = _Broker()

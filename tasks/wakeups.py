"""Wake-ups: the only thing that travels through Redis. Losing one costs only time (users_ask C4).

Each message carries an idempotency key. Applying is idempotent by itself, so the key is for
people: the same key in two log lines is one message delivered twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from tasks.app import app

#: Channels, or outbox rows, told of in one message.
CHUNK = 100

_TASK_OF = {
    "publish_commitment": "contractcourt.publish",
    "publish_htlc_transaction": "contractcourt.publish",
    "notify_node": "contractcourt.notify",
    "ask_local_point": "contractcourt.ask_local_point",
}


def wake(channel_ids: Sequence[int]) -> None:
    """Tell the workers that these channels have something to apply.

    Raises kombu.exceptions.OperationalError when the broker is away; `reconcile` heals that.
    """
    _send("contractcourt.arbitrate", sorted(set(channel_ids)))


def carry_out(rows: Iterable[tuple[int, str]]) -> None:
    """Tell the workers of outbox rows, as (id, kind)."""
    by_task: dict[str, list[int]] = {}
    for outbox_id, kind in rows:
        by_task.setdefault(_TASK_OF[kind], []).append(outbox_id)
    for task, ids in by_task.items():
        _send(task, ids)


def sweep(nodes: Sequence[str]) -> None:
    """Tell the workers that something has changed for these nodes' sweeps."""
    for node in sorted(set(nodes)):
        _send_one("contractcourt.sweep", {"nodes": [node]})


def new_block() -> None:
    """Tell the workers that the chain has moved: what is open is published again."""
    _send_one("contractcourt.rebroadcast", {})


def _send(task: str, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), CHUNK):
        _send_one(task, {"ids": list(ids[start : start + CHUNK])})


def _send_one(task: str, kwargs: dict[str, object]) -> None:
    key = f"wake:{uuid.uuid4()}"
    app.send_task(
        task,
        kwargs={**kwargs, "idempotency_key": key},
        task_id=key,
        # A broker that is away is found out at once; the caller goes on, reconcile heals.
        retry=False,
        ignore_result=True,
    )

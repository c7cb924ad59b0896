"""The names of all queues; reading them reads no setting."""

from __future__ import annotations

#: Urgent work has a worker of its own; the others lend a hand when they are free (users_ask C7).
QUEUES = (
    "urgent",
    "urgent_sweeps",
    "arbitrate",
    "publish",
    "notify",
    "reconcile",
    "archive",
)

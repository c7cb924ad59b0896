"""What every route of one gateway shares: the database, the tokens, the signer, the counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from storage.database import Database
from tasks.signer_client import SignerClient
from workers.gateway.access import Access
from workers.gateway.metrics import GatewayMetrics

#: Takes (outbox id, kind) of effects that wait to be carried out.
Wake = Callable[[Sequence[tuple[int, str]]], None]


def utc_now() -> datetime:
    """The wall clock, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Court:
    """The parts a route needs.

    `wake` tells the workers which effects wait; it may fail, and then
    `reconcile` finds the work later (users_ask C10). Without a `signer` our per-commitment
    points are asked for when they are needed.
    """

    db: Database
    access: Access
    metrics: GatewayMetrics
    wake: Wake
    signer: SignerClient | None = None
    max_body_bytes: int = 1_048_576
    now: Callable[[], datetime] = utc_now

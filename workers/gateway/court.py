"""What every route of one gateway shares: the database, the tokens, the signer, the counters."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.database import Database
from storage.seal import Seal
from tasks.signer_client import SignerClient
from workers.gateway.access import Access
from workers.gateway.metrics import GatewayMetrics
from workers.gateway.rates import Rates
from workers.gateway.wakeup import Wake


@dataclass(frozen=True, slots=True)
class Court:
    """The parts a route needs.

    `wake` tells the workers what a commit left to do; that may fail, and then
    `reconcile` finds the work later (users_ask C10). Without a `signer` our per-commitment
    points are asked for when they are needed; without a `webhook_seal` no webhook is taken.
    """

    db: Database
    access: Access
    metrics: GatewayMetrics
    wake: Wake
    signer: SignerClient | None = None
    webhook_seal: Seal | None = None
    rates: Rates = field(default_factory=Rates)
    max_body_bytes: int = 1_048_576

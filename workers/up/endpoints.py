"""DIR/endpoints.json: where the parts of a running court are, for its owner only.

It appears when everything is ready, whole, and goes when the court stops; so its presence is the
sign that a script can wait for.
"""

from __future__ import annotations

import json
from pathlib import Path

from tasks.endpoints_file import ENDPOINTS_FILE
from tasks.settings import Settings
from workers.up.plan import Addresses, Tokens, allows_private_webhooks, url
from workers.up.secrets import write_private


def announce(
    data_dir: Path,
    settings: Settings,
    addresses: Addresses,
    tokens: Tokens,
    ports: dict[str, int],
) -> dict[str, str]:
    """Write the file (mode 0600) and return what stands in it."""
    endpoints = {
        "gateway": url(ports["gateway"]),
        "flower": url(ports["flower"]),
        "signer": url(ports["signer"]),
        "postgres": addresses.postgres,
        "redis": addresses.redis,
        "bitcoind": addresses.bitcoind,
        "network": settings.network,
        "allow_private_webhooks": allows_private_webhooks(settings),
        "operator_token": tokens.operator,
        "signer_token": tokens.signer,
        "seal_key_file": str(tokens.seal_key_file),
        "webhook_key": tokens.webhook_key,
    }
    write_private(data_dir / ENDPOINTS_FILE, json.dumps(endpoints, indent=1).encode() + b"\n")
    return endpoints


def withdraw(data_dir: Path) -> None:
    """The court is not (or no longer) to be found here."""
    (data_dir / ENDPOINTS_FILE).unlink(missing_ok=True)

"""What a person sees when the court is up: what runs where, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

_MEANING = {
    "gateway": "webhooks, the desk, /docs, /metrics",
    "flower": "the task fleet",
    "signer": "the only process with secrets",
    "postgres": "the truth",
    "redis": "the wake-ups",
    "bitcoind": "the chain",
}


def show(console: Console, data_dir: Path, endpoints: dict[str, str], external: set[str]) -> None:
    """Print the parts and the next commands; no password or token."""
    console.print("[bold green]The court is in session.[/] Ctrl-C ends it, the data stays.\n")
    # No table: in a narrow terminal that would cut addresses off.
    addresses = {name: without_password(endpoints[name]) for name in _MEANING}
    width = max(map(len, addresses.values()))
    for name, address in addresses.items():
        whose = "  yours" if name in external else ""
        line = f"{name:<8}  {address:<{width}}  {_MEANING[name]}{whose}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    here = data_dir == Path(".contractcourt").resolve()
    option = "" if here else f" --data-dir {shlex.quote(str(data_dir))}"
    console.print(
        f"\nAddresses with passwords and tokens: {data_dir / 'endpoints.json'}\n"
        f"Logs, one file a process:             {data_dir / 'logs'}\n"
        f"Back up:                              {data_dir / 'seal.key'}\n\n"
        "Next, in another terminal:\n"
        f"  contractcourt doctor{option}\n"
        f"  contractcourt node add alice --sweep-script 0014...{option}\n"
        f"  contractcourt channels{option}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def without_password(url: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(url)
    if parts.hostname is None:
        return url.split("?")[0]
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}"

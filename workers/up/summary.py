"""What a person sees when the court is up: what runs where, and what to do next."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

_MEANING = {
    "gateway": "webhooks, docket page, /docs, /metrics",
    "flower": "the task fleet",
    "signer": "the only process with secrets",
    "postgres": "the truth",
    "redis": "the wake-ups",
    "bitcoind": "the chain",
}


def show(console: Console, data_dir: Path, endpoints: dict[str, str], external: set[str]) -> None:
    """Print the table of parts and the next commands; no password or token."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("part", "address", "", ""):
        table.add_column(column, no_wrap=True)
    for name, meaning in _MEANING.items():
        whose = "yours" if name in external else ""
        table.add_row(name, without_password(endpoints[name]), meaning, whose)
    console.print("[bold green]The court is in session.[/] Ctrl-C ends it, the data stays.\n")
    console.print(table, soft_wrap=True)
    option = "" if data_dir == Path(".contractcourt").resolve() else f" --data-dir {data_dir}"
    console.print(
        f"\nAddresses with passwords and tokens: {data_dir / 'endpoints.json'}\n"
        f"Logs, one file a process:             {data_dir / 'logs'}\n"
        f"Back up:                              {data_dir / 'seal.key'}\n\n"
        "Next, in another terminal:\n"
        f"  contractcourt doctor{option}\n"
        f"  contractcourt node add alice --sweep-script 0014...{option}\n"
        f"  contractcourt channels{option}",
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

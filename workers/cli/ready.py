"""`contractcourt ready PART`: the health check of a container, exit 0 when the part is ready."""

from __future__ import annotations

import socket
from enum import StrEnum
from typing import assert_never

import typer

from tasks.environment import load_settings
from tasks.settings import Settings
from workers.cli.exits import Exit
from workers.cli.options import DEFAULT_DATA_DIR, DataDir
from workers.up import probes

_FLOWER = "http://127.0.0.1:5555/healthcheck"
_PING_SECONDS = 5.0


class Ready(StrEnum):
    """The parts that can be asked."""

    WATCHER = "watcher"
    GATEWAY = "gateway"
    SIGNER = "signer"
    WORKER = "worker"
    URGENT = "urgent"
    URGENT_SWEEPS = "urgent-sweeps"
    ARCHIVIST = "archivist"
    FLOWER = "flower"


def ready(part: Ready, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Ask one part on this host whether it is ready; exit 0 or 1."""
    answer = _ask(part, load_settings(data_dir=data_dir))
    print(answer or f"{part} is ready")
    raise typer.Exit(Exit.FAILED if answer else Exit.OK)


def _ask(part: Ready, settings: Settings) -> str | None:
    match part:
        case Ready.WATCHER:
            return probes.watcher(settings.required_database_url)
        case Ready.GATEWAY:
            return probes.http(f"http://127.0.0.1:{settings.gateway_port}/readyz")
        case Ready.SIGNER:
            return probes.http(f"http://127.0.0.1:{settings.signer_port}/healthz")
        case Ready.WORKER:
            return _ping_worker("court")
        case Ready.URGENT:
            return _ping_worker("urgent")
        case Ready.URGENT_SWEEPS:
            return _ping_worker("urgent-sweeps")
        case Ready.ARCHIVIST:
            return _ping_worker("archivist")
        case Ready.FLOWER:
            return probes.http(_FLOWER)
        case unreachable:
            assert_never(unreachable)


def _ping_worker(fleet_name: str) -> str | None:
    from tasks.app import app

    name = f"{fleet_name}@{socket.gethostname()}"
    answers = app.control.inspect(destination=[name], timeout=_PING_SECONDS).ping()
    return None if answers else f"{name} did not answer within {_PING_SECONDS:.0f} s"

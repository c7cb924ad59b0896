"""What the shell offers while a command is typed: this court's channel points and nodes.

A shell waits for it at every Tab, so it looks once and briefly, and offers nothing rather than
fail: the command itself says what is wrong. Every command imports this page; what asks Postgres
is imported when a shell asks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from storage.database import Connection

_CONNECT_SECONDS = 1
_WAIT_SECONDS = 2.0
#: Of a large court only so many are offered, those in court first.
_MOST = 1000

#: What is offered, and a word about it.
Offer = tuple[str, str]


def complete_channel_point(context: typer.Context, incomplete: str) -> list[Offer]:
    """Channel points that begin so, each with its node and state."""
    return _offers(context, incomplete, _channel_points)


def complete_node(context: typer.Context, incomplete: str) -> list[Offer]:
    """Names of registered nodes that begin so."""
    return _offers(context, incomplete, _nodes)


def _channel_points(conn: Connection) -> dict[str, str]:
    from storage import board, channels

    in_court = channels.by_ids(conn, board.latest_in_court(conn, _MOST))
    return {
        str(row.channel_point): f"{row.node} {row.state}"
        for row in [*in_court, *channels.list_channels(conn, limit=_MOST)]
    }


def _nodes(conn: Connection) -> dict[str, str]:
    from storage import nodes

    return {node.name: f"since {node.created_at:%Y-%m-%d}" for node in nodes.list_nodes(conn)}


def _offers(
    context: typer.Context, incomplete: str, look: Callable[[Connection], dict[str, str]]
) -> list[Offer]:
    """Ask the court of this command line; nothing when it can't be asked."""
    import psycopg

    from contractcourt.errors import ContractCourtError
    from storage.database import Database
    from tasks.environment import load_settings

    given = context.params.get("data_dir")
    try:
        settings = load_settings(**({"data_dir": given} if given else {}))
        url = settings.required_database_url
        # At once; the pool below would try again until its time is up.
        psycopg.connect(url, connect_timeout=_CONNECT_SECONDS).close()
        database = Database(url, max_size=1, wait_seconds=_WAIT_SECONDS)
        with closing(database), database.looking() as conn:
            found = look(conn)
    except (ContractCourtError, psycopg.Error, OSError):
        return []
    return [(name, words) for name, words in found.items() if name.startswith(incomplete)]

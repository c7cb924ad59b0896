"""`contractcourt webhooks`: endpoints, webhooks that were given up, and sending those again."""

from __future__ import annotations

from typing import Annotated

import typer

from storage import dead_letters, endpoints
from storage.database import Connection
from storage.dead_letters import DeadLetter, Replay
from workers.cli import tables
from workers.cli.access import find_node, looking, transaction
from workers.cli.exits import CommandFailed
from workers.cli.options import DEFAULT_DATA_DIR, LARGEST, AsJson, DataDir
from workers.cli.waking import wake_workers
from workers.gateway.dead_letters_api import view

app = typer.Typer(no_args_is_help=True, help="Webhooks to the nodes that were not taken.")

_PAGE = 1_000
Endpoint = Annotated[
    str | None,
    typer.Option("--node", metavar="NAME", help="Of this node only; @operator for alarms."),
]


@app.command("list")
def list_dead(
    node: Endpoint = None,
    with_replayed: Annotated[bool, typer.Option("--all", help="Those sent again, too.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Dead letters: webhooks that were refused until the court gave them up."""
    with looking(data_dir) as conn:
        found = _all(conn, node, with_replayed=with_replayed)
    if as_json:
        tables.write_json([view(letter).model_dump(mode="json") for letter in found])
        return
    tables.show(
        ("id", "to", "channel point", "type", "tries", "given up", "why"),
        (
            (
                letter.id,
                letter.endpoint,
                letter.channel_point or "",
                letter.event_type,
                letter.attempts,
                letter.died_at.isoformat(" ", "minutes"),
                letter.last_error,
            )
            for letter in found
        ),
        empty="no webhook was given up",
    )


@app.command("endpoints")
def list_endpoints(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """How it stands with each address that webhooks go to."""
    with looking(data_dir) as conn:
        known = endpoints.list_all(conn)
    rows = [
        {
            "name": one.name,
            "rounds_without_answer": one.failures,
            "left_alone_until": one.open_until and one.open_until.isoformat(" ", "seconds"),
            "last_answer_at": one.last_answer_at and one.last_answer_at.isoformat(" ", "seconds"),
            "last_error": one.last_error,
        }
        for one in known
    ]
    tables.show_records(
        ("name", "in a row unanswered", "left alone until", "last answer", "why"),
        rows,
        as_json=as_json,
        empty="no webhook was sent yet",
    )


@app.command("replay")
def replay(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=LARGEST)] = None,
    node: Endpoint = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Send dead letters again, each under its old webhook-id: those named, or all of a node."""
    from workers.gateway.wakeup import WakeUp

    if (node is None) == (not ids):
        raise typer.BadParameter("name dead letters by id, or all of a node with --node")
    with transaction(data_dir) as conn:
        asked = ids or [letter.id for letter in _all(conn, node)]
        outcomes = {one: dead_letters.replay(conn, one) for one in asked}
        unknown = [one for one, outcome in outcomes.items() if outcome is Replay.UNKNOWN]
        if unknown:
            raise CommandFailed(
                f"{', '.join(map(str, unknown))}: no such dead letter, and nothing was sent again; "
                "`contractcourt webhooks list` shows them"
            )
    again = [one for one, outcome in outcomes.items() if outcome is Replay.REPLAYED]
    told = wake_workers(data_dir, WakeUp(effects=tuple((one, "notify_node") for one in again)))
    print(f"sent again: {len(again)}; sent again before: {len(outcomes) - len(again)}")
    if again and not told:
        print("Redis does not answer: the workers will find them at their next round")


def _all(conn: Connection, node: str | None, *, with_replayed: bool = False) -> list[DeadLetter]:
    """However many there are: what is not shown or sent again here nobody else names.

    Raises:
        UnknownNode: a mistyped one has none, which would look as if all were well.
    """
    if node is not None and node != endpoints.OPERATOR:
        find_node(conn, node)
    found: list[DeadLetter] = []
    while page := dead_letters.list_letters(
        conn,
        endpoint=node,
        with_replayed=with_replayed,
        after=found[-1].id if found else 0,
        limit=_PAGE,
    ):
        found += page
    return found

"""Looking: straight from Postgres, so that it works when every process of the court is down."""

from __future__ import annotations

from typing import Annotated

import typer

from contractcourt.case import State
from storage import at_risk, blocks
from storage import channels as channel_table
from storage import deadlines as deadline_index
from storage import docket as dockets
from storage.channels import ChannelRow
from storage.database import Connection
from workers.cli import pictures, tables
from workers.cli.access import find, find_node, looking
from workers.cli.completion import complete_node
from workers.cli.options import DEFAULT_DATA_DIR, LARGEST, AsJson, ChannelPoint, DataDir
from workers.gateway import views
from workers.gateway.case_view import deadline, whole_case
from workers.gateway.desk.board import COUNTED

Limit = Annotated[int, typer.Option("--limit", min=1, max=LARGEST, help="Show at most so many.")]
_PAGE = 1000


def channels(
    state: Annotated[
        State | None, typer.Option("--state", case_sensitive=False, help="In this state only.")
    ] = None,
    node: Annotated[
        str | None, typer.Option("--node", autocompletion=complete_node, help="Of this node only.")
    ] = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """The channels that the court watches, in the order they were opened."""
    with looking(data_dir) as conn:
        if node is not None:
            find_node(conn, node)
        rows = _pages(conn, state, node, limit)
    if as_json:
        tables.write_json([views.summary(row).model_dump(mode="json") for row in rows])
        return
    tables.show(
        ("channel point", "node", "sat", "state", "closed by", "height"),
        (
            (r.channel_point, r.node, r.capacity_sat, r.state, r.close_kind, r.closed_height)
            for r in rows
        ),
        empty="no such channel"
        if node or state
        else "no channel: a node opens one with the webhook channel.opened",
    )


def channel(
    channel_point: ChannelPoint, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """One case: state, close, contracts, our transactions, what is due next."""
    with looking(data_dir) as conn:
        view = whole_case(conn, find(conn, channel_point))
    if as_json:
        tables.write_json(view.model_dump(mode="json"))
        return
    pictures.show_case(view)


def docket(
    channel_point: ChannelPoint,
    after: Annotated[
        int, typer.Option("--after", min=0, max=LARGEST, help="Entries above this number.")
    ] = 0,
    limit: Limit = 1000,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Everything that ever happened to a channel, in order. Secrets are blanked."""
    with looking(data_dir) as conn:
        row = find(conn, channel_point)
        entries = views.docket_entries(dockets.entries(conn, row.id, after=after, limit=limit))
    if as_json:
        tables.write_json([entry.model_dump(mode="json") for entry in entries])
        return
    tables.show(
        ("seq", "when", "what", "told by", "key"),
        (
            (e.seq, e.created_at.isoformat(" ", "seconds"), e.type, e.source, e.idempotency_key)
            for e in entries
        ),
        empty=f"nothing above number {after}",
    )


def deadlines(
    limit: Limit = 100, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Heights at which a case looks again, or by which a sweep should be mined, with the money.

    The nearest first.
    """
    with looking(data_dir) as conn:
        nearest = deadline_index.nearest(conn, limit)
        cursor = blocks.cursor(conn)
        # One HTLC has several of these rows: its money is at risk once, as the desk says it.
        at_risk_sat, is_all = at_risk.total(conn, COUNTED)
    if as_json:
        tables.write_json([deadline(d).model_dump(mode="json") for d in nearest])
        return
    tables.show(
        ("height", "blocks left", "channel point", "reason", "sat at risk"),
        (
            (
                d.height,
                d.height - cursor.height if cursor else None,
                d.channel_point,
                d.reason,
                d.value_at_risk_sat,
            )
            for d in nearest
        ),
        empty="nothing is due at any height",
    )
    if at_risk_sat:
        more = "" if is_all else "more than "
        print(f"\n{more}{tables.sat(at_risk_sat)} would be lost by waiting")


def _pages(conn: Connection, state: State | None, node: str | None, limit: int) -> list[ChannelRow]:
    rows: list[ChannelRow] = []
    while len(rows) < limit:
        page = channel_table.list_channels(
            conn,
            state=state,
            node=node,
            after=rows[-1].id if rows else 0,
            limit=min(_PAGE, limit - len(rows)),
        )
        rows += page
        if not page:
            break
    return rows

"""`contractcourt account`: who won what of a channel, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contractcourt.node_account import NodeAccount
from workers.cli import tables
from workers.cli.access import database, find, find_node, looking
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, MaybeChannelPoint
from workers.gateway import account_view
from workers.gateway.responses import AccountView


def account(
    channel_point: MaybeChannelPoint = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="NAME", help="The sums of all its channels.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Who won each output, by which transaction, at what fee; and the sums.

    Of one channel, or with --node of all channels of a node together.
    """
    if (channel_point is None) == (node is None):
        raise typer.BadParameter("name a channel point, or a node with --node")
    if node is not None:
        _account_of_node(node, as_json, data_dir)
        return
    assert channel_point is not None
    with looking(data_dir) as conn:
        told = account_view.account(conn, find(conn, channel_point))
    if as_json:
        tables.write_json(told.model_dump(mode="json"))
        return
    _show(told)


def _account_of_node(node: str, as_json: bool, data_dir: Path) -> None:
    total, after = NodeAccount(), 0
    with database(data_dir) as opened:
        with opened.looking() as conn:
            find_node(conn, node)
        while True:
            # A page a transaction: a long one would hold back vacuum.
            with opened.looking() as conn:
                page, following = account_view.of_node(conn, node, after=after)
            total = total.plus(page)
            if following is None:
                break
            after = following
    if as_json:
        told = account_view.node_view(node, total, None).model_dump(mode="json")
        tables.write_json({name: value for name, value in told.items() if name != "next_after"})
        return
    tables.show_facts(_sums_of_node(total))


def _sums_of_node(total: NodeAccount) -> list[tuple[str, object]]:
    return [
        ("channels", f"{total.channels}, of which {total.final} are final"),
        ("recovered", tables.sat(total.recovered_sat)),
        ("fees we paid", tables.sat(total.fees_sat)),
        ("the peers'", tables.sat(total.lost_sat)),
        ("given up", _sat_if_any(total.given_up_sat)),
        ("as agreed", _sat_if_any(total.agreed_sat)),
        ("not decided", _sat_if_any(total.open_sat)),
        ("sum", f"{tables.sat(total.at_commitment_sat)} on the outputs of the closes"),
        ("fees of the closes", _sat_if_any(total.closing_fee_sat)),
        ("capacity", tables.sat(total.capacity_sat)),
    ]


def _show(told: AccountView) -> None:
    tables.show(
        ("output", "what it is", "sat", "whose", "sat won", "sat fee", "height", "spent by"),
        (
            (
                line.outpoint,
                line.kind or "the peer's output",
                line.value_sat,
                account_view.WINNERS[line.winner],
                line.won_sat,
                line.fee_sat,
                line.height,
                line.txid,
            )
            for line in told.lines
        ),
        empty="the channel is open: nothing of it is spent",
    )
    print()
    tables.show_facts(_sums(told))


def _sums(told: AccountView) -> list[tuple[str, object]]:
    promise = told.promise
    return [
        ("account", "final" if told.final else "not final yet"),
        ("closed", told.close_kind and f"{told.close_kind} by {told.closing_txid}"),
        (
            "promised",
            promise and f"{tables.sat(promise.balance_sat)} balance in our newest commitment",
        ),
        ("in flight", promise and _in_flight(promise.offered_sat, promise.received_sat)),
        ("won", tables.sat(told.won_sat)),
        ("as agreed", _sat_if_any(told.agreed_sat)),
        ("the peer's", tables.sat(told.lost_sat)),
        ("given up", _sat_if_any(told.given_up_sat)),
        ("not decided", _sat_if_any(told.open_sat)),
        ("fee of the close", _sat_if_any(told.closing_fee_sat)),
        ("sum", f"{tables.sat(told.capacity_sat)}, the capacity"),
        ("fees we paid", tables.sat(told.fees_sat)),
        ("won after fees", tables.sat(told.net_sat)),
    ]


def _in_flight(offered_sat: int, received_sat: int) -> str | None:
    if not offered_sat and not received_sat:
        return None
    return f"{tables.sat(offered_sat)} offered, {tables.sat(received_sat)} received"


def _sat_if_any(amount: int) -> str | None:
    return tables.sat(amount) if amount else None

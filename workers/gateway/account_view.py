"""The accounts of a channel and of a node as the API and the command line show them."""

from __future__ import annotations

from contractcourt.account import account_of
from contractcourt.codec import to_builtins
from contractcourt.node_account import NodeAccount, add_up
from storage import broadcasts, cases, channels
from storage.channels import ChannelRow
from storage.database import Connection
from storage.errors import UnknownChannel
from workers.gateway.responses import AccountView, NodeAccountView

#: Who won an output, as people are told it.
WINNERS = {
    "us": "ours",
    "peer": "the peer's",
    "open": "not decided",
    "given_up": "given up",
    "agreed": "as agreed",
}


def account(conn: Connection, row: ChannelRow) -> AccountView:
    """Who won each output so far. Raises UnknownChannel when the channel has no case."""
    stored = cases.read(conn, row.id)
    if stored is None:
        raise UnknownChannel(f"channel {row.channel_point} has no case")
    told = account_of(stored.case, broadcasts.fees_paid(conn, row.id))
    facts = to_builtins(told) | {"net_sat": told.net_sat, "channel_point": str(row.channel_point)}
    return AccountView.model_validate(facts)


def of_node(
    conn: Connection, node: str, *, after: int = 0, limit: int = 1000
) -> tuple[NodeAccount, int | None]:
    """The sums of one page of a node's channels, and where the next one begins, if there is one."""
    rows = channels.list_channels(conn, node=node, after=after, limit=limit + 1)
    ids = [row.id for row in rows[:limit]]
    fees = broadcasts.fees_paid_many(conn, ids)
    total = add_up(
        account_of(stored.case, fees.get(stored.channel_id, {}))
        for stored in cases.read_many(conn, ids)
    )
    return total, ids[-1] if len(rows) > limit else None


def node_view(node: str, total: NodeAccount, next_after: int | None) -> NodeAccountView:
    """As the API says it."""
    facts = to_builtins(total) | {
        "node": node,
        "at_commitment_sat": total.at_commitment_sat,
        "next_after": next_after,
    }
    return NodeAccountView.model_validate(facts)

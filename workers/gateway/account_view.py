"""The account of one channel as the API and the command line show it."""

from __future__ import annotations

from contractcourt.account import account_of
from contractcourt.codec import to_builtins
from storage import broadcasts, cases
from storage.channels import ChannelRow
from storage.database import Connection
from storage.errors import UnknownChannel
from workers.gateway.responses import AccountView


def account(conn: Connection, row: ChannelRow) -> AccountView:
    """Who won each output so far. Raises UnknownChannel when the channel has no case."""
    stored = cases.read(conn, row.id)
    if stored is None:
        raise UnknownChannel(f"channel {row.channel_point} has no case")
    told = account_of(stored.case, broadcasts.fees_paid(conn, row.id))
    facts = to_builtins(told) | {"net_sat": told.net_sat, "channel_point": str(row.channel_point)}
    return AccountView.model_validate(facts)

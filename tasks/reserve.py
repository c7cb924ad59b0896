"""Whether each node's fee wallet could pay for its anchors, long before it has to (users_ask L10).

A force close of a channel with anchors needs coins that are confirmed and not tied up: one for
the commitment's child, which its change then carries on to the HTLCs. As lnd does, so much is
kept for each such channel, up to a number of channels that may go to court at the same time.
"""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC
from contractcourt.units import Satoshi
from storage import alarms, channels, fee_coins, nodes
from storage.census import Reserve
from storage.database import Connection

#: For each channel with anchors, and for at most so many of a node.
RESERVE_SAT = Satoshi(10_000)
MOST_CHANNELS = 10
RESERVE = Reserve(ANCHORS_ZERO_FEE_HTLC, RESERVE_SAT, MOST_CHANNELS)


def check(conn: Connection) -> None:
    """Raise, restate or clear each node's alarm."""
    open_channels = channels.count_open_by_node(conn, ANCHORS_ZERO_FEE_HTLC)
    for node in nodes.list_nodes(conn):
        count = open_channels.get(node.name, 0)
        missing = missing_coins(conn, node.name, count)
        if missing:
            message = (
                f"the fee wallet of {node.name} lacks {missing} coins of {RESERVE_SAT} sat each "
                f"({missing * RESERVE_SAT} sat) for its {count} channels with anchors: pay them "
                "to it (or import one: contractcourt keys import)"
            )
            alarms.keep_raised(conn, None, AlarmKind.FEE_WALLET_RESERVE, message, node=node.name)
        else:
            alarms.clear_kind(conn, None, AlarmKind.FEE_WALLET_RESERVE, node=node.name)


def missing_coins(conn: Connection, node: str, channels_with_anchors: int) -> int:
    """How many coins of at least `RESERVE_SAT` the fee wallet lacks for so many channels."""
    wanted = min(channels_with_anchors, MOST_CHANNELS)
    large_enough = [c for c in fee_coins.unspent(conn, node) if c.value_sat >= RESERVE_SAT]
    return max(0, wanted - len(large_enough))

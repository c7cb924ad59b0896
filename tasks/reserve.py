"""Whether each node's fee wallet could pay for its anchors, long before it has to (users_ask L10).

A force close of a channel with anchors needs coins that are confirmed and not tied up: one for
the commitment's child, which its change then carries on to the HTLCs. As lnd does, so much is
kept for each such channel, up to a number of channels that may go to court at the same time.
"""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC
from contractcourt.units import Satoshi
from storage import alarms, fee_reserve
from storage.database import Connection
from storage.fee_reserve import Lacking, Reserve

#: For each channel with anchors, and for at most so many of a node.
RESERVE_SAT = Satoshi(10_000)
MOST_CHANNELS = 10
RESERVE = Reserve(ANCHORS_ZERO_FEE_HTLC, RESERVE_SAT, MOST_CHANNELS)
_KIND = AlarmKind.FEE_WALLET_RESERVE


def check(conn: Connection) -> None:
    """Raise, restate or clear each node's alarm. What is as it was costs nothing for each node."""
    lacking = {one.node: _message(one) for one in fee_reserve.lacking(conn, RESERVE)}
    said = alarms.open_of_nodes(conn, _KIND)
    for node, message in lacking.items():
        if said.get(node) != [message]:
            alarms.keep_raised(conn, None, _KIND, message, node=node)
    for node in said.keys() - lacking.keys():
        alarms.clear_kind(conn, None, _KIND, node=node)


def _message(lacking: Lacking) -> str:
    counted = "or more " if lacking.channels == MOST_CHANNELS else ""
    return (
        f"the fee wallet of {lacking.node} lacks {lacking.coins} coins of {RESERVE_SAT} sat each "
        f"({lacking.coins * RESERVE_SAT} sat) for its {lacking.channels} {counted}channels with "
        "anchors: pay them to it (or import one: contractcourt keys import)"
    )

"""One round of sweeping for one node: send what is free, then tend what is out.

An urgent round looks at what has a deadline alone, the others at all the rest. It is long when many
channels close, and makes way between two batches for whatever is urgent and short.
"""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.sweeping.market import Market
from contractcourt.units import BlockHeight
from storage import settling
from tasks.resources import Resources
from tasks.signer_client import SignerUnavailable
from tasks.sweeper.desk import Desk, MadeWay
from tasks.sweeper.sweeping import Sweeping
from tasks.sweeper.tending import Tending


class SweepRound:
    """The round. Raises SignerUnavailable or ChainError when it has to be done again."""

    def __init__(
        self, held: Resources, node: str, height: BlockHeight, market: Market, *, urgent: bool
    ) -> None:
        self._desk = Desk.of(held, node, height, market, urgent=urgent)
        self._tending = Tending(self._desk)
        self._sweeping = Sweeping(self._desk, self._tending)

    def run(self, *, since: int | None, position: int) -> None:
        """Sweep, then tend: everything, or what has changed since the last round.

        What tending takes back is swept at its end.

        Args:
            since: the transaction from which on to look at changes; None: at everything.
            position: that in which this round began.

        Raises MadeWay between two batches.
        """
        if since is None:
            self._desk.held.db.run(lambda conn: settling.settle(conn, self._desk.node))
        try:
            self._sweeping.run(since)
        except MadeWay:
            raise
        except Exception as error:
            # What is out is sent again, whatever keeps the new from following it.
            self._tending.run(since, signs=not isinstance(error, SignerUnavailable))
            raise
        self._tending.run(since)
        self._sweeping.run(position)

    def sweep_these(self, outpoints: Sequence[OutPoint]) -> None:
        """Sweep those of these that are free, and look at nothing else.

        What is paid for by the fee wallet is left to a round: that sees who else needs the coins.
        """
        self._sweeping.these(outpoints)

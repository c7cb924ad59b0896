"""What the two halves of a round share: its node, its height, its wallet and its ways out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.sweeping.market import Market
from contractcourt.units import BlockHeight
from storage.sweep_inputs import Illegible, StoredSweep
from tasks.resources import Resources
from tasks.sweeper.findings import Findings
from tasks.sweeper.outgoing import Outgoing
from tasks.sweeper.wallet import NodeWallet

#: Transactions signed, tried, stored and sent together.
AT_ONCE = 20


class MadeWay(Exception):
    """Something urgent waits: the round is to go on after it."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One round's; `urgent`: what has a deadline, or else all the rest."""

    held: Resources
    node: str
    height: BlockHeight
    market: Market
    urgent: bool
    wallet: NodeWallet
    findings: Findings
    outgoing: Outgoing

    @classmethod
    def of(
        cls, held: Resources, node: str, height: BlockHeight, market: Market, *, urgent: bool
    ) -> Desk:
        """With the wallet as it stands."""
        wallet = held.db.run(lambda conn: NodeWallet.read(conn, node))
        outgoing = Outgoing(held, wallet, urgent=urgent)
        return cls(held, node, height, market, urgent, wallet, Findings(held, node), outgoing)

    def legible(self, rows: Sequence[StoredSweep | Illegible]) -> list[StoredSweep]:
        """Those that can be read, and so be sent; of the others their channels have an alarm."""
        self.findings.illegible([row for row in rows if isinstance(row, Illegible)])
        legible = [row for row in rows if isinstance(row, StoredSweep)]
        self.outgoing.remember(legible)
        return legible

    def make_way(self) -> None:
        """Raises MadeWay, between two batches of an urgent round, for what is short and waits."""
        if self.urgent and self.held.way.is_wanted():
            raise MadeWay

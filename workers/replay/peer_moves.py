"""What the recorded peer had mined after the close, at the heights at which it was mined."""

from __future__ import annotations

from contractcourt.bitcoin.transaction import Transaction
from workers.replay.fixture import Fixture
from workers.simulation.client import CourtClient, Refused


class PeerMoves:
    """The peer's transactions that are still to come, in the order of the recording.

    One that was mined at a height is mined at that height here too, before what we have in the
    mempool: so each output is won by whoever won it then, unless we took it in an earlier block.
    """

    def __init__(self, fixture: Fixture, court: CourtClient) -> None:
        self._court = court
        self._to_come = [
            (height, tx)
            for height in range(fixture.close_height, fixture.end_height + 1)
            for tx in fixture.peer_transactions(height)
        ]

    def heights_after(self, height: int) -> list[int]:
        """Heights above this one at which the peer moves."""
        return [due for due, _ in self._to_come if due > height]

    def mine_one(self) -> None:
        """One block, with the peer's moves that are due in it and all of the mempool."""
        height = self._court.height() + 1
        chosen: list[str] = []
        later: list[tuple[int, str]] = []
        for due, tx in self._to_come:
            if due <= height and self._fits([*chosen, tx]):
                chosen.append(tx)
            else:
                later.append((due, tx))
        if self._mined(chosen):
            self._to_come = later
        else:
            self._court.mine(1)

    def _mined(self, chosen: list[str]) -> bool:
        """Whether consensus took them: one may still wait for a delay that began later here."""
        if not chosen:
            return False
        try:
            self._court.rpc("devnet_mine", 1, chosen, True)
        except Refused:
            return False
        return True

    def _fits(self, chosen: list[str]) -> bool:
        """Whether these can be in the next block: nothing they spend is spent in a block."""
        transactions = [Transaction.parse(bytes.fromhex(tx)) for tx in chosen]
        made = {tx.txid() for tx in transactions}
        newest = transactions[-1]
        missing = [i.outpoint for i in newest.inputs if i.outpoint.txid not in made]
        if any(self._court.rpc("gettxout", str(o.txid), o.vout, False) is None for o in missing):
            return self._accepted(chosen[-1])
        return True

    def _accepted(self, tx: str) -> bool:
        """It spends what only the mempool has, such as our commitment in this very block."""
        return bool(self._court.rpc("testmempoolaccept", [tx])[0]["allowed"])

"""Reorgs of one to a hundred blocks at every state a close goes through (users_ask L21).

However deep and whenever it comes, also after everything was final: the case ends as if only the
winning chain had ever been, and the node is told what it was, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_reorg_scenarios import KINDS, close
from tests.summary import Summary
from workers.simulation.channel import SimulatedChannel

#: As promised (P8); so many blocks stand below the close, too.
DEPTHS = range(1, 101)
#: Deep enough for the longest delay and the burial of every sweep.
_LONG = 40
#: What may win instead: the same transaction, another close, or nothing of the kind.
_OTHER_CLOSE = {"cooperative": "remote", "local": "remote", "remote": "cooperative"}


class Tale:
    """One channel, the transaction that closes it, and what may replace it."""

    def __init__(self, kind: str, channel_type: str) -> None:
        self.kind = kind
        self.sim = SimulatedChannel(f"every state, {kind}", channel_type)
        self.court = MemoryCourt()
        self.court.begin(self.sim)
        self.court.tell(*self.sim.whole_move(50_000_000))
        self.court.mine(DEPTHS[-1] + 1)
        if kind == "local":
            self.court.force_close()
        self.close = close(self.sim, kind)
        self.others: tuple[Iterable[Transaction], ...] = (
            [self.close],
            [close(self.sim, _OTHER_CLOSE.get(kind, "remote"))],
            [],
        )

    def at_every_state(self) -> Iterator[tuple[str, MemoryCourt]]:
        """The court before the close, and then whenever something about it has changed."""
        yield f"before, {self.court.state}", self.court.fork()
        court = self.court.fork()
        court.reorg(0, [self.close])
        before: object = None
        for burial in range(1, DEPTHS[-1] + 2):
            now = (court.state, court.contract_stages, burial == DEPTHS[-1])
            if now != before:
                yield f"{burial} deep, {court.state}", court.fork()
            before = now
            court.mine()

    def clean_run(self, winner: Iterable[Transaction], mined_at: int, depth: int) -> MemoryCourt:
        """A court that only ever saw the chain that won; nothing but the winner is in it yet."""
        court = self.court.fork()
        while court.height >= mined_at:
            assert not court.chain.disconnect().transactions
        while court.height < mined_at - 1:
            court.reorg(0)
        court.reorg(0, winner)
        for _ in range(depth):
            court.reorg(0)
        return court


def facts(court: MemoryCourt) -> dict[str, object]:
    """Everything that tells how the channel ended, or stands."""
    spend = court.case.funding_spend
    return {
        "state": court.state,
        "kind": court.close_kind,
        "closed": court.closed_in_database,
        "contracts": court.contract_stages,
        "spend": None if spend is None else (spend.txid, spend.height),
        "force close": None if court.case.force_close is None else court.case.force_close.txid,
        "funding watched": court.is_watched(court.case.channel.funding_outpoint),
        "published": court.published_commitments,
    }


def stages(court: MemoryCourt) -> list[tuple[str, object]]:
    """(seen | unseen | final, which transaction), in the order in which the node was told."""
    found = []
    for letter in court.notices():
        stage, txid = letter.data.get("stage"), letter.data.get("txid")
        if letter.event_type == "channel.closing" and stage != "requested":
            found.append((str(stage), txid))
    return found


def check_order(told: list[tuple[str, object]]) -> None:
    """seen, then perhaps final, then perhaps unseen; each of the transaction that was seen."""
    after = {
        "start": {"seen"},
        "seen": {"unseen", "final"},
        "final": {"unseen"},
        "unseen": {"seen"},
    }
    last, seen = "start", None
    for stage, txid in told:
        assert stage in after[last], told
        assert stage == "seen" or txid == seen, told
        last, seen = stage, txid


@pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
@pytest.mark.parametrize("kind", KINDS)
def test_l21_a_reorg_of_any_depth_at_every_state_ends_as_on_the_winning_chain(
    kind: str, channel_type: str, summary: Summary
) -> None:
    tale = Tale(kind, channel_type)
    states, reorgs = set(), 0
    for name, standing in tale.at_every_state():
        states.add(standing.state)
        for depth in DEPTHS:
            winner = list(tale.others[depth % len(tale.others)])
            court = standing.fork()
            mined_at = court.height - depth + 1
            survives = court.case.funding_spend is not None and (
                court.case.funding_spend.height < mined_at
            )
            court.reorg(depth, [] if survives else winner)
            clean = standing.fork() if survives else tale.clean_run(winner, mined_at, depth)
            for one in (court, clean):
                one.mine(_LONG)
                check_order(stages(one))
            assert facts(court) == facts(clean), f"{depth} blocks, {name}"
            reorgs += 1
    assert {tale.court.state, "FULLY_RESOLVED"} <= states
    summary(f"{kind}, {channel_type}: {reorgs} reorgs at {sorted(states)}")

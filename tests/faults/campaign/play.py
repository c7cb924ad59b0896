"""One campaign: the acts in calm weather first, then by many channels in the storm."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from random import Random

from contractcourt.case import State
from storage import channels
from storage.channels import ChannelRow
from tests.faults.campaign.cast import Cast
from tests.faults.campaign.miner import Miner
from tests.faults.campaign.storm import Storm
from tests.faults.parts import PartedCourt

#: Blocks of a squall; then everything heals, and the time to come to rest is taken.
_SQUALL_BLOCKS = 6
_GUST_EVERY = 4
#: Real time a block has at most before the next one comes, at rest or not.
_BLOCK_SECONDS = 2.0
_MOST_BLOCKS = 200
_REST_SECONDS = 300.0
_DEEPEST = 100
_SHALLOW = 6


@dataclass(slots=True)
class Run:
    """What was played and how long the court took to come to rest after each squall."""

    recoveries: list[float] = field(default_factory=list)
    events: int = 0


class Stage:
    """Plays a cast. Without a storm nothing goes wrong, and every block is waited for."""

    def __init__(
        self, court: PartedCourt, cast: Cast, miner: Miner, storm: Storm | None, random: Random
    ) -> None:
        self._court = court
        self._client = court.client
        self._cast = cast
        self._miner = miner
        self._storm = storm
        self._random = random
        self._steps = 0
        self.run = Run()

    def play(self) -> None:
        """From the opening to the end of every channel."""
        self._cast.open(self._gusty)
        self._calm()
        forced = self._cast.close(self._gusty)
        self._calm()
        self._miner.mine(forced)
        closed_at = self._client.height()
        self._squall(_SQUALL_BLOCKS)
        gone, instead = self._cast.replaced()
        depth = self._client.height() - closed_at + 1
        self._miner.reorganise(depth, instead=gone, by=instead)
        self._calm()
        self._cast.close_spliced()
        self._cast.later()
        for _ in range(_MOST_BLOCKS // _SQUALL_BLOCKS):
            if self._all_resolved():
                break
            self._squall(_SQUALL_BLOCKS)
            self._miner.mine_idle_ones()
        if self._storm is not None:
            self._deep_reorg()
        self.run.events = sum(row.last_seq for row in self._rows())

    def _squall(self, blocks: int) -> None:
        """Blocks that come whether the court is at rest or not, reorgs among them."""
        for _ in range(blocks):
            self._gust()
            self._miner.mine()
            self._breathe()
            if self._storm is not None and self._random.random() < 0.2:
                self._miner.reorganise(self._random.randint(1, _SHALLOW))
        self._calm()

    def _deep_reorg(self) -> None:
        """A hundred blocks are replaced, the closes among them; then it ends as it had."""
        self._gust()
        self._miner.reorganise(_DEEPEST)
        self._gust()
        self._calm()
        for _ in range(_SHALLOW):
            self._miner.mine()
        self._calm()

    # -- weather --

    def _gusty(self) -> None:
        self._steps += 1
        if self._steps % _GUST_EVERY == 0:
            self._gust()

    def _gust(self) -> None:
        if self._storm is not None:
            self._storm.gust()
        self._court.revive()

    def _breathe(self) -> None:
        """Until the court is at rest; in a storm only for a moment."""
        if self._storm is None:
            self._client.wait_quiet(_REST_SECONDS)
            return
        ends_at = time.monotonic() + _BLOCK_SECONDS
        while time.monotonic() < ends_at and not self._client.is_quiet():
            self._court.revive()
            time.sleep(0.1)

    def _calm(self) -> None:
        """Everything heals and comes to rest."""
        if self._storm is not None:
            self._storm.heal()
        began = time.monotonic()
        self._client.wait_quiet(_REST_SECONDS)
        if self._storm is not None:
            self.run.recoveries.append(time.monotonic() - began)

    def _all_resolved(self) -> bool:
        return all(row.state == State.FULLY_RESOLVED for row in self._rows())

    def _rows(self) -> list[ChannelRow]:
        played = {actor.channel_point for actor in self._cast.actors}
        rows = self._client.db.run(lambda conn: channels.list_channels(conn, limit=100_000))
        return [row for row in rows if str(row.channel_point) in played]

"""Blocks that the node can't give: named, never skipped, asked for with growing pauses.

A node prunes what we have not read yet, or its disk lies. The operator is told, peers are asked
for the block, and the next tries come after 1, 2, 4 ... rounds, never in a tight loop (users_ask
B4, B5).
"""

from __future__ import annotations

import structlog

from chain.errors import BlockUnavailable, ChainError
from chain.view import ChainView
from contractcourt.alarms import AlarmKind
from contractcourt.units import BlockHash, BlockHeight
from storage import alarms
from storage.database import Database

_log = structlog.get_logger()

#: With a poll every second, about a minute.
_MOST_ROUNDS = 64


class UnreadableBlock(BlockUnavailable):
    """A block of the best chain can't be read."""

    def __init__(self, height: BlockHeight, block_hash: BlockHash, reason: object) -> None:
        self.name = f"block {block_hash} at height {height}"
        self.height = height
        super().__init__(f"{self.name} can't be read: {reason}")


def read_block(chain: ChainView, height: BlockHeight, block_hash: BlockHash) -> bytes:
    """The block's bytes. Raises UnreadableBlock, which names it."""
    try:
        return chain.raw_block(block_hash)
    except BlockUnavailable as error:
        raise UnreadableBlock(height, block_hash, error) from error


class Obstacle:
    """A block in the way of one piece of work; `kind` names the alarm."""

    def __init__(self, db: Database, chain: ChainView, kind: AlarmKind) -> None:
        self._db = db
        self._chain = chain
        self._kind = kind
        self._tries = 0
        self._rounds_left = 0
        self._may_have_alarm = True  # one that an earlier process raised, too

    @property
    def stands(self) -> bool:
        """It was met and not passed since."""
        return self._tries > 0

    def is_waited_for(self) -> bool:
        """Whether this round only waits. Ask once a round."""
        if not self._rounds_left:
            return False
        self._rounds_left -= 1
        return True

    def met(self, error: UnreadableBlock) -> None:
        """Tell the operator, ask the peers, and pause."""
        self._rounds_left = min(2**self._tries, _MOST_ROUNDS)
        self._tries += 1
        self._may_have_alarm = True
        _log.error("a block can't be read", reason=str(error), tries=self._tries)
        # Without the node's words, which may change between tries: one alarm a block.
        message = f"{error.name} can't be read: use a node that has it; peers are asked meanwhile"
        self._db.run(lambda conn: alarms.raise_alarm(conn, None, self._kind, message))
        try:
            self._chain.fetch_from_peers(error.height)
        except ChainError as refused:
            _log.warning("peers can't be asked", reason=str(refused))

    def passed(self) -> None:
        """The way is free."""
        self._tries = self._rounds_left = 0
        if self._may_have_alarm:
            self._db.run(lambda conn: alarms.clear_kind(conn, None, self._kind))
            self._may_have_alarm = False

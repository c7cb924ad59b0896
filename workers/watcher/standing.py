"""Where the watcher stands, and whether the node may be followed from there."""

from __future__ import annotations

import structlog

from chain import readiness
from chain.errors import WrongNetwork
from chain.readiness import Finding, Trouble
from chain.view import ChainState, ChainView
from storage import blocks, lease
from storage.blocks import Cursor
from storage.database import Connection, Database
from storage.errors import CursorMismatch
from workers.watcher import deep_reorg
from workers.watcher.progress import NotFollowed

_log = structlog.get_logger()


class Standing:
    """The cursor, held against what the node says of itself.

    Args:
        network: which chain the court serves, in Core's names.
        not_followed: told why, while the node is not ready.
        depth: how many ancestors of the first cursor are kept, for reorgs below it.
    """

    def __init__(
        self, db: Database, chain: ChainView, network: str, not_followed: NotFollowed, *, depth: int
    ) -> None:
        self._db = db
        self._chain = chain
        self._network = network
        self._not_followed = not_followed
        self._depth = depth
        self._said: list[Trouble] = []

    def cursor(self, state: ChainState, epoch: int) -> Cursor | None:
        """Where to go on from; None while the node is not ready for it.

        Raises WrongNetwork.
        """
        with self._db.transaction() as conn:
            cursor = blocks.cursor(conn)
        height = None if cursor is None else cursor.height
        found = readiness.troubles(state, self._network, height)
        self._say(found)
        kinds = {finding.trouble for finding in found}
        if Trouble.WRONG_NETWORK in kinds:
            raise WrongNetwork(found[0].words)
        if cursor is None:
            waits = Trouble.SYNCING in kinds
        else:
            waits = Trouble.BEHIND in kinds and (
                Trouble.SYNCING in kinds or self._only_lags(state, cursor)
            )
        if waits:
            self._not_followed.because("; ".join(finding.words for finding in found))
            return None
        return self._begin(state, epoch) if cursor is None else cursor

    def _say(self, found: list[Finding]) -> None:
        """Once, not with every poll."""
        said, self._said = self._said, [finding.trouble for finding in found]
        for finding in found:
            if finding.trouble not in said:
                _log.warning("the Bitcoin node is not as it should be", words=finding.words)

    def _begin(self, state: ChainState, epoch: int) -> Cursor | None:
        """The first cursor is the tip; what was spent earlier is looked back for."""
        hashes = deep_reorg.tip_and_ancestors(self._chain, state, self._depth)
        if hashes is None:
            return None
        with self._db.transaction() as conn:
            lease.hold(conn, lease.CHAIN_WATCHER, epoch)
            _log.info("beginning to follow", height=state.height, hash=str(state.best_hash))
            return blocks.init_cursor(conn, state.height, state.best_hash, hashes[1:])

    def _only_lags(self, state: ChainState, cursor: Cursor) -> bool:
        """The node's lower tip is a block of the chain that we followed: no reorg, it is late.

        A node that was restored from a copy may lag so far that its tip is forgotten here.
        """
        lag = cursor.height - state.height
        if lag >= blocks.KEPT_BLOCKS:
            return True
        with self._db.transaction() as conn:
            known = blocks.recent_hashes(conn, lag + 1)
        return (state.height, state.best_hash) in known


def cursor_of(conn: Connection) -> Cursor:
    """The cursor of a court that has begun. Raises CursorMismatch when it is gone."""
    cursor = blocks.cursor(conn)
    if cursor is None:
        raise CursorMismatch("the chain cursor is gone")
    return cursor

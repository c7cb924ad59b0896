"""A second node's headers beside the first one's (users_ask B10).

A node that is eclipsed, or follows blocks that others refuse, looks healthy from within. While the
second one shows a chain with more work that the first is not on, no block is taken in: what is not
taken in cannot become final.
"""

from __future__ import annotations

import time

import structlog

from chain.comparison import Standing, compare
from chain.errors import ChainError
from chain.view import ChainState, ChainView
from contractcourt.alarms import AlarmKind
from contractcourt.units import BlockHash
from storage import alarms
from storage.database import Connection, Database

_log = structlog.get_logger()

#: An agreement about one tip is asked for again after so long; a second node that is away, too.
_ASK_AGAIN_SECONDS = 10.0
_ALARM_OF = {
    Standing.DIFFERS: AlarmKind.SOURCES_DIFFER,
    Standing.MINORITY: AlarmKind.MINORITY_CHAIN,
    None: AlarmKind.SECOND_SOURCE_AWAY,
}


class SecondSource:
    """The comparison of one watcher. Without a second node everything is allowed."""

    def __init__(self, db: Database, first: ChainView, second: ChainView | None) -> None:
        self._db = db
        self._first = first
        self._second = second
        self._told: Standing | None = None
        self._asked_about: BlockHash | None = None
        self._ask_again_at = 0.0
        self._said: AlarmKind | None = None
        self._may_have_alarm = True  # one that an earlier process raised, too

    def allows(self, state: ChainState) -> bool:
        """Whether the first node's best chain, as it stands, may be followed."""
        if self._second is None:
            return True
        if self._must_ask(state):
            self._told, words = self._ask(self._second, state)
            self._asked_about = state.best_hash
            self._ask_again_at = time.monotonic() + _ASK_AGAIN_SECONDS
            self._tell(words)
        return self._told is not Standing.MINORITY

    def _must_ask(self, state: ChainState) -> bool:
        """Before any new block; while they part, in every round; else now and then."""
        if time.monotonic() >= self._ask_again_at:
            return True
        if self._told is None:
            return False  # it is away, and each try may take long
        return self._told is not Standing.AGREES or state.best_hash != self._asked_about

    def _ask(self, second: ChainView, state: ChainState) -> tuple[Standing | None, str]:
        """What it says; None when it says nothing of use."""
        try:
            other = second.state()
            if other.network != state.network:
                return None, f"the second Bitcoin node serves {other.network}, not {state.network}"
            standing = compare(self._first, state, second, other)
        except ChainError as error:
            return None, f"the second Bitcoin node says nothing: {error}"
        words = (
            f"the Bitcoin node is at {state.height} {state.best_hash}, the second one at "
            f"{other.height} {other.best_hash}, on another branch"
        )
        return standing, words

    def _tell(self, words: str) -> None:
        """One alarm for what is so now, and none for what was."""
        kind = None if self._told is Standing.AGREES else _ALARM_OF[self._told]
        if kind is None and not self._may_have_alarm:
            return
        if kind is not self._said and kind is not None:
            _log.warning("the second Bitcoin node", alarm=kind.value, words=words)
        self._said = kind

        def write(conn: Connection) -> None:
            for other in _ALARM_OF.values():
                if other is not kind:
                    alarms.clear_kind(conn, None, other)
            if kind is not None:
                alarms.keep_raised(conn, None, kind, words)

        self._db.run(write)
        self._may_have_alarm = kind is not None

"""What keeps a Bitcoin node from serving the court, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chain.view import ChainState
from contractcourt.units import BlockHeight


class Trouble(StrEnum):
    """The kinds of trouble a node can be in."""

    WRONG_NETWORK = "wrong_network"
    SYNCING = "syncing"
    BEHIND = "behind"
    PRUNED_BELOW_CURSOR = "pruned_below_cursor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble; `words` say what is wrong and what to do."""

    trouble: Trouble
    words: str


def troubles(
    state: ChainState, network: str, cursor_height: BlockHeight | None = None
) -> list[Finding]:
    """What is wrong with a node that stands so; the gravest first."""
    if state.network != network:
        words = (
            f"the Bitcoin node serves {state.network}, this court {network}: "
            "set CONTRACTCOURT_NETWORK or BITCOIND_URL"
        )
        return [Finding(Trouble.WRONG_NETWORK, words)]
    found = []
    behind = cursor_height is not None and state.height < cursor_height
    if state.syncing:
        words = f"the Bitcoin node is still syncing, at height {state.height}: wait for it"
        found.append(Finding(Trouble.SYNCING, words))
    if behind:
        words = (
            f"the Bitcoin node is at height {state.height}, the court at {cursor_height}: "
            "wait for it, or use a node that is in sync"
        )
        found.append(Finding(Trouble.BEHIND, words))
    if is_pruned_below(state, cursor_height):
        words = (
            f"the Bitcoin node has pruned its blocks below {state.prune_height}, the court is at "
            f"{cursor_height}: it fetches them from peers; a node with all blocks is quicker"
        )
        found.append(Finding(Trouble.PRUNED_BELOW_CURSOR, words))
    return found


def is_pruned_below(state: ChainState, cursor_height: BlockHeight | None) -> bool:
    """Whether the node has thrown away the block after the cursor (users_ask B5)."""
    if state.prune_height is None or cursor_height is None:
        return False
    return cursor_height + 1 < state.prune_height

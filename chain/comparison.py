"""Two nodes' best chains side by side: is one of them cut off from the chain with more work?"""

from __future__ import annotations

from enum import Enum

from chain.view import ChainState, ChainView


class Standing(Enum):
    """How the first node's best chain stands to the second one's."""

    #: One is the other, or only the beginning of it.
    AGREES = "agrees"
    #: They part, and the second one has no more work.
    DIFFERS = "differs"
    #: They part, and the second one has more work.
    MINORITY = "minority"


def compare(first: ChainView, state: ChainState, second: ChainView, other: ChainState) -> Standing:
    """How `first`, which stands at `state`, stands to `second`, which stands at `other`.

    One call, to whichever node is ahead. Raises ChainError.
    """
    if other.height >= state.height:
        together = second.block_hash(state.height) == state.best_hash
    else:
        together = first.block_hash(other.height) == other.best_hash
    if together:
        return Standing.AGREES
    return Standing.MINORITY if other.work > state.work else Standing.DIFFERS

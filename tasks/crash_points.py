"""The named steps between "event seen" and "effect done", where a process may die.

Each step is told to whoever watches; in a court nobody does, and nothing here can be made to by a
setting, a file or a message: only code that runs in the process itself. The tests put such code
there, and kill the process at each step in turn (docs/explanation/faults.md).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    """Every step, by the process that takes it. "commit" is the commit of that step's rows."""

    # The watcher: a block, a reorg, a spend from before it was watched, a preimage in the mempool.
    BLOCK_READ = "block_read"
    BLOCK_BEFORE_COMMIT = "block_before_commit"
    BLOCK_COMMITTED = "block_committed"
    WATCHER_WOKE = "watcher_woke"
    REORG_BEFORE_COMMIT = "reorg_before_commit"
    REORG_COMMITTED = "reorg_committed"
    LOOK_BACK_BEFORE_COMMIT = "look_back_before_commit"
    LOOK_BACK_COMMITTED = "look_back_committed"
    MEMPOOL_LOOK_BEFORE_COMMIT = "mempool_look_before_commit"
    MEMPOOL_LOOK_COMMITTED = "mempool_look_committed"

    # The gateway: a node's webhook, an operator's force close.
    DOOR_BEFORE_COMMIT = "door_before_commit"
    DOOR_COMMITTED = "door_committed"
    DOOR_BEFORE_ANSWER = "door_before_answer"
    FORCE_CLOSE_BEFORE_COMMIT = "force_close_before_commit"
    FORCE_CLOSE_COMMITTED = "force_close_committed"

    # A worker arbitrates.
    CASES_LOCKED = "cases_locked"
    LAW_ASKED = "law_asked"
    VERDICT_BEFORE_COMMIT = "verdict_before_commit"
    VERDICT_COMMITTED = "verdict_committed"
    HANDED_ON = "handed_on"

    # A worker publishes what is as it stands.
    PUBLISH_TAKEN = "publish_taken"
    PUBLISH_SIGNED = "publish_signed"
    PUBLISH_BEFORE_COMMIT = "publish_before_commit"
    PUBLISH_STORED = "publish_stored"
    PUBLISH_SENT = "publish_sent"

    # A worker sweeps, in a round for one node.
    ROUND_BEGUN = "round_begun"
    SWEEP_TENDED = "sweep_tended"
    SWEEP_TRIED = "sweep_tried"
    SWEEP_BEFORE_COMMIT = "sweep_before_commit"
    SWEEP_STORED = "sweep_stored"
    SWEEP_SENT = "sweep_sent"
    ROUND_DONE = "round_done"
    ROUND_ENDED = "round_ended"

    # The node has the transaction; its answer is not kept yet, then is.
    NODE_ANSWERED = "node_answered"
    OUTCOME_BEFORE_COMMIT = "outcome_before_commit"
    OUTCOME_STORED = "outcome_stored"

    # A worker tells the node, asks for our point, looks for what was forgotten.
    NOTIFY_TAKEN = "notify_taken"
    NOTIFY_SENT = "notify_sent"
    NOTIFY_STORED = "notify_stored"
    POINT_TAKEN = "point_taken"
    POINT_LEARNED = "point_learned"
    POINT_STORED = "point_stored"
    RECONCILE_BEGUN = "reconcile_begun"
    RECONCILE_SWEEPS = "reconcile_sweeps"
    RECONCILE_WOKE = "reconcile_woke"
    REBROADCAST_BEGUN = "rebroadcast_begun"
    REBROADCAST_SETTLED = "rebroadcast_settled"

    # The signer.
    SIGNER_ASKED = "signer_asked"
    SIGNER_BEFORE_ANSWER = "signer_before_answer"


_watching: Callable[[CrashPoint], None] | None = None


def reach(point: CrashPoint) -> None:
    """This process is at that step."""
    if _watching is not None:
        _watching(point)


def watch(watching: Callable[[CrashPoint], None]) -> None:
    """Have every step of this process, and of those it forks, told to `watching`."""
    global _watching
    _watching = watching

"""`contractcourt.rebroadcast`: with every block, what is not yet settled is sent again."""

from __future__ import annotations

from functools import partial

from contractcourt.case import Case
from contractcourt.events import PublishOutcome
from storage import broadcasts, settling
from storage.broadcasts import HTLC_TRANSACTION, Broadcast
from tasks.app import app
from tasks.crash_points import CrashPoint, reach
from tasks.resources import Resources, resources
from tasks.sending import give_up, send
from tasks.sweep import begin_all_rounds

_PAGE = 200


@app.task(name="contractcourt.rebroadcast")
def rebroadcast_task(idempotency_key: str = "") -> None:
    """Hold open broadcasts against the chain, then send again those that are left."""
    del idempotency_key
    rebroadcast(resources())


def rebroadcast(held: Resources) -> None:
    """Settle, have the sweepers begin their rounds, send the rest page by page.

    When time runs out before the end, the next one begins with what was not reached.
    """
    reach(CrashPoint.REBROADCAST_BEGUN)
    held.db.run(settling.settle)
    reach(CrashPoint.REBROADCAST_SETTLED)
    begin_all_rounds(held)
    ids = held.db.run(broadcasts.open_ids)
    for start in range(0, len(ids), _PAGE):
        page = held.db.run(partial(broadcasts.open_of, ids=ids[start : start + _PAGE]))
        again = [b for b in page if _worth_sending(held, b)]
        if again:
            send(held, again)


def _worth_sending(held: Resources, broadcast: Broadcast) -> bool:
    """A missing input is a question to the chain, not a reason to send blindly (users_ask L2)."""
    if broadcast.last_outcome is not PublishOutcome.MISSING_INPUTS:
        return True
    if all(held.chain.tx_out(outpoint, mempool=True) is not None for outpoint in broadcast.inputs):
        return True
    if broadcast.purpose == HTLC_TRANSACTION:
        # A reorg took its commitment, and perhaps another one is mined; the case asks for it anew
        # when the first comes back.
        give_up(held, broadcast, lambda case: _is_there(case, broadcast))
    return False


def _is_there(case: Case, broadcast: Broadcast) -> bool:
    """The case has a contract that it spends."""
    return any(contract.outpoint in broadcast.inputs for contract in case.contracts)

"""`contractcourt.rebroadcast`: with every block, what is not yet settled is sent again."""

from __future__ import annotations

from functools import partial

from contractcourt.events import PublishOutcome
from storage import broadcasts, cases, settling
from storage.broadcasts import HTLC_TRANSACTION, Broadcast
from storage.database import Connection
from tasks import wakeups
from tasks.app import app
from tasks.crash_points import CrashPoint, reach
from tasks.resources import Resources, resources
from tasks.sending import send
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
        held.db.run(partial(_give_up_what_left_the_chain, broadcast=broadcast))
        # Whoever found the case held meanwhile left it to us, and nothing was applied.
        wakeups.wake([broadcast.channel_id])
    return False


def _give_up_what_left_the_chain(conn: Connection, broadcast: Broadcast) -> None:
    """A reorg took its commitment, and perhaps another one is mined; the case asks for it anew
    when the first comes back.

    Under the case's lock, as in `sending`: who asks again comes after this, and takes it up.
    """
    case = cases.lock_one(conn, broadcast.channel_id).case
    if all(contract.outpoint not in broadcast.inputs for contract in case.contracts):
        settling.abandon(conn, [broadcast.id])

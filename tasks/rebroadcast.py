"""`contractcourt.rebroadcast`: with every block, what is not yet settled is sent again."""

from __future__ import annotations

from chain.bitcoin_core import BitcoinCore
from contractcourt.arbitrator import following
from contractcourt.case import Case
from contractcourt.effects import SweepOutput
from contractcourt.events import PublishOutcome
from storage import broadcasts, cases, outbox
from storage.broadcasts import Broadcast
from storage.database import Connection
from tasks import wakeups
from tasks.app import app
from tasks.publish import send
from tasks.resources import Resources, resources

_PAGE = 200


@app.task(name="contractcourt.rebroadcast")
def rebroadcast_task(idempotency_key: str = "") -> None:
    """Hold open broadcasts against the chain, then send again those that are left."""
    del idempotency_key
    rebroadcast(resources())


def rebroadcast(held: Resources) -> None:
    """Settle, rebuild sweeps that are too cheap, send the rest, page by page."""
    held.db.run(broadcasts.settle)
    after = 0
    while True:
        page = _page_after(held, after)
        if not page:
            return
        after = page[-1].id
        cheap = [b for b in page if _too_cheap_sweep(b)]
        for broadcast in cheap:
            _sweep_anew(held, broadcast)
        again = [b for b in page if b not in cheap and _worth_sending(held.chain, b)]
        if again:
            send(held, again)


def _page_after(held: Resources, after: int) -> list[Broadcast]:
    return held.db.run(lambda conn: broadcasts.open_broadcasts(conn, after, _PAGE))


def _too_cheap_sweep(broadcast: Broadcast) -> bool:
    return broadcast.purpose == "sweep" and broadcast.last_outcome is PublishOutcome.FEE_TOO_LOW


def _worth_sending(chain: BitcoinCore, broadcast: Broadcast) -> bool:
    """A missing input is a question to the chain, not a reason to send blindly (users_ask L2)."""
    if broadcast.last_outcome is not PublishOutcome.MISSING_INPUTS:
        return True
    return all(chain.tx_out(outpoint, mempool=True) is not None for outpoint in broadcast.inputs)


def _sweep_anew(held: Resources, broadcast: Broadcast) -> None:
    """Give up a sweep that never got in, and ask for one at the present rate."""

    def replace(conn: Connection) -> list[tuple[int, str]]:
        stored = cases.read(conn, broadcast.channel_id)
        broadcasts.abandon(conn, broadcast.id)
        effects = [] if stored is None else _sweeps(stored.case, broadcast)
        ids = outbox.put_many(conn, [(broadcast.channel_id, effect) for effect in effects])
        return [(outbox_id, "sweep_output") for outbox_id in ids]

    wakeups.carry_out(held.db.run(replace))


def _sweeps(case: Case, broadcast: Broadcast) -> list[SweepOutput]:
    """What the law wants now for the outputs that this sweep would have taken."""
    wanted = [
        effect
        for contract in case.contracts
        if contract.outpoint in broadcast.inputs
        for effect in following.wanted_for(case, contract)
    ]
    return [effect for effect in wanted if isinstance(effect, SweepOutput)]

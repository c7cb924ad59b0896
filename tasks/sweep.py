"""`contractcourt.sweep`: a round of sweeping for each node that something has changed for.

What has a deadline is swept by rounds of its own, in a queue of its own, and a handful of it at
once by whoever has just stored it (users_ask C7).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import structlog

from chain.errors import ChainError
from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from storage import alarms, blocks, sweep_inputs, sweep_rounds
from storage.database import Connection
from storage.sweep_inputs import Wish
from storage.sweep_rounds import Claim
from tasks import wakeups
from tasks.app import app
from tasks.crash_points import CrashPoint, reach
from tasks.market import market
from tasks.resources import Resources, resources
from tasks.signer_client import SignerUnavailable
from tasks.signing import needs_no_signer
from tasks.sweeper.desk import MadeWay
from tasks.sweeper.round import SweepRound

_log = structlog.get_logger()

#: Channels whose sweeps are not left to a round. Of more, a round takes the most pressing first.
HANDFUL = 8


@app.task(name="contractcourt.sweep")
def sweep_task(nodes: list[str], idempotency_key: str, urgent: bool = False) -> None:
    """Sweep for these nodes: what has a deadline, or all the rest."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        for node in nodes:
            sweep_node(resources(), node, urgent=urgent)


@app.task(name="contractcourt.hurry")
def hurry_task(idempotency_key: str) -> None:
    """The chain has moved: have the urgent rounds done that nobody does."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        begin_rounds(resources(), urgent=True)


def begin_rounds(held: Resources, *, urgent: bool) -> None:
    """Have those rounds of a lane done that nobody does."""
    nodes = held.db.run(lambda conn: sweep_rounds.waiting(conn, urgent=urgent))
    wakeups.sweep(nodes, urgent=urgent)


def begin_all_rounds(held: Resources) -> None:
    """Those of both lanes, the urgent one first."""
    for urgent in (True, False):
        begin_rounds(held, urgent=urgent)


def sweep_at_once(held: Resources, wishes: Sequence[Wish]) -> None:
    """Sweep these, if they are a handful, without waiting for the round that is asked for anyway.

    A round of the same node may be at them too: what is stored first counts. Whatever goes wrong
    here is left to that round.
    """
    if len({wish.channel.channel_point for wish in wishes}) > HANDFUL:
        return
    outpoints: dict[str, list[OutPoint]] = {}
    for wish in wishes:
        outpoints.setdefault(wish.channel.node, []).append(wish.effect.contract.outpoint)
    for node, wanted in outpoints.items():
        try:
            cursor = held.db.run(blocks.cursor)
            if cursor is not None:
                one = SweepRound(held, node, cursor.height, market(held), urgent=True)
                one.sweep_these(wanted)
        except MadeWay:
            return
        except (SignerUnavailable, ChainError) as error:
            _log.warning("left to the round", node=node, error=str(error))


def sweep_node(held: Resources, node: str, *, urgent: bool = False) -> None:
    """Rounds until nothing more is asked for. One that fails is found again by `reconcile`."""
    # No task outlives its hard time limit: a claim that is older belongs to nobody any more.
    seconds = float(held.settings.task_time_limit_seconds)
    again = True
    while again:
        claim = _claim(held, node, seconds, urgent=urgent)
        if claim is None:
            return
        reach(CrashPoint.ROUND_BEGUN)
        again = _round(held, claim)


def _claim(held: Resources, node: str, seconds: float, *, urgent: bool) -> Claim | None:
    claim_id = uuid.uuid4()
    return held.db.run(
        lambda conn: sweep_rounds.begin(conn, node, claim_id, seconds, urgent=urgent)
    )


def _round(held: Resources, claim: Claim) -> bool:
    node = claim.node

    def end(conn: Connection) -> bool:
        needs_no_signer(conn, node)
        return sweep_rounds.end(conn, claim, step)

    cursor = held.db.run(blocks.cursor)
    step = None if cursor is None else cursor.step
    try:
        if cursor is not None:
            one = SweepRound(held, node, cursor.height, market(held), urgent=claim.urgent)
            one.run(since=claim.since(cursor.step), position=claim.position)
    except BaseException as error:
        held.db.run(lambda conn: sweep_rounds.give_back(conn, claim))
        match error:
            case MadeWay():
                wakeups.sweep([node], urgent=claim.urgent)
            case SignerUnavailable():
                _tell_signer_away(held, node, error)
            case _:
                raise
        return False
    reach(CrashPoint.ROUND_DONE)
    again = held.db.run(end)
    reach(CrashPoint.ROUND_ENDED)
    return again


def _tell_signer_away(held: Resources, node: str, error: SignerUnavailable) -> None:
    """Money may depend on it, so somebody is told at once (users_ask L16)."""
    _log.warning("sweeping waits for the signer", node=node, error=str(error))

    def tell(conn: Connection) -> None:
        count, total = sweep_inputs.sum_free(conn, node)
        message = f"{count} outputs of {total} sat wait for the signer: {error}"
        alarms.keep_raised(conn, None, AlarmKind.SIGNER_AWAY, message, node=node)

    held.db.run(tell)

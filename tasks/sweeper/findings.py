"""What a round finds out about what it can't send: kept with the row, and said to the operator."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog

from contractcourt.alarms import AlarmKind
from contractcourt.contract import ContractKind
from contractcourt.effects import BumpCommitment
from contractcourt.events import SweepGivenUp
from contractcourt.sweeping.drafts import Shortfall, parent_rate
from contractcourt.sweeping.groups import Group
from contractcourt.sweeping.inputs import SweepInput, limit
from contractcourt.sweeping.market import Market
from contractcourt.units import BlockHeight, Satoshi
from storage import alarms, docket, sweep_progress
from storage.database import Connection
from storage.sweep_inputs import Illegible, StoredSweep
from tasks import wakeups
from tasks.resources import Resources

_log = structlog.get_logger()

#: Why a commitment has no child.
PAYS_ENOUGH = "our commitment pays enough by itself"
#: Over as soon as a transaction is out.
_PASSING = (
    AlarmKind.NOT_SIGNED,
    AlarmKind.CONTESTED,
    AlarmKind.NOT_WORTH_SWEEPING,
)


class Findings:
    """Writes down what is found out for one node."""

    def __init__(self, held: Resources, node: str) -> None:
        self._held = held
        self._node = node

    def note(self, groups: Sequence[Group], reason: str) -> None:
        """Why they are not out, for who looks."""
        reasons = {member.outpoint: reason for group in groups for member in group.members}
        if reasons:
            self._held.db.run(lambda conn: sweep_progress.note(conn, reasons))

    def illegible(self, rows: Sequence[Illegible]) -> None:
        """A newer version gets on with them, if any; they keep no other from being swept."""
        for row in rows:
            message = f"{row.outpoint}: this version can't read what is to be swept: {row.why}"
            self.alarm([row], AlarmKind.NOT_SIGNED, message)

    def alarm(
        self, stored: Iterable[StoredSweep | Illegible], kind: AlarmKind, message: str
    ) -> None:
        """For who has to act."""

        def raise_them(conn: Connection) -> None:
            for one in sorted(stored, key=_by_channel):
                sweep_progress.note(conn, {one.outpoint: message})
                alarms.keep_raised(conn, one.channel_id, kind, message)

        self._held.db.run(raise_them)

    def wait(
        self,
        waiting: Sequence[tuple[StoredSweep, SweepInput]],
        market: Market,
        height: BlockHeight,
    ) -> None:
        """Too little to pay for themselves, now or for good; or no estimate and no hurry.

        A commitment's child is never given up: nothing of the channel is lost yet, and all of it
        depends on the commitment being mined.
        """
        reasons, unworthy = {}, []
        for stored, item in waiting:
            calm = _why_it_can_wait(item, market)
            if calm is not None:
                reasons[item.outpoint] = calm
                continue
            words = _too_little(item, market)
            is_child = isinstance(item.want, BumpCommitment)
            if height >= stored.patience_ends() and not is_child:
                self._give_up(stored, words)
            elif item.contract.kind is ContractKind.ANCHOR and not is_child:
                reasons[item.outpoint] = words
            else:
                reasons[item.outpoint] = f"{words}; tried again as fees fall"
                unworthy.append(stored)

        def note(conn: Connection) -> None:
            sweep_progress.note(conn, reasons)
            for stored in sorted(unworthy, key=_by_channel):
                kind, words = AlarmKind.NOT_WORTH_SWEEPING, reasons[stored.outpoint]
                alarms.keep_raised(conn, stored.channel_id, kind, words)

        if reasons:
            self._held.db.run(note)

    def _give_up(self, stored: StoredSweep, words: str) -> None:
        def give_up(conn: Connection) -> None:
            sweep_progress.give_up(conn, stored.outpoint, words)
            docket.append(
                conn,
                stored.channel_id,
                SweepGivenUp(stored.outpoint, words),
                idempotency_key=f"given_up:{stored.outpoint}:{stored.started_height}",
                source="court",
            )

        self._held.db.run(give_up)
        wakeups.wake([stored.channel_id])

    def quarantine(self, stored: StoredSweep, reason: str) -> None:
        """It holds up the others for its own fault; the operator says when to try again."""
        message = (
            f"{stored.outpoint} can't be swept: {reason}; when that is mended, "
            f"contractcourt sweep release {stored.outpoint}"
        )

        def quarantine(conn: Connection) -> None:
            sweep_progress.quarantine(conn, stored.outpoint, reason)
            alarms.keep_raised(conn, stored.channel_id, AlarmKind.QUARANTINED, message)

        self._held.db.run(quarantine)
        _log.error(
            AlarmKind.QUARANTINED, outpoint=str(stored.outpoint), node=self._node, reason=reason
        )

    def short(self, stored: Sequence[StoredSweep], group: Group, missing: Shortfall) -> None:
        """The money for the fee is not there."""
        if not missing.wallet:
            self.note([group], f"its budget is {missing.missing_sat} sat short of the fee of now")
            return
        message = fee_wallet_short(self._node, group, missing.missing_sat)
        self.alarm(stored, AlarmKind.FEE_WALLET_SHORT, message)

    def not_signed(self, stored: Sequence[StoredSweep], group: Group, reason: str) -> None:
        """The signer or the script engine refuses the transaction."""
        message = f"{group.members[0].outpoint} of {group.value_in_sat} sat: {reason}"
        self.alarm(stored, AlarmKind.NOT_SIGNED, message)


def _why_it_can_wait(item: SweepInput, market: Market) -> str | None:
    """In words; None where less than the mempool's floor is all that it can pay."""
    if limit(item) >= market.floor:
        return "no hurry: waiting for a fee estimate that it can pay"
    if isinstance(item.want, BumpCommitment):
        own = parent_rate(item.channel, item.want.commitment)
        return PAYS_ENOUGH if own >= market.floor else None
    return None


def _too_little(item: SweepInput, market: Market) -> str:
    contract = item.contract
    if isinstance(item.want, BumpCommitment):
        what = f"our commitment {item.want.commitment.txid} with its child"
    else:
        what = f"{contract.kind} {contract.outpoint} of {contract.value_sat} sat"
    return f"{what} can pay {limit(item)} sat/kw, the mempool asks for {market.floor}"


def fee_wallet_short(node: str, group: Group, missing_sat: Satoshi) -> str:
    """What is said to whoever can send coins."""
    return (
        f"the fee wallet of {node} lacks {missing_sat} sat to save {group.value_sat} sat: "
        "send coins to it"
    )


def _by_channel(stored: StoredSweep | Illegible) -> int:
    """Two rounds that write of the same channels wait for each other in one order."""
    return stored.channel_id


def are_out(
    conn: Connection, channel_ids: Collection[int], fee_wallet_short: Mapping[int, str]
) -> None:
    """Transactions of these channels are out; for some the fee wallet pays clearly too little."""
    alarms.clear_kinds(conn, set(channel_ids), _PASSING)
    enough = set(channel_ids) - fee_wallet_short.keys()
    alarms.clear_kinds(conn, enough, [AlarmKind.FEE_WALLET_SHORT])
    for channel_id in sorted(fee_wallet_short):
        kind, message = AlarmKind.FEE_WALLET_SHORT, fee_wallet_short[channel_id]
        alarms.keep_raised(conn, channel_id, kind, message)

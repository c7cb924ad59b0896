"""What each effect is in Postgres: its row, and when that is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import assert_never

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator.clocks import Clock
from contractcourt.arbitrator.urgency import is_urgent
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.channel import Htlc
from contractcourt.effects import (
    AskLocalPoint,
    BumpCommitment,
    Effect,
    MarkChannelClosed,
    MarkChannelReopened,
    MarkFullyResolved,
    MarkUnresolved,
    NotifyNode,
    PublishCommitment,
    PublishHtlcTransaction,
    RaiseAlarm,
    RecallRevokedState,
    RememberRevokedState,
    SharePreimage,
    SweepOutput,
    UnwatchOutpoint,
    WakeAt,
    WatchOutpoint,
)
from contractcourt.events import PreimageLearned, RevokedStateRecalled
from contractcourt.units import BlockHeight
from storage import (
    alarms,
    channels,
    deadlines,
    docket,
    force_closes,
    htlc_index,
    outbox,
    revoked_states,
    told_preimages,
    watches,
)
from storage.database import Connection
from storage.docket import NewEntry, NumberedEvent

#: An effect of a channel for the outbox, and whether it hurries.
Errand = tuple[int, outbox.OutboxEffect, bool]


class EffectRows:
    """The rows of many effects, gathered so that each table is written once."""

    def __init__(self) -> None:
        self.outbox: list[Errand] = []
        self.woken: set[int] = set()
        #: By channel what its own docket holds now for it to apply.
        self.answers: dict[int, list[NumberedEvent]] = {}
        self._watch: list[tuple[int, WatchOutpoint]] = []
        self._unwatch: list[tuple[int, OutPoint]] = []
        self._wake: list[tuple[int, WakeAt]] = []
        self._stopped: list[tuple[int, BlockHeight, str]] = []
        self._closed: list[tuple[int, MarkChannelClosed]] = []
        self._resolved: list[tuple[int, MarkFullyResolved]] = []
        #: Fully resolved, and nothing since has opened them again.
        self._at_rest: set[int] = set()
        self._alarms: list[tuple[int, None, AlarmKind, str]] = []
        self._remember: list[tuple[int, int, tuple[Htlc, ...]]] = []
        #: The entry that asked last, by channel and number.
        self._recall: dict[tuple[int, int], int] = {}
        self._shared: list[tuple[int, SharePreimage]] = []

    def sort_in(
        self, conn: Connection, channel_id: int, seq: int, case: Case, effect: Effect
    ) -> None:
        """Keep one effect of the entry `seq` for its table.

        A mark that undoes others is written in its place.
        """
        match effect:
            case WatchOutpoint():
                self._watch.append((channel_id, effect))
            case UnwatchOutpoint():
                watch = (channel_id, effect.outpoint)
                self._watch = [w for w in self._watch if (w[0], w[1].outpoint) != watch]
                self._unwatch.append(watch)
            case WakeAt():
                self._wake.append((channel_id, effect))
            case MarkChannelClosed():
                self._closed.append((channel_id, effect))
            case MarkFullyResolved():
                self._resolved.append((channel_id, effect))
            case MarkChannelReopened():
                self.flush(conn)
                channels.mark_reopened(conn, channel_id)
                force_closes.reopen(conn, channel_id)
                self._at_rest.discard(channel_id)
            case MarkUnresolved():
                self.flush(conn)
                channels.mark_unresolved(conn, channel_id)
                self._at_rest.discard(channel_id)
            case RaiseAlarm():
                self._alarms.append((channel_id, None, effect.kind, effect.message))
            case PublishCommitment():
                # When nobody asked, the court decided; a later request is then a second one.
                force_closes.request(
                    conn,
                    channel_id,
                    requested_by="court",
                    reason="an HTLC is due",
                    idempotency_key="court",
                )
                force_closes.set_closing_txid(conn, channel_id, effect.commitment.txid)
                self._put_out(channel_id, case, effect)
            case RememberRevokedState():
                self._remember.append((channel_id, effect.number, effect.htlcs))
            case RecallRevokedState():
                self._recall[channel_id, effect.number] = seq
            case SharePreimage():
                self._shared.append((channel_id, effect))
            case PublishHtlcTransaction() | NotifyNode() | AskLocalPoint():
                self._put_out(channel_id, case, effect)
            case SweepOutput() | BumpCommitment():
                # Written with the policy of their case: see `carrying_out`.
                pass
            case unreachable:
                assert_never(unreachable)

    def _put_out(self, channel_id: int, case: Case, effect: outbox.OutboxEffect) -> None:
        self.outbox.append((channel_id, effect, is_urgent(case, effect)))

    def tell_dockets(self, conn: Connection, told: Sequence[NewEntry]) -> None:
        """Put on dockets what the cases asked, what concerns other channels too, and `told`.

        At once and last: whoever locks heads of several dockets one after another meets another who
        does so in another order. What a case waits for itself is in `answers`.
        """
        own = [*self._answers(conn), *told]
        # First, for HTLCs that are told later; those that are known by now are sought after it.
        shown = [(e.node, e.payment_hash, e.preimage) for _, e in self._shared]
        told_preimages.keep(conn, shown)
        others = [entry for shared in self._shared for entry in self._shares(conn, *shared)]
        appended = docket.append_many(conn, [*own, *others])
        for entry, put in zip(own, appended[: len(own)], strict=True):
            answer = NumberedEvent(put.seq, entry.event, entry.idempotency_key)
            self.answers.setdefault(entry.channel_id, []).append(answer)
        self.woken.update(entry.channel_id for entry in others)

    def _answers(self, conn: Connection) -> Iterator[NewEntry]:
        """Applying them is the next step. A state may be asked for again: the key says by whom."""
        for (channel_id, number), htlcs in revoked_states.recall(conn, self._recall).items():
            key = f"recalled:{number}:{self._recall[channel_id, number]}"
            yield NewEntry(channel_id, RevokedStateRecalled(number, htlcs), key, "court")

    def _shares(
        self, conn: Connection, channel_id: int, effect: SharePreimage
    ) -> Iterator[NewEntry]:
        """Every other channel of the node with an HTLC of this hash may claim it now."""
        event = PreimageLearned(effect.payment_hash, effect.preimage)
        for other in htlc_index.channels_with(conn, effect.node, effect.payment_hash):
            if other != channel_id:
                yield NewEntry(other, event, f"shared:{effect.payment_hash}", "court")

    def stop(self, channel_id: int, clocks: Collection[Clock]) -> None:
        """HTLCs of this channel need these deadlines no more."""
        self._stopped += [(channel_id, height, reason) for height, reason in clocks]

    def wait_for_the_chain(self, conn: Connection) -> None:
        """Write watches and deadlines, but for those that were stopped, and of what is fully
        resolved but for all that have money at stake. A reorg sets them anew.

        After the dockets: the watcher, too, writes them while it holds their heads.
        """
        watches.remove_many(conn, self._unwatch)
        watches.add_many(conn, self._watch)
        deadlines.add_many(conn, self._wake)
        deadlines.stop_many(conn, self._stopped)
        deadlines.delete_at_stake(conn, self._at_rest)

    def flush(self, conn: Connection) -> None:
        """Write what was gathered so far, each table once, but for what the watcher writes too."""
        channels.mark_closed_many(conn, self._closed)
        channels.mark_fully_resolved_many(conn, [(c, mark.height) for c, mark in self._resolved])
        self._at_rest.update(channel_id for channel_id, _ in self._resolved)
        force_closes.conclude(conn, [channel_id for channel_id, _ in self._closed])
        alarms.raise_many(conn, self._alarms)
        revoked_states.remember(conn, self._remember)
        for rows in (self._closed, self._resolved, self._alarms, self._remember):
            rows.clear()

"""Moving the cursor along the best chain, one block and one commit at a time.

Each commit holds the block's events, the fired deadlines and the cursor, and is fenced by the
leader's epoch. The step number in every idempotency key makes a block that leaves and comes
back tell its events again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from chain.view import ChainView
from contractcourt.bitcoin.block import BlockSpend, parse_header, spends_of
from contractcourt.errors import MalformedBlock
from contractcourt.events import HeightReached, SpendConfirmed, SpendUnconfirmed
from contractcourt.units import BlockHash, BlockHeight, HexBytes
from storage import (
    blocks,
    cases,
    contracts,
    deadlines,
    docket,
    fee_coins,
    lease,
    spends,
    watches,
)
from storage.blocks import Cursor
from storage.database import Connection
from storage.docket import NewEntry
from storage.spends import ConfirmedSpend
from workers.watcher import wallet_coins
from workers.watcher.unreadable import UnreadableBlock, read_block
from workers.watcher.watchlist import Watchlist

#: Deadlines fired in one commit; a height with more takes several.
_MOST_DUE = 1_000


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the best chain that follows the cursor, and its spends of watched outpoints."""

    height: BlockHeight
    hash: BlockHash
    prev_hash: BlockHash
    raw: bytes

    def spends(self, watchlist: Watchlist) -> list[BlockSpend]:
        """One pass over the bytes. Raises UnreadableBlock when they are no block."""
        try:
            return spends_of(self.raw, watchlist.outpoints)
        except MalformedBlock as error:
            raise UnreadableBlock(self.height, self.hash, error) from error


@dataclass(slots=True)
class Woken:
    """The channels with news on their dockets; `urgent` those that may not wait behind others."""

    channels: set[int] = field(default_factory=set)
    urgent: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.channels)

    def add(self, channel_ids: Iterable[int], *, urgent: bool) -> None:
        """Wake these too."""
        self.channels.update(channel_ids)
        if urgent:
            self.urgent.update(channel_ids)


def next_block(chain: ChainView, cursor: Cursor) -> Block | None:
    """The block after the cursor; None at the tip, or when a reorg is under way.

    Raises UnreadableBlock, naming it, when it can't be read: a block is never skipped.
    """
    height = BlockHeight(cursor.height + 1)
    block_hash = chain.block_hash(height)
    if block_hash is None:
        return None
    raw = read_block(chain, height, block_hash)
    header = parse_header(raw)
    if header.prev_hash != cursor.hash:
        return None
    return Block(height, block_hash, header.prev_hash, raw)


def connect(
    conn: Connection, block: Block, watchlist: Watchlist, epoch: int, *, in_grace: bool = False
) -> Woken:
    """Put the block's events on the dockets and move the cursor up; the channels concerned."""
    watchlist.refresh(conn)
    found = block.spends(watchlist)
    step = blocks.connect(conn, block.height, block.hash, block.prev_hash, epoch)
    entries = [
        _spend_entry(channel_id, spend, block, step)
        for spend in found
        for channel_id in watchlist.channels_of(spend.outpoint)
    ]
    spends.record_many(
        conn,
        [
            ConfirmedSpend(
                watchlist.channels_of(spend.outpoint)[0],
                spend.outpoint,
                spend.txid,
                spend.raw_tx,
                block.height,
                block.hash,
            )
            for spend in found
        ],
    )
    due = _due(conn, block.height, step, in_grace=in_grace)
    # At once: whoever locks dockets one after another meets workers who do so in another order.
    docket.append_many(conn, [*entries, *due.entries])
    _need_no_look_back(conn, found, watchlist)
    wallet_coins.connect(conn, block.height, block.hash, block.raw)
    woken = due.fire(conn)
    woken.add({entry.channel_id for entry in entries}, urgent=False)
    woken.add(_may_be_breached(conn, entries), urgent=True)
    return woken


def _may_be_breached(conn: Connection, entries: Sequence[NewEntry]) -> set[int]:
    """Channels in which the peer published a revoked commitment, or moves on what it holds."""
    spent = [(e.channel_id, e.event) for e in entries if isinstance(e.event, SpendConfirmed)]
    if not spent:
        return set()
    revocations = cases.revocations(conn, [channel_id for channel_id, _ in spent])
    suspect = {
        channel_id
        for channel_id, event in spent
        if channel_id in revocations and revocations[channel_id].covers(event.tx)
    }
    return suspect | contracts.revoked(conn, [(c, event.outpoint) for c, event in spent])


def _spend_entry(channel_id: int, spend: BlockSpend, block: Block, step: int) -> NewEntry:
    event = SpendConfirmed(
        outpoint=spend.outpoint,
        txid=spend.txid,
        tx=HexBytes(spend.raw_tx),
        height=block.height,
        block_hash=block.hash,
        tip_height=block.height,
    )
    return NewEntry(channel_id, event, f"spend:{step}:{spend.outpoint}", "chain")


def _need_no_look_back(conn: Connection, found: Sequence[BlockSpend], watchlist: Watchlist) -> None:
    """An output is spent once: whoever was told of its spend here need not search for it."""
    if found:
        told = watches.find(conn, [spend.outpoint for spend in found])
        ids = [w.id for w in told if w.channel_id in watchlist.channels_of(w.outpoint)]
        watches.looked_back(conn, ids)


@dataclass(frozen=True, slots=True)
class _Due:
    """Deadlines that are to be fired, as (channel, height), and what they put on the dockets."""

    deadlines: Sequence[tuple[int, BlockHeight]]
    urgent: Sequence[tuple[int, BlockHeight]]
    entries: Sequence[NewEntry]

    def fire(self, conn: Connection) -> Woken:
        """Take them off their index, in the transaction of the entries; the channels woken."""
        deadlines.delete_fired(conn, self.deadlines)
        woken = Woken()
        woken.add({channel_id for channel_id, _ in self.deadlines}, urgent=False)
        woken.add({channel_id for channel_id, _ in self.urgent}, urgent=True)
        return woken


def _due(conn: Connection, height: BlockHeight, step: int, *, in_grace: bool) -> _Due:
    """At most `_MOST_DUE`, what is urgent before all the rest."""
    urgent = deadlines.due(conn, height, _MOST_DUE, urgent=True, in_grace=in_grace)
    left = _MOST_DUE - len(urgent)
    due = urgent + deadlines.due(conn, height, left, in_grace=in_grace)
    lowest: dict[int, BlockHeight] = {}
    for channel_id, due_height in due:
        lowest.setdefault(channel_id, due_height)
    entries = [
        NewEntry(c, HeightReached(height), f"height:{step}:{lowest[c]}:{height}", "chain")
        for c in sorted(lowest)
    ]
    return _Due(due, urgent, entries)


def fire_due(
    conn: Connection, height: BlockHeight, step: int, epoch: int, *, in_grace: bool = False
) -> Woken:
    """Wake cases whose deadlines are at or below `height`; the channels woken.

    At most `_MOST_DUE`, what is urgent before all the rest: call again until nobody is woken.
    `in_grace`: only what can't wait.
    """
    due = _due(conn, height, step, in_grace=in_grace)
    if due.entries:
        lease.hold(conn, lease.CHAIN_WATCHER, epoch)
        docket.append_many(conn, due.entries)
    return due.fire(conn)


def disconnect(conn: Connection, cursor: Cursor, watchlist: Watchlist, epoch: int) -> Woken:
    """Take back the cursor's block with its events and move down; the channels concerned."""
    watchlist.refresh(conn)
    step = blocks.disconnect(conn, cursor.height, cursor.hash, epoch)
    fee_coins.disconnect(conn, cursor.hash)
    below = BlockHeight(cursor.height - 1)
    return tell(conn, taken_back(conn, cursor.hash, below, step))


def taken_back(
    conn: Connection, block_hash: BlockHash, tip_height: BlockHeight, step: int
) -> list[NewEntry]:
    """Mark the spends of a block that left the best chain; what is to be told of them."""
    gone = spends.mark_stale(conn, block_hash)
    # Whoever was told and has let the outpoint go since must hear of this too.
    told = watches.ever(conn, [spend.outpoint for spend in gone])
    return [
        NewEntry(
            channel_id,
            SpendUnconfirmed(spend.outpoint, spend.txid, block_hash, tip_height),
            f"unspend:{step}:{spend.outpoint}",
            "chain",
        )
        for spend in gone
        for channel_id in sorted(told.get(spend.outpoint, {spend.channel_id}))
    ]


def tell(conn: Connection, entries: Sequence[NewEntry]) -> Woken:
    """Put these on the dockets; the channels concerned."""
    docket.append_many(conn, entries)
    woken = Woken()
    woken.add({entry.channel_id for entry in entries}, urgent=False)
    return woken


def record_earlier_spends(
    conn: Connection, found: Sequence[tuple[int, ConfirmedSpend]], cursor: Cursor
) -> None:
    """Put spends from at or below the cursor on the dockets of these channels.

    The same commit marks the watch as looked back for, which makes it once for every time that
    the watch was set. So the key is new each time: a case that let an outpoint go and watches it
    again must be told again.
    """
    spends.record_many(conn, list({spend.outpoint: spend for _, spend in found}.values()))
    entries = []
    for channel_id, spend in found:
        event = SpendConfirmed(
            outpoint=spend.outpoint,
            txid=spend.txid,
            tx=spend.raw_tx,
            height=spend.height,
            block_hash=spend.block_hash,
            tip_height=cursor.height,
        )
        key = f"earlier:{cursor.step}:{spend.outpoint}:{uuid4().hex}"
        entries.append(NewEntry(channel_id, event, key, "chain"))
    docket.append_many(conn, entries)

"""Spends from before an outpoint was watched: found once, when the watch is new.

First Postgres (another case may have seen it), then the UTXO set: an outpoint that is still
there was not spent. Only for the others the chain is searched back, within a bound; block
filters narrow the search where the node serves them, and blocks prove what they find.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from chain.bitcoin_core import BitcoinCore
from chain.errors import BlockUnavailable
from contractcourt.bitcoin.block import spends_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHeight, HexBytes
from storage import spends
from storage.blocks import Cursor
from storage.database import Connection
from storage.spends import ConfirmedSpend
from storage.watches import Watch

_log = structlog.get_logger()
_PROGRESS_EVERY = 500


def known_spends(conn: Connection, watched: Sequence[Watch]) -> dict[OutPoint, ConfirmedSpend]:
    """What Postgres already knows of these outpoints."""
    return spends.find_confirmed(conn, [watch.outpoint for watch in watched])


def search(
    chain: BitcoinCore, watched: Sequence[Watch], cursor: Cursor, most_blocks: int
) -> dict[OutPoint, ConfirmedSpend]:
    """Spends of these outpoints in blocks up to the cursor.

    Searches from the lowest height at which one of them was made, at most `most_blocks` back.
    Raises BlockUnavailable, naming the block, when one in the range can't be read.
    """
    unspent = chain.tx_outs([watch.outpoint for watch in watched])
    gone = [w for w, output in zip(watched, unspent, strict=True) if output is None]
    if not gone:
        return {}
    wanted = {bytes(watch.outpoint) for watch in gone}
    lowest = min(_begin(watch, cursor, most_blocks) for watch in gone)
    channel_of = {watch.outpoint: watch.channel_id for watch in gone}
    found: dict[OutPoint, ConfirmedSpend] = {}
    for height in range(lowest, cursor.height + 1):
        block_hash = chain.block_hash(BlockHeight(height))
        if block_hash is None:
            raise BlockUnavailable(f"the node has no block at height {height}")
        for spend in spends_of(chain.raw_block(block_hash), wanted):
            found[spend.outpoint] = ConfirmedSpend(
                channel_of[spend.outpoint],
                spend.outpoint,
                spend.txid,
                HexBytes(spend.raw_tx),
                BlockHeight(height),
                block_hash,
            )
            wanted.discard(bytes(spend.outpoint))
        if not wanted:
            break
        if (height - lowest) % _PROGRESS_EVERY == _PROGRESS_EVERY - 1:
            _log.info("looking back", height=height, upto=cursor.height, left=len(wanted))
    return found


def _begin(watch: Watch, cursor: Cursor, most_blocks: int) -> BlockHeight:
    bound = max(1, cursor.height - most_blocks + 1)
    return BlockHeight(max(bound, watch.from_height or bound))

"""Raw blocks, read in one pass over their bytes: the watcher's hot path.

A full block has some ten thousand inputs and outputs, and hardly ever one that matters. So the
walk only slices each spent outpoint (36 bytes, compared as they stand) and skips the rest; a
transaction is cut out and hashed only when it spends something watched. Bounds need no checks of
their own: reading a length beyond the end is an IndexError, and the last position must be the end.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import sha256d
from contractcourt.errors import MalformedBlock
from contractcourt.units import BlockHash, HexBytes, Txid

HEADER_BYTES = 80


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """Who a block is, whom it follows, and the time it claims (seconds since 1970)."""

    hash: BlockHash
    prev_hash: BlockHash
    merkle_root: bytes
    time: int


@dataclass(frozen=True, slots=True)
class BlockSpend:
    """A watched outpoint, and the transaction of the block that spends it."""

    outpoint: OutPoint
    tx_index: int
    txid: Txid
    raw_tx: HexBytes


@dataclass(frozen=True, slots=True)
class BlockTransaction:
    """One transaction of a block, still as bytes."""

    index: int
    raw: bytes
    #: The 36-byte outpoints it spends, in order; the coinbase's is all zero, then all ones.
    spends: tuple[bytes, ...]
    _witness_at: int

    def txid(self) -> Txid:
        """Its name; computed when asked."""
        return Txid(sha256d(self.without_witness()))

    def without_witness(self) -> HexBytes:
        """The bytes that its name is the hash of."""
        return _without_witness(self.raw, self._witness_at)


def parse_header(raw_block: bytes) -> BlockHeader:
    """The header at the front of a block, or a bare header. Raises MalformedBlock when short."""
    if len(raw_block) < HEADER_BYTES:
        raise MalformedBlock(f"a block begins with 80 bytes of header, not {len(raw_block)}")
    return BlockHeader(
        hash=BlockHash(sha256d(raw_block[:HEADER_BYTES])),
        prev_hash=BlockHash(raw_block[4:36]),
        merkle_root=raw_block[36:68],
        time=int.from_bytes(raw_block[68:72], "little"),
    )


def walk(raw_block: bytes) -> tuple[BlockHeader, Iterator[BlockTransaction]]:
    """The header, and every transaction in order.

    Raises MalformedBlock, here or, when the fault lies further on, from the iterator.
    """
    header = parse_header(raw_block)
    return header, _transactions(bytes(raw_block))


def spends_of(raw_block: bytes, watched: Container[bytes]) -> list[BlockSpend]:
    """Every spend of a watched outpoint in this block, in block order.

    One pass; the cost grows with the block and not with `watched`, as long as that is a set or
    a dict of outpoints.

    Args:
        raw_block: the whole block with witnesses, as `getblock` verbosity 0 or REST `.bin` has it.
        watched: 36-byte outpoints.

    Raises:
        MalformedBlock: cut short, bytes left over, or no block at all.
    """
    raw = bytes(raw_block)
    found: list[BlockSpend] = []
    try:
        count, at = _first_transaction(raw)
        for tx_index in range(count):
            start = at
            hits, witness_at, at = _skip_transaction(raw, start, watched)
            if hits:
                raw_tx = HexBytes(raw[start:at])
                txid = Txid(sha256d(_without_witness(raw_tx, witness_at - start)))
                found += [BlockSpend(OutPoint(hit), tx_index, txid, raw_tx) for hit in hits]
    except IndexError:
        raise MalformedBlock("the block is cut short") from None
    _check_end(raw, at)
    return found


class _Everything:
    """Contains every outpoint."""

    def __contains__(self, _: object) -> bool:
        return True


_EVERYTHING = _Everything()


def _transactions(raw: bytes) -> Iterator[BlockTransaction]:
    try:
        count, at = _first_transaction(raw)
        for index in range(count):
            start = at
            spends, witness_at, at = _skip_transaction(raw, start, _EVERYTHING)
            if at > len(raw):
                break
            yield BlockTransaction(index, raw[start:at], tuple(spends), witness_at - start)
    except IndexError:
        raise MalformedBlock("the block is cut short") from None
    _check_end(raw, at)


def _first_transaction(raw: bytes) -> tuple[int, int]:
    if len(raw) < HEADER_BYTES:
        raise MalformedBlock(f"a block begins with 80 bytes of header, not {len(raw)}")
    count, at = raw[HEADER_BYTES], HEADER_BYTES + 1
    if count >= 0xFD:
        count, at = _long_size(raw, HEADER_BYTES)
    if count == 0:
        raise MalformedBlock("a block has at least its coinbase")
    return count, at


def _check_end(raw: bytes, at: int) -> None:
    if at > len(raw):
        raise MalformedBlock("the block is cut short")
    if at < len(raw):
        raise MalformedBlock(f"{len(raw) - at} bytes left over after the last transaction")


def _skip_transaction(
    raw: bytes, at: int, watched: Container[bytes]
) -> tuple[list[bytes], int, int]:
    """Pass over the transaction at `at`.

    Long and flat on purpose: a call for each field would cost more than the field.

    Returns:
        The outpoints spent that are watched, where its witnesses begin (where its locktime is,
        when it has none), and where the next transaction begins.
    """
    hits: list[bytes] = []
    at += 4
    count = raw[at]
    segwit = count == 0
    if segwit:
        if raw[at + 1] != 1:
            raise MalformedBlock("a transaction has no inputs, or an unknown flag")
        at += 2
        count = raw[at]
    at += 1
    if count >= 0xFD:
        count, at = _long_size(raw, at - 1)
    inputs = count
    for _ in range(inputs):
        outpoint = raw[at : at + 36]
        if outpoint in watched:
            hits.append(outpoint)
        size = raw[at + 36]
        if size < 0xFD:
            at += 41 + size
        else:
            size, at = _long_size(raw, at + 36)
            at += size + 4
    count = raw[at]
    at += 1
    if count >= 0xFD:
        count, at = _long_size(raw, at - 1)
    for _ in range(count):
        size = raw[at + 8]
        if size < 0xFD:
            at += 9 + size
        else:
            size, at = _long_size(raw, at + 8)
            at += size
    witness_at = at
    if segwit:
        for _ in range(inputs):
            count = raw[at]
            at += 1
            if count >= 0xFD:
                count, at = _long_size(raw, at - 1)
            for _ in range(count):
                size = raw[at]
                if size < 0xFD:
                    at += 1 + size
                else:
                    size, at = _long_size(raw, at)
                    at += size
    return hits, witness_at, at + 4


def _long_size(raw: bytes, at: int) -> tuple[int, int]:
    """A count of three, five or nine bytes, and where it ends."""
    end = at + 1 + (1 << (raw[at] - 0xFC))
    if end > len(raw):
        raise MalformedBlock("the block is cut short")
    return int.from_bytes(raw[at + 1 : end], "little"), end


def without_witness(raw_tx: bytes) -> HexBytes:
    """The bytes of a mined transaction that its txid is the hash of."""
    return _without_witness(raw_tx, _skip_transaction(raw_tx, 0, ())[1])


def _without_witness(raw_tx: bytes, witness_at: int) -> HexBytes:
    """Of a transaction whose witnesses begin at `witness_at`."""
    if raw_tx[4] != 0:
        return HexBytes(raw_tx)
    return HexBytes(raw_tx[:4] + raw_tx[6:witness_at] + raw_tx[-4:])

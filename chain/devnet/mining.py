"""Blocks made on demand: coinbase, commitments, time and the trivial work of regtest."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from chain.devnet.chainstate import Block, ChainState
from chain.devnet.feerate import COIN
from chain.devnet.mempool import Entry, Mempool
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import push
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, compact_size, sha256d

_VERSION = 0x20000000
#: The easiest target there is; half of all hashes meet it.
REGTEST_BITS = 0x207FFFFF
_TARGET = 0x7FFFFF << (8 * (0x20 - 3))
_FIRST_SUBSIDY = 50 * COIN
_HALVING_BLOCKS = 150
_MAX_TEMPLATE_WEIGHT = 4_000_000 - 8_000
_COMMITMENT_TAG = b"\x6a\x24\xaa\x21\xa9\xed"


@dataclass(frozen=True, slots=True)
class Template:
    """What a new block shall hold, besides its coinbase."""

    prev: Block
    min_time: int
    script: bytes
    transactions: tuple[Transaction, ...] = ()
    fees: int = 0


def subsidy(height: int) -> int:
    """New satoshi of a regtest block: it halves every 150 blocks."""
    halvings = height // _HALVING_BLOCKS
    return _FIRST_SUBSIDY >> halvings if halvings < 64 else 0


def template_on(
    chain: ChainState,
    prev: Block,
    script: bytes,
    transactions: Sequence[Transaction] = (),
    fees: int = 0,
) -> Template:
    """A block on `prev` whose coinbase pays `script`; its time obeys the median time rule."""
    return Template(prev, chain.median_time(prev) + 1, script, tuple(transactions), fees)


def choose(mempool: Mempool) -> list[Entry]:
    """The waiting transactions that fit one block, best feerate first, parents before children."""
    place = {entry.txid: index for index, entry in enumerate(mempool)}
    entries = list(mempool)
    if sum(entry.weight for entry in entries) <= _MAX_TEMPLATE_WEIGHT:
        return entries
    chosen: dict[bytes, Entry] = {}
    left = _MAX_TEMPLATE_WEIGHT
    for entry in sorted(entries, key=lambda item: -item.fee / item.weight):
        family = [item for item in mempool.ancestors(entry) if item.txid not in chosen]
        weight = sum(item.weight for item in family)
        if weight <= left:
            left -= weight
            chosen.update((item.txid, item) for item in family)
    return sorted(chosen.values(), key=lambda item: place[item.txid])


def assemble(
    mempool: Mempool, chosen: Sequence[Transaction], *, include_mempool: bool
) -> tuple[list[Transaction], int]:
    """What the next block holds, parents before children, and the fees of the mempool's part.

    Waiting transactions that conflict with a chosen one, and all that needs them, stay out.
    """
    if not include_mempool:
        return list(chosen), 0
    taken = {item.outpoint for tx in chosen for item in tx.inputs}
    out = {tx.txid() for tx in chosen}
    waiting: list[Entry] = []
    for entry in choose(mempool):
        needed = {item.outpoint for item in entry.tx.inputs}
        conflicts = any(item.txid in out and item.txid in mempool for item in needed)
        if entry.txid in out or needed & taken or conflicts:
            out.add(entry.txid)
        else:
            waiting.append(entry)
    txs = [*chosen, *(entry.tx for entry in waiting)]
    fees = sum(entry.fee for entry in waiting)
    return _parents_first(txs) if chosen else txs, fees


def _parents_first(txs: Sequence[Transaction]) -> list[Transaction]:
    by_txid = {tx.txid(): tx for tx in txs}
    needs = {
        txid: [item.outpoint.txid for item in tx.inputs if item.outpoint.txid in by_txid]
        for txid, tx in by_txid.items()
    }
    return [by_txid[txid] for txid in TopologicalSorter(needs).static_order()]


def build(template: Template) -> bytes:
    """The raw block with valid work. Whether it is valid is for consensus to say."""
    height = template.prev.height + 1
    wtxids = [bytes(32)] + [sha256d(tx.serialize()) for tx in template.transactions]
    nonce = bytes(32)
    commitment = TxOut(0, _COMMITMENT_TAG + sha256d(_merkle_root(wtxids) + nonce))
    reward = TxOut(subsidy(height) + template.fees, template.script)
    # Random bytes, so that no two branches share a coinbase.
    script_sig = _push_height(height) + push(os.urandom(8))
    null = OutPoint(bytes(32) + b"\xff\xff\xff\xff")
    coinbase = Transaction(
        2, (TxIn(null, script_sig, 0xFFFFFFFF, (nonce,)),), (reward, commitment), 0
    )
    txs = [coinbase, *template.transactions]
    root = _merkle_root([bytes(tx.txid()) for tx in txs])
    block_time = max(template.min_time, int(time.time()))
    head = _VERSION.to_bytes(4, "little") + bytes(template.prev.hash) + root
    head += block_time.to_bytes(4, "little") + REGTEST_BITS.to_bytes(4, "little")
    body = compact_size(len(txs)) + b"".join(tx.serialize() for tx in txs)
    return _work(head) + body


def _push_height(height: int) -> bytes:
    """BIP 34: the height as Core's script builder pushes it."""
    if height <= 16:
        return bytes([0x50 + height])
    return push(height.to_bytes(height.bit_length() // 8 + 1, "little"))


def _merkle_root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        if len(hashes) % 2:
            hashes = [*hashes, hashes[-1]]
        hashes = [sha256d(a + b) for a, b in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def _work(head: bytes) -> bytes:
    for nonce in range(1 << 32):
        header = head + nonce.to_bytes(4, "little")
        digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()
        if int.from_bytes(digest, "little") <= _TARGET:
            return header
    raise AssertionError("half of all hashes meet the target")

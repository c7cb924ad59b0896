"""Block filters: against BIP 158's own vectors and against the devnet, which codes its own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import filters
from chain.bitcoin_core import BitcoinCore
from chain.devnet.filters import coded_set
from chain.devnet.process import DevnetProcess
from chain.errors import MalformedFilter
from contractcourt.bitcoin.script import p2wsh
from contractcourt.units import BlockHash, BlockHeight
from tests.chain.devnet_money import ANYONE, fund, send, spend

#: BIP 158, "Test Vectors": testnet's block 0 holds one script, the one its coinbase pays to.
GENESIS = BlockHash.parse("000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943")
GENESIS_FILTER = bytes.fromhex("019dfca8")
GENESIS_SCRIPT = bytes.fromhex(
    "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e5"
    "1ec112de5c384df7ba0b8d578a4c702b6bf11d5fac"
)
SCRIPTS = st.sets(st.binary(min_size=1, max_size=40), min_size=1, max_size=60)


def test_the_vector_of_bip_158() -> None:
    assert filters.matches(GENESIS_FILTER, GENESIS, [GENESIS_SCRIPT])
    assert not filters.matches(GENESIS_FILTER, GENESIS, [ANYONE])


def test_the_vector_of_siphash() -> None:
    """Of SipHash's authors: key 00..0f, message 00..0e."""
    assert filters.siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


@given(SCRIPTS, st.binary(min_size=32, max_size=32))
def test_no_script_of_the_block_is_ever_missed(scripts: set[bytes], raw_hash: bytes) -> None:
    block_hash = BlockHash(raw_hash)
    coded = coded_set(block_hash, scripts)
    assert all(filters.matches(coded, block_hash, [script]) for script in scripts)
    assert filters.matches(coded, block_hash, [b"no script of this block", *scripts])


def test_nothing_matches_nothing() -> None:
    assert not filters.matches(GENESIS_FILTER, GENESIS, [])
    assert not filters.matches(b"\x00", GENESIS, [ANYONE])


@given(SCRIPTS)
def test_b4_a_filter_that_is_cut_short_is_an_error_and_no_answer(scripts: set[bytes]) -> None:
    coded = coded_set(GENESIS, scripts | {b"one more"})
    past_every_value = [bytes([n]) for n in range(64)]
    with pytest.raises(MalformedFilter):
        filters.matches(b"", GENESIS, past_every_value)
    with pytest.raises(MalformedFilter):
        filters.matches(coded[:1], GENESIS, past_every_value)
    with pytest.raises(MalformedFilter):
        filters.matches(b"\xfd\x01", GENESIS, past_every_value)


def test_a_spend_is_found_by_the_filter_a_node_serves(tmp_path: Path) -> None:
    with (
        DevnetProcess(tmp_path, flags=("--blockfilterindex",)) as node,
        closing(BitcoinCore(node.url)) as chain,
    ):
        outpoint = fund(node)
        send(node, spend(outpoint, pays=99_000, script=bytes(p2wsh(b"\x52"))))
        node.rpc("devnet_mine", 2)
        height = chain.state().height
        hashes = [chain.block_hash(BlockHeight(height - below)) for below in (0, 1, 2)]
        known = [block_hash for block_hash in hashes if block_hash is not None]
        served = [found for found in chain.block_filters(known) if found is not None]
        assert [
            filters.matches(found, block_hash, [ANYONE])
            for found, block_hash in zip(served, known, strict=True)
        ] == [False, True, True]  # the empty one, the spend's, the one that made it

"""Answers of Core 29 to 32 are read alike, to the last satoshi (users_ask B9, B11)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.bitcoin_core import BitcoinCore
from chain.core_answers import feerate_per_kw
from chain.errors import (
    ChainUnavailable,
    NodeStarting,
    RpcRefused,
    ScanAborted,
    WrongCredentials,
)
from chain.readiness import Trouble, troubles
from chain.view import ChainState
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHash, BlockHeight, Script
from tests.chain.recorded_node import ANSWERS, RELEASES, RecordedNode, answers_of

OUTPOINT = OutPoint(bytes(36))


@pytest.fixture
def node() -> Iterator[RecordedNode]:
    with RecordedNode() as node:
        yield node


@pytest.fixture
def chain(node: RecordedNode) -> Iterator[BitcoinCore]:
    with closing(BitcoinCore(node.url)) as chain:
        yield chain


def said(release: int, call: str) -> str:
    """An answer in the very words of the file: numbers keep their digits."""
    text = (ANSWERS / f"{release}.json").read_text()
    start = text.index(f'"{call}": ') + len(f'"{call}": ')
    found = re.compile(r"^ \}", re.MULTILINE).search(text, start)
    assert found is not None
    return text[start : found.end()]


@pytest.mark.parametrize("release", RELEASES)
def test_b11_the_chains_state(release: int, node: RecordedNode, chain: BitcoinCore) -> None:
    node.say["getblockchaininfo"] = said(release, "getblockchaininfo")
    told = answers_of(release)["getblockchaininfo"]
    state = chain.state()
    assert (state.network, state.height) == ("main", told["blocks"])
    assert state.best_hash.hex() == told["bestblockhash"]
    assert state.syncing is told["initialblockdownload"]
    assert state.prune_height == told.get("pruneheight")


@pytest.mark.parametrize("release", RELEASES)
def test_b11_only_needed_fields_are_read(
    release: int, node: RecordedNode, chain: BitcoinCore
) -> None:
    """A release to come may drop everything else."""
    told = answers_of(release)["getblockchaininfo"]
    kept = {name: told[name] for name in ("chain", "blocks", "bestblockhash")}
    node.say["getblockchaininfo"] = str(kept).replace("'", '"')
    assert chain.state().height == told["blocks"]


@pytest.mark.parametrize(("release", "floor_per_kw"), [(29, 250), (30, 25), (31, 35), (32, 25)])
def test_b9_floors_below_one_satoshi_for_a_byte(
    release: int, floor_per_kw: int, node: RecordedNode, chain: BitcoinCore
) -> None:
    node.say["getmempoolinfo"] = said(release, "getmempoolinfo")
    assert chain.mempool_fees().floor == floor_per_kw  # 31: 137 sat/kvB are 34.25, rounded up


@pytest.mark.parametrize("release", RELEASES)
def test_b11_estimates_and_their_absence(
    release: int, node: RecordedNode, chain: BitcoinCore
) -> None:
    node.say["estimatesmartfee"] = said(release, "estimatesmartfee")
    assert chain.feerates([144]) == [309]  # 1234 sat/kvB are 308.5
    node.say["estimatesmartfee"] = said(release, "estimatesmartfee without an estimate")
    assert chain.feerates([144]) == [None]
    # All releases say so under `-blocksonly`: it is no reason to sweep nothing.
    node.say["estimatesmartfee"] = '{"code":-32603,"message":"Fee estimation disabled"}'
    assert chain.feerates([2, 144]) == [None, None]


@pytest.mark.parametrize("release", RELEASES)
def test_b11_unspent_outputs(release: int, node: RecordedNode, chain: BitcoinCore) -> None:
    node.say["gettxout"] = said(release, "gettxout")
    output = chain.tx_out(OUTPOINT)
    assert output is not None
    assert (output.value_sat, output.confirmations) == (999_999, 144)
    assert output.script_pubkey.hex() == "0020" + "22" * 32
    node.say["gettxout"] = "null"
    assert chain.tx_out(OUTPOINT) is None


@given(st.integers(100, 10_000_000))
def test_b9_rates_are_exact_and_rounded_up(sat_per_kvb: int) -> None:
    """0.1 to 10,000 sat/vB: never below the rate, and less than one satoshi for kw above."""
    as_core_writes = Decimal(f"{sat_per_kvb // 10**8}.{sat_per_kvb % 10**8:08d}")
    rate = feerate_per_kw(as_core_writes)
    assert sat_per_kvb <= 4 * rate < sat_per_kvb + 4


@settings(deadline=None)
@given(st.integers(0, 21_000_000 * 10**8))
def test_b9_amounts_pass_through_no_float(value: int) -> None:
    text = f"{value // 10**8}.{value % 10**8:08d}"
    script = '{"hex":"0020"}'
    with RecordedNode() as node, closing(BitcoinCore(node.url)) as chain:
        node.say["gettxout"] = f'{{"value":{text},"confirmations":1,"scriptPubKey":{script}}}'
        output = chain.tx_out(OUTPOINT)
    assert output is not None
    assert output.value_sat == value


class TestTroubles:
    """What a node says when it does not serve."""

    def test_a_starting_node_refuses_no_transaction(
        self, node: RecordedNode, chain: BitcoinCore
    ) -> None:
        warming = '{"code":-28,"message":"Loading block index\\u2026"}'
        node.say |= {"getblockchaininfo": warming, "sendrawtransaction": warming}
        with pytest.raises(NodeStarting, match="Loading block index"):
            chain.send(b"\x00")
        with pytest.raises(NodeStarting):
            chain.state()

    @pytest.mark.parametrize(
        ("status", "error"),
        [(401, WrongCredentials), (403, WrongCredentials), (503, ChainUnavailable)],
    )
    def test_http_refusals_are_typed(
        self, status: int, error: type[Exception], node: RecordedNode, chain: BitcoinCore
    ) -> None:
        node.status, node.body = status, b"Work queue depth exceeded"
        with pytest.raises(error):
            chain.state()
        assert node.asked == 1  # an answer is an answer, it is not asked for again

    def test_a_search_of_the_utxo_set_that_was_aborted_is_no_answer(
        self, node: RecordedNode, chain: BitcoinCore
    ) -> None:
        """Its outputs are those that were met before somebody said `scantxoutset abort`."""
        node.say["scantxoutset"] = (
            '{"success":false,"txouts":8192,"height":100,"bestblock":"' + "11" * 32 + '",'
            '"unspents":[],"total_amount":0.00000000}'
        )
        with pytest.raises(ScanAborted):
            chain.scan([Script(b"\x51")])

    @pytest.mark.parametrize("body", [b"", b"<html>", b"7", b"[]", b'{"result":1', b"[" * 5000])
    def test_what_is_no_json_rpc_is_no_answer(
        self, body: bytes, node: RecordedNode, chain: BitcoinCore
    ) -> None:
        node.status, node.body = 200, body
        with pytest.raises(ChainUnavailable):
            chain.state()
        with pytest.raises(ChainUnavailable):
            chain.send_many([b"\x00", b"\x01"])

    def test_a_batch_refused_as_a_whole(self, node: RecordedNode, chain: BitcoinCore) -> None:
        node.status = 500
        node.body = b'{"result":null,"error":{"code":-32700,"message":"Parse error"},"id":null}'
        with pytest.raises(RpcRefused, match="Parse error"):
            chain.send_many([b"\x00"])

    def test_each_trouble_is_a_finding_in_plain_words(self) -> None:
        def state(height: int, *, syncing: bool = False, pruned: int | None = None) -> ChainState:
            lowest = None if pruned is None else BlockHeight(pruned)
            return ChainState("main", BlockHeight(height), BlockHash(bytes(32)), syncing, lowest)

        cursor = BlockHeight(100)
        assert troubles(state(100), "main", cursor) == []
        assert troubles(state(100, pruned=101), "main", cursor) == []
        expected = {
            Trouble.WRONG_NETWORK: (state(100), "test", "set CONTRACTCOURT_NETWORK"),
            Trouble.SYNCING: (state(100, syncing=True), "main", "wait for it"),
            Trouble.BEHIND: (state(99), "main", "the court at 100"),
            Trouble.PRUNED_BELOW_CURSOR: (state(900, pruned=102), "main", "below 102"),
        }
        for trouble, (given_state, network, words) in expected.items():
            [finding] = troubles(given_state, network, cursor)
            assert finding.trouble is trouble
            assert words in finding.words
